"""What `tleg fit` takes: which model, and by which basis."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tleg.errors import concerning
from tleg.learngene.basis import Basis, parse_basis, parse_parts
from tleg.recipes.analysis import Analysis
from tleg.recipes.fields import check_fields, option, same_option
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.training import THREADS_HELP, Compute
from tleg.text import read_image_size
from tleg.threads import parse_threads


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """The least-squares fit of a learngene to a trained model.

    basis, expand     as in learning
    pretrained        of a name of timm: with its pretrained weights, which are downloaded; else with random ones
    model_arguments, image_size,
    weights           of a folder or a file of weights; arguments go with a name of timm as well
    shuffles          orders of the layers that the fit is compared with
    seed              of shuffles and random weights
    threads           of the computation

    Raises InputError for what is out of range or makes no sense together.
    """

    basis: str = same_option(LearnRecipe, "basis", "linear", help="Functions of the position, as of `tleg learn`.")
    expand: str = same_option(
        LearnRecipe, "expand", "attention,mlp,norm", help="Parts that follow the basis; the rest becomes the layers' mean."
    )
    pretrained: bool = same_option(
        Analysis, "pretrained", False, help="Of a timm name: its pretrained weights (download), not random ones."
    )
    model_arguments: Mapping[str, Any] = same_option(
        Analysis, "model-arg", {}, help="An argument for timm, such as patch_size=4. May be repeated."
    )
    image_size: str | None = same_option(
        Analysis, "image-size", None, help="Of a folder or TIMM_NAME:FILE: pixels of the inputs."
    )
    weights: str | None = same_option(
        Analysis, "weights", None, help="Which weights of a file that holds an average (ema) as well."
    )
    shuffles: int = same_option(Analysis, "shuffles", 100, help="Random orders of the layers to compare with.")
    seed: int = same_option(Analysis, "seed", 0, help="Of shuffles and random weights.")
    threads: str = same_option(Compute, "threads", "auto", help=THREADS_HELP)

    def __post_init__(self) -> None:
        check_fields(self)
        parse_threads(self.threads)
        _ = self.chosen_basis, self.pixels

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Height and width of the inputs, where they were asked for."""
        return read_image_size(self.image_size)

    @property
    def chosen_basis(self) -> Basis:
        """The basis with the parts that it expands. Raises InputError."""
        with concerning("basis"):
            return parse_basis(self.basis, parse_parts(self.expand))


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOutput:
    """Where the learngene goes."""

    output: str = option(help="The learngene file to write (.safetensors).", metavar="FILE")
    force: bool = option(False, help="Replace the output if it exists.")
