"""Options that several recipes have, each defined once."""

from typing import Any, Final

from tleg.recipes.fields import option
from tleg.recipes.images import UNLABELLED
from tleg.recipes.initial_weights import INITIAL_MATRICES

WEIGHTS: Final = ("model", "ema")
WEIGHTS_HELP: Final = "Which weights of a file that holds an average (ema) as well. Default: the average, as timm takes."


def data_option(group: str = "", *, unlabelled: bool = False) -> Any:
    """Declare --data; `unlabelled` where images without classes are taken as well."""
    more = f"{UNLABELLED}FOLDER, " if unlabelled else ""
    text = f"fashion-mnist, a folder with train/CLASS/* and val/CLASS/*, {more}or timm's name, such as torch/cifar10."
    return option(help=text, group=group, metavar="DATA")


def validation_split_option(help: str = "Part of the training images to validate on.", group: str = "Data") -> Any:  # noqa: A002  # As in `option`.
    """Declare --validation-split."""
    return option(None, help=help, group=group, least=0.0001, most=0.9)


def teacher_option() -> Any:
    """Declare --teacher, a name or path; None is no teacher."""
    text = "Ancestry model: a folder that timm loads, TIMM_NAME:FILE, a run, or a timm name (download)."
    return option(None, help=text, group="Distillation", metavar="NAME|PATH")


def model_arguments_option() -> Any:
    """Declare --model-arg, arguments for `timm.create_model` by name."""
    text = "An argument for timm, such as patch_size=4. May be repeated."
    return option({}, help=text, group="Model", name="model-arg", metavar="KEY=VALUE")


def initial_matrices_option(default: str) -> Any:
    """Declare --initial-matrices, one of INITIAL_MATRICES; see `tleg.models.initial`."""
    text = "How large the layers' matrices begin. timm: std 0.02; fan-in: std 1 / sqrt(inputs), more in narrow models."
    return option(default, help=text, group="Model", choices=INITIAL_MATRICES)
