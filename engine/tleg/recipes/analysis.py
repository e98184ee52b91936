"""What `tleg analyze` takes: which model, by which bases, and which images its layers' outputs are compared on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tleg.errors import InputError, concerning
from tleg.learngene.basis import MAX_DEPTH, Basis, parse_basis
from tleg.recipes.fields import check_fields, option, same_option
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.options import WEIGHTS_HELP
from tleg.recipes.training import THREADS_HELP, Compute, Recipe
from tleg.text import read_image_size
from tleg.threads import parse_threads

DEFAULT_BASES: Final = ("linear", "chebyshev:2", "chebyshev:3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """An analysis of the layers of a model.

    depth                of a learngene's descendant; None is that of the auxiliary model
    pretrained           of a name of timm: with its pretrained weights, which are downloaded; else with random ones
    model_arguments, image_size,
    weights              of a folder or a file of weights; arguments go with a name of timm as well
    bases                as they are typed; empty is DEFAULT_BASES
    shuffles             orders of the layers to compare with
    data                 images that the layers' outputs are compared on; None is noise
    images               how many; 0 compares the layers' weights
    seed                 of shuffles, noise and random weights
    threads              of the computation

    Raises InputError for what is out of range or makes no sense together.
    """

    depth: int | None = option(
        None, help="Of a learngene's descendant. Default: the auxiliary model's.", metavar="N", least=3, most=MAX_DEPTH
    )
    pretrained: bool = option(False, help="Of a timm name: its pretrained weights (download), not random ones.")
    model_arguments: Mapping[str, Any] = same_option(
        FinetuneRecipe, "model-arg", {}, help="An argument for timm, but not of a learngene. May be repeated."
    )
    image_size: str | None = same_option(
        FinetuneRecipe, "image-size", None, help="Of a folder or TIMM_NAME:FILE: pixels of the inputs."
    )
    weights: str | None = same_option(FinetuneRecipe, "weights", None, help=WEIGHTS_HELP)
    bases: tuple[str, ...] = option(
        (),
        name="basis",
        help=f"Functions of the position. May be repeated. Default: {', '.join(DEFAULT_BASES)}.",
        metavar="BASIS",
    )
    shuffles: int = option(100, help="Random orders of the layers to compare with.", least=2, most=1_000_000)
    data: str | None = option(
        None, help="Images to compare the layers' outputs on, as of the other commands. Default: noise.", metavar="DATA"
    )
    images: int = option(16, help="How many images; 0 compares the layers' weights.", least=0, most=1024)
    seed: int = same_option(Recipe, "seed", 0, help="Of shuffles, noise and random weights.")
    threads: str = same_option(Compute, "threads", "auto", help=THREADS_HELP)

    def __post_init__(self) -> None:
        check_fields(self)
        parse_threads(self.threads)
        _ = self.chosen_bases, self.pixels
        if self.data is not None and not self.images:
            raise InputError("--data gives images, and --images 0 looks at none", field=("images", "data"), code="conflict")

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Height and width of the inputs, where they were asked for."""
        return read_image_size(self.image_size)

    @property
    def chosen_bases(self) -> tuple[tuple[str, Basis], ...]:
        """The bases, each with what it is called. Raises BasisError."""
        with concerning("basis"):
            return tuple((text, parse_basis(text)) for text in dict.fromkeys(self.bases or DEFAULT_BASES))
