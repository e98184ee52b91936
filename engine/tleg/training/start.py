"""Where an auxiliary model begins: a learngene, or the least-squares fit of a pretrained model, as that model needs it."""

from dataclasses import dataclass
from typing import Any

from tleg.errors import concerning
from tleg.learngene.architecture import Architecture
from tleg.learngene.basis import Basis
from tleg.learngene.families import family_covering
from tleg.learngene.header import LearngeneHeader
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.learngene import Learngene, load
from tleg.models.starting import StartTensors, start_tensors
from tleg.recipes.learning import LearnRecipe
from tleg.references import Reference
from tleg.runs.run import name_of
from tleg.training.fit import fit_opened, open_start_model
from tleg.training.names import resolve_model


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What --start names.

    learngene  as it is, or the fit of a model by the recipe's basis
    layers     whether its layers are taken as well, beside stem, norms and head
    lineage    which it is, for the header of what is learned
    """

    learngene: Learngene
    layers: bool
    lineage: dict[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def header(self) -> LearngeneHeader:
        """Of the learngene."""
        return self.learngene.header

    def is_of(self, name: str) -> bool:
        """Whether it is of the same model of timm, whose sizes may be others."""
        return self.header.architecture.name == name.partition(".")[0]

    def arguments(self, name: str, given: dict[str, Any]) -> dict[str, Any]:
        """The arguments of an auxiliary model: what is given, and beside that the start's, where it is of the same name.

        The size of images is not among them, because the data's goes before.
        """
        own = self.header.architecture
        merged = {"in_chans": own.input_size[0], **given}
        if not self.is_of(name):
            return merged
        known = {key: value for key, value in own.arguments.items() if key != "img_size"}
        if given.get("class_token", known.get("class_token")) != known.get("class_token"):
            known.pop("global_pool", None)
        return {**known, **merged}

    @property
    def basis(self) -> Basis | None:
        """Of the layers, where they are taken."""
        return self.header.basis if self.layers else None

    def tensors_for(self, architecture: Architecture, basis: Basis, classes: tuple[str, ...]) -> StartTensors:
        """What an auxiliary model begins with. Raises InputError where the start does not fit it."""
        return start_tensors(self.learngene, architecture, basis, classes, layers=self.layers)


@concerning("start")
def open_start(recipe: LearnRecipe) -> Start | None:
    """Open what a recipe starts from; None where it starts from nothing. A name of timm means its pretrained weights.

    Raises InputError, ArchitectureError, FileFormatError.
    """
    if recipe.start is None:
        return None
    reference = resolve_model(recipe.start, "learngene", "folder", "weights", "run", "timm")
    layers = recipe.start_layers == "start"
    if reference.kind == "learngene":
        learngene = load(reference.place)
        return Start(learngene, layers, _lineage_of_learngene(reference, learngene))
    opened = open_start_model(reference, pretrained=reference.kind == "timm")
    fitted = fit_opened(opened, recipe.basis_for(stages=len(family_covering(opened.architecture).stages)))
    return Start(fitted.learngene, layers, fitted.learngene.header.learned["fitted_to"], fitted.notes)


def begin(auxiliary: AuxiliaryModel, begun: StartTensors) -> None:
    """Put what a model starts from into it. What the start has not, such as a head of other classes, stays as drawn."""
    auxiliary.load_tensors({**auxiliary.tensors(), **begun.tensors})


def _lineage_of_learngene(reference: Reference, learngene: Learngene) -> dict[str, Any]:
    name = name_of(reference.place) if reference.run is None else reference.run.id
    learned = learngene.header.learned
    origin = learned.get("fitted_to", learned.get("ancestry"))
    return {"learngene": name, "sha256": learngene.header.sha256, **({} if origin is None else {"from": origin})}
