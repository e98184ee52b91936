"""The initial weights of a model that is trained as it is: a registry, read by the options, the trainer and the docs.

A new baseline is an entry here and a function that builds its model, named and imported when it is used. Standard library
only.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final, Literal

from tleg.errors import InputError, did_you_mean

# The option that names what the weights come from.
Origin = Literal["learngene", "model", "checkpoint"]
# How the matrices of a block's linear layers begin: see `tleg.models.initial`.
INITIAL_MATRICES: Final = ("timm", "fan-in")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InitialWeights:
    """How a model's weights begin.

    name        as --init takes it, of a baseline
    takes       what follows the name after a colon, in words; '' for nothing
    origin      the option that goes with it
    about       what they are, in one sentence
    baseline    whether --init chooses it, instead of the expansion of the learngene
    requires    which architectures it is for, in words; '' for all
    keeps_head  of a learngene's: whether the head is the learngene's where the classes are
    maker       of a learngene's: 'module:function', called as maker(learngene, depth, num_classes=…, drop_path=…), which
                returns a model of the learngene's architecture in eval mode
    changes     of a trained model's: 'module:function', called as changes(initial_model, data, parameter), which returns
                another initial model; `parameter` is the text after the colon
    """

    name: str
    takes: str = ""
    origin: Origin
    about: str
    baseline: bool = False
    requires: str = ""
    keeps_head: bool = True
    maker: str = ""
    changes: str = ""

    def load_maker(self) -> Callable[..., Any]:
        """Import what builds the model of a learngene's."""
        return _load(self.maker)

    def load_changes(self) -> Callable[..., Any]:
        """Import what changes a trained model."""
        return _load(self.changes)

    @property
    def typed(self) -> str:
        """How --init is written: 'share', 'prune:KEEP'."""
        return f"{self.name}:{self.takes}" if self.takes else self.name


def _load(place: str) -> Callable[..., Any]:
    module, _, function = place.partition(":")
    loaded: Callable[..., Any] = getattr(import_module(module), function)
    return loaded


INITIAL_WEIGHTS: Final[dict[str, InitialWeights]] = {}


def register(weights: InitialWeights) -> None:
    """Add initial weights. Raises ValueError for a name that is taken."""
    if weights.name in INITIAL_WEIGHTS:
        raise ValueError(f"there are initial weights '{weights.name}'")
    INITIAL_WEIGHTS[weights.name] = weights


_DESCENDANT: Final = "tleg.models.descendant"
register(
    InitialWeights(
        name="expansion",
        origin="learngene",
        about="the layers that the learngene's terms make at the depth: the descendant",
        maker=f"{_DESCENDANT}:expand",
    )
)
register(
    InitialWeights(
        name="scratch",
        origin="learngene",
        about="timm's random weights, head and stem included",
        baseline=True,
        keeps_head=False,
        maker=f"{_DESCENDANT}:scratch",
    )
)
register(
    InitialWeights(
        name="mimetic",
        origin="learngene",
        about="the same, with attention that looks like a trained one's (Trockman and Kolter, arXiv 2305.09828)",
        baseline=True,
        requires="ViTs of plain attention and a width that 4 divides",
        keeps_head=False,
        maker=f"{_DESCENDANT}:mimetic",
    )
)
register(
    InitialWeights(
        name="share",
        origin="learngene",
        about="one layer for all: that of term 0, or of the mean of the stages of a piecewise basis",
        baseline=True,
        maker=f"{_DESCENDANT}:share",
    )
)
register(
    InitialWeights(
        name="layer-skip",
        origin="learngene",
        about="layer l is layer floor(l * A / depth) of the expanded auxiliary model of depth A",
        baseline=True,
        maker=f"{_DESCENDANT}:layer_skip",
    )
)
register(
    InitialWeights(
        name="tied",
        origin="learngene",
        about="timm's random weights of one layer, which stays one for all while it is trained",
        baseline=True,
        keeps_head=False,
        maker=f"{_DESCENDANT}:tied",
    )
)
register(
    InitialWeights(
        name="prune",
        takes="KEEP",
        origin="checkpoint",
        about="the blocks of a trained model that change their input most on training images; the others are dropped",
        baseline=True,
        changes="tleg.training.prune:prune",
    )
)
register(
    InitialWeights(
        name="random",
        origin="model",
        about="timm's random weights of any of its models",
    )
)
register(
    InitialWeights(
        name="pretrained",
        origin="model",
        about="timm's pretrained weights, downloaded",
    )
)
register(
    InitialWeights(
        name="checkpoint",
        origin="checkpoint",
        about="those of a folder that timm loads, of a file of weights, or of an earlier run",
    )
)


def baselines() -> tuple[str, ...]:
    """What --init may be."""
    return tuple(each.name for each in INITIAL_WEIGHTS.values() if each.baseline)


def typed_baselines() -> str:
    """How --init may be written, for people: 'scratch, …, prune:KEEP'."""
    return ", ".join(INITIAL_WEIGHTS[name].typed for name in baselines())


def parse_init(text: str) -> tuple[InitialWeights, str]:
    """Read --init: the baseline, and what follows its name after a colon.

    Raises InputError for an unknown name, with the nearest known one, and for what a name lacks or does not take.
    """
    name, colon, parameter = text.partition(":")
    if name not in baselines():
        raise InputError(
            f"unknown init '{text}': choose {typed_baselines()}.{did_you_mean(name, baselines())}",
            field="init",
            code="unknown-name",
        )
    weights = INITIAL_WEIGHTS[name]
    if bool(colon) != bool(weights.takes) or bool(parameter) != bool(colon):
        raise InputError(f"cannot read the init '{text}': write {weights.typed}", field="init", code="malformed")
    return weights, parameter


def changes_to_depth(init: Any) -> bool:
    """Whether --init, without what follows its name, makes a model of any depth out of a trained one, as 'prune' does."""
    weights = INITIAL_WEIGHTS.get(init) if isinstance(init, str) else None
    return weights is not None and weights.origin == "checkpoint" and bool(weights.takes)


def weights_of_learngene(init: str | None) -> InitialWeights:
    """Return what --init chooses for a learngene; without it, the expansion.

    Raises InputError, with the nearest known name, and for a baseline that is made of another model.
    """
    if init is None:
        return INITIAL_WEIGHTS["expansion"]
    weights, _ = parse_init(init)
    if weights.origin != "learngene":
        raise InputError(
            f"--init {weights.typed} is made of a trained model: it belongs to --{weights.origin}, not to --learngene",
            field=("init", "learngene"),
            code="conflict",
        )
    return weights
