"""What exports are made from, loaded: a learngene, whose descendants are expanded, or the model of a folder, as it is."""

import copy
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from tleg.errors import FileFormatError
from tleg.export.backend import Array, Described, Source, backend_of
from tleg.export.comparison import Reference, learngene_reference, model_reference
from tleg.export.formats import TERMS
from tleg.export.manifest import FolderRecord, Lineage
from tleg.export.origin import TRAINING_RECORD
from tleg.export.plan import BuildPlan, FolderPlan, PlannedExport
from tleg.export.temperature import divide_learngene, divide_model, temperature_inside
from tleg.learngene.architecture import Layout, Structure
from tleg.learngene.expansion import expand_tensors, new_head
from tleg.learngene.families import family_of
from tleg.learngene.header import LearngeneHeader
from tleg.learngene.profile import Depth, format_depth
from tleg.learngene.structure import auxiliary_layout_name, inner_name, is_block, layer_name, parameter_shapes
from tleg.models.float16 import check_range, to_float16
from tleg.models.learngene import Learngene, read_tensors
from tleg.models.output import Output
from tleg.models.rounding import rounded_tensors
from tleg.models.timm_folder import CONFIG, WEIGHTS, config_at_size, config_without_classes, save_timm_folder

if TYPE_CHECKING:
    from torch import nn

_ALWAYS = ("tleg", "numpy", "safetensors")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LearngeneSource(Source):
    """A learngene whose descendants are exported as a plan says. Needs no torch, but for `model`."""

    plan: BuildPlan
    learngene: Learngene

    @classmethod
    def load(cls, plan: BuildPlan) -> "LearngeneSource":
        """Read and check the learngene's tensors.

        Raises FileFormatError, VerificationError, and InputError for features that its descendants do not have.
        """
        learngene = divide_learngene(_at_size(read_tensors(plan.file), plan), plan.temperature)
        return cls(
            plan=plan,
            learngene=learngene,
            structure=plan.architecture.structure,
            layout=plan.layout,
            precision=plan.request.precision,
            num_classes=plan.head.num_classes,
            input_size=plan.header.architecture.input_size,
            preprocessing=plan.header.preprocessing,
            classes=plan.classes,
            basis=plan.header.basis,
            libraries=_ALWAYS,
            architecture=plan.architecture,
            output=plan.output,
            described=_describe_descendants(plan, learngene),
            interface=plan.request.interface,
        )

    def in_float32(self) -> Self:
        """The same in float32."""
        plan = replace(self.plan, request=replace(self.plan.request, precision="float32"))
        return replace(self, plan=plan, precision="float32")

    def doubt(self, depth: Depth | None) -> str | None:
        """Whether a depth is less than the learngene was trained at."""
        return None if depth is None else self.plan.header.auxiliary.doubt(depth)

    def lineage(self, depth: Depth | None) -> Lineage:
        """Where an export's weights come from."""
        return Lineage(self.plan.learngene_record(), descendant=self.plan.descendant_record(depth))

    def reference(self, export: PlannedExport) -> Reference:
        """What an export must compute: at its depth, or at those asked for, the auxiliary model's, and the shallowest."""
        numbers = {depth for depth in self.plan.request.depths if isinstance(depth, int)}
        depths: tuple[Depth, ...] = tuple(sorted({1, self.plan.header.auxiliary.depth, *numbers}))
        if export.depth is not None:
            depths = (export.depth,)
        return learngene_reference(self.learngene, self.plan.descendant_record(export.depth), depths)

    def tensors(self) -> Mapping[str, Array]:
        """The learngene's tensors, with a new head where one was asked for."""
        tensors, head = dict(self.learngene.tensors), self.plan.head
        if head.policy == "new":
            classifier = family_of(self.plan.header.architecture).classifier
            inputs = _head_inputs(self.plan.header, classifier, tensors)
            tensors |= new_head(inputs, head.num_classes, self.plan.request.seed, classifier)
        return tensors

    def state(self, depth: Depth | None) -> Mapping[str, Array]:
        """The weights of a descendant. Raises ExportError for values beyond the range of float16."""
        assert depth is not None
        state: dict[str, Any] = expand_tensors(self.tensors(), self.plan.header, depth)
        family = family_of(self.plan.header.architecture)
        state = {family.name_in(self.layout, name): values for name, values in state.items()}
        return _rounded(state) if self.precision == "float16" else state

    def model(self, depth: Depth | None) -> Any:
        """A descendant. Raises ExportError for values beyond the range of float16."""
        from tleg.models.features import cut_to, giving

        assert depth is not None
        return cut_to(giving(self._descendant(depth), self.output), self.output)

    def _descendant(self, depth: Depth) -> Any:
        from tleg.models.descendant import expand

        learngene, rounded = self.learngene, TERMS.get(self.precision)
        if rounded is not None:
            tensors = rounded_tensors(learngene.header.architecture, learngene.tensors, rounded)
            learngene = replace(learngene, tensors=tensors)
        return expand(
            learngene,
            depth,
            layout=self.layout,
            num_classes=self.num_classes or None,
            dtype=self.arithmetic,
            seed=self.plan.request.seed,
        )

    def write_folder(self, path: Path, depth: Depth | None) -> None:
        """Write a descendant into a folder. Raises ExportError, OSError."""
        assert depth is not None
        state = self.state(depth) if self.output.of_classes else _state_without_classifier(self._descendant(depth))
        save_timm_folder(
            path,
            state,
            self.plan.header.architecture,
            depth,
            preprocessing=self.preprocessing,
            layout=self.layout,
            num_classes=self.num_classes,
            classes=self.classes,
        )


def _head_inputs(header: LearngeneHeader, classifier: str, tensors: Mapping[str, Array]) -> tuple[int, ...]:
    """The shape of what a classifier takes, which a learngene without a head does not hold."""
    known = tensors.get(f"{classifier}.weight")
    if known is not None:
        return tuple(known.shape[1:])
    if header.architecture.structure is not None:
        return (header.architecture.structure.width,)
    from tleg.models.architecture import build

    model = build(header.architecture, header.auxiliary.depth, num_classes=1, device="meta")
    return tuple(model.get_submodule(classifier).get_parameter("weight").shape[1:])


def _at_size(learngene: Learngene, plan: BuildPlan) -> Learngene:
    return learngene if plan.image_size is None else learngene.at_image_size(plan.image_size)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FolderSource(Source):
    """The model of a folder that timm loads, in float32 and eval mode: a fine-tuned descendant, or any other."""

    plan: FolderPlan
    loaded: Any
    temperature: float | None = None

    @classmethod
    def load(cls, plan: FolderPlan) -> "FolderSource":
        """Load and check a folder's model. Raises InputError or FileFormatError."""
        from tleg.models.pretrained import open_folder

        opened = open_folder(plan.path, image_size=plan.request.image_size)
        model = opened.model.float()
        output = plan.request.given_by(opened.num_classes)
        for name, value in model.state_dict().items():
            if not value.isfinite().all():
                raise FileFormatError(f"{opened.file} holds values in '{name}' that are not finite", code="not-finite")
        plain = plain_vit(model)
        size = _input_size(opened.input_size, plain)
        temperature = None
        if plan.request.temperature == "inside":
            temperature = temperature_inside(
                plan.training or {}, [opened.depth], num_classes=opened.num_classes, image_size=size[1:]
            )
            divide_model(model, temperature, size)
        classes = model.num_classes if output.of_classes else 0
        plan.request.interface.check_preprocessing(opened.preprocessing, size)
        for export in plan.exports:
            backend_of(export.format).check_interface(plan.request.interface, output, classes, traced=plain is None)
        return cls(
            plan=plan,
            temperature=temperature,
            loaded=model,
            structure=None if plain is None else plain[0],
            layout="auxiliary" if plain is None else plain[1],
            precision=plan.request.precision,
            num_classes=classes,
            input_size=size,
            preprocessing=opened.preprocessing,
            classes=opened.classes if output.of_classes else (),
            basis=None,
            libraries=(*_ALWAYS, "torch", "timm"),
            output=output,
            described={} if output.of_classes else {None: _describe(model, output, size, f"the model in {plan.path}")},
            interface=plan.request.interface,
        )

    def in_float32(self) -> Self:
        """The same in float32."""
        return replace(self, precision="float32")

    def lineage(self, depth: Depth | None) -> Lineage:
        """Where an export's weights come from."""
        folder = FolderRecord(
            name=self.plan.name,
            architecture=self.plan.folder.architecture,
            depth=self.plan.folder.depth if self.structure is None else len(self.loaded.blocks),
            dtype=self.precision,
            num_classes=self.num_classes,
            sha256=self.plan.sha256,
            training=self.plan.training,
            image_size=self.plan.request.image_size,
            output=None if self.output.of_classes else str(self.output),
            temperature=self.temperature,
        )
        return Lineage(self.plan.learngene, folder=folder)

    def reference(self, export: PlannedExport) -> Reference:
        """What an export must compute."""
        folder = self.lineage(export.depth).folder
        assert folder is not None
        return model_reference(self.loaded, self.input_size, folder)

    def tensors(self) -> Mapping[str, Array]:
        """The model's weights, in the auxiliary layout."""
        return {auxiliary_layout_name(name): values for name, values in self._state().items()}

    def state(self, depth: Depth | None) -> Mapping[str, Array]:
        """The model's weights; counters, such as those of batch norm, stay integers. Raises ExportError."""
        return _rounded(self._state()) if self.precision == "float16" else self._state()

    def model(self, depth: Depth | None) -> Any:
        """The model; in float16 a copy, because the model itself stays the float32 reference. Raises ExportError."""
        from tleg.models.features import cut_to, giving

        if self.precision == "float32" and self.output.of_classes:
            return self.loaded
        model = cut_to(giving(copy.deepcopy(self.loaded), self.output), self.output)
        if self.precision == "float32":
            return model
        for name, values in model.state_dict().items():
            if values.is_floating_point() and values.numel():
                check_range(name, float(values.abs().max()))
        return model.half()

    def write_folder(self, path: Path, depth: Depth | None) -> None:
        """Write the folder again, with its configuration and its record of the training. Raises ExportError, OSError."""
        from safetensors.numpy import save_file

        config, state = self.plan.folder.config, self.state(depth)
        if not self.output.of_classes:
            config = config_without_classes(config)
            kept = _state_without_classifier(copy.deepcopy(self.loaded))
            state = {name: values for name, values in state.items() if name in kept}
        save_file(dict(state), path / WEIGHTS, metadata={"format": "pt"})
        if self.plan.request.image_size is not None:
            config = config_at_size(config, self.input_size)
        (path / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
        if self.plan.training is not None:
            shutil.copyfile(self.plan.path / TRAINING_RECORD, path / TRAINING_RECORD)

    def _state(self) -> dict[str, Array]:
        """The model's state as arrays, by timm's names."""
        return _arrays(self.loaded)


def _describe_descendants(plan: BuildPlan, learngene: Learngene) -> dict[Depth | None, Described]:
    """What the exports of features give, by their depths. Raises InputError where the descendants do not have it."""
    if plan.output.of_classes:
        return {}
    from tleg.models.descendant import expand

    described: dict[Depth | None, Described] = {}
    for depth in dict.fromkeys(export.depth for export in plan.exports):
        # Of every depth the shapes are those of any.
        one = depth or 1
        found = _describe(
            expand(learngene, one, layout=plan.layout),
            plan.output,
            plan.header.architecture.input_size,
            f"the descendant of depth {format_depth(one)}",
        )
        described[depth] = found if depth is not None else Described(found.outputs, None)
    return described


def _describe(model: Any, output: Output, input_size: tuple[int, int, int], name: str) -> Described:
    """What a model gives, and what that takes. Raises InputError when it does not have it."""
    from tleg.models.features import check_output, cut_to, describe_output, giving, measure_output

    check_output(model, output, name)
    outputs = describe_output(model, output, input_size, name)
    return Described(outputs, measure_output(cut_to(giving(copy.deepcopy(model), output), output), input_size))


def _state_without_classifier(model: Any) -> dict[str, Array]:
    from tleg.models.features import without_classifier

    return _arrays(without_classifier(model))


def _arrays(model: Any) -> dict[str, Array]:
    return {name: value.detach().cpu().contiguous().numpy() for name, value in model.state_dict().items()}


def folder_reference(path: Path, record: FolderRecord) -> Reference:
    """What an export of a folder must compute. Raises InputError or FileFormatError."""
    from tleg.models.pretrained import open_folder

    opened = open_folder(path, image_size=record.image_size)
    model = opened.model.float()
    size = _input_size(opened.input_size, plain_vit(model))
    divide_model(model, record.temperature, size)
    return model_reference(model, size, record)


def plain_vit(model: "nn.Module") -> tuple[Structure, Layout] | None:
    """Return what a loaded model computes and its layout, when it is a plain ViT that the graph writer knows."""
    from timm.models.vision_transformer import VisionTransformer
    from torch import nn

    from tleg.models.plain_vit import plain_structure

    if type(model) is not VisionTransformer or not len(model.blocks):
        return None
    layout: Layout = "auxiliary" if isinstance(model.fc_norm, nn.Identity) else "official"
    try:
        structure, _ = plain_structure(model, layout)
    except FileFormatError:  # Sizes that timm takes and the graph writer does not, such as images that it pads.
        return None
    if structure is None:
        return None
    expected: dict[str, tuple[int, ...]] = {}
    for name, shape in parameter_shapes(structure, model.num_classes).items():
        layers = range(len(model.blocks)) if is_block(name) else ()
        expected |= {layer_name(layer, inner_name(name)): shape for layer in layers} if layers else {name: shape}
    found = {auxiliary_layout_name(name): tuple(value.shape) for name, value in model.state_dict().items()}
    return (structure, layout) if found == expected else None


def _rounded(state: Mapping[str, Array]) -> dict[str, Array]:
    return {name: to_float16(name, values) if values.dtype == np.float32 else values for name, values in state.items()}


def _input_size(known: tuple[int, int, int], plain: tuple[Structure, Layout] | None) -> tuple[int, int, int]:
    """(channels, height, width) of an image: the only one that a plain ViT takes, or the folder's."""
    return known if plain is None else (plain[0].channels, *plain[0].image_size)
