"""The numbers that a training follows, where it runs, and what it keeps while it does."""

import math
import re
from dataclasses import dataclass, field, replace
from typing import Final

from tleg.errors import InputError
from tleg.recipes.fields import check_fields, option
from tleg.threads import parse_threads

# The paper's: 5e-4 for 512 images a step (facebookresearch/deit).
BASE_LEARNING_RATE: Final = 5e-4
BASE_BATCH: Final = 512
# Of learngenes that begin with random weights: 6e-3 up to 64 channels, and as much less as there are more; with fewer than
# 128 images a step less by the root of that (docs/study.md).
NARROW_RATE: Final = 6e-3
NARROW: Final = 64
RATED_BATCH: Final = 128
# Those of timm's that keep a state of tensors and numbers, take a gradient as it is, and give a stack of terms no other
# meaning than its parts have.
OPTIMIZERS: Final = ("adamw", "adam", "nadamw", "adopt", "lamb", "lion", "sgd", "momentum")
SCHEDULES: Final = ("cosine", "linear", "constant")

_OPTIMISATION: Final = "Optimisation"
_AUGMENTATION: Final = "Augmentation"


@dataclass(frozen=True, slots=True)
class Augmentation:
    """timm's training augmentation; the defaults are DeiT's.

    crop_scale      the smallest part of the image's area that a random crop keeps (the largest is all of it)
    flip            probability of a horizontal flip
    auto_augment    timm's policy, such as 'rand-m9-mstd0.5-inc1', or None
    color_jitter    strength of random changes of brightness, contrast and saturation; timm leaves it out beside a policy
    random_erasing  probability that a rectangle is erased
    """

    crop_scale: float = option(
        0.08, help="Smallest part of the image that a random crop keeps.", group=_AUGMENTATION, least=0.001, most=1
    )
    flip: float = option(0.5, help="Probability of a horizontal flip.", group=_AUGMENTATION, least=0, most=1)
    auto_augment: str | None = option(
        "rand-m9-mstd0.5-inc1", help="timm's policy, or none.", group=_AUGMENTATION, metavar="POLICY"
    )
    color_jitter: float = option(
        0.0, help="Strength of random changes of colour, where there is no policy.", group=_AUGMENTATION, least=0, most=1
    )
    random_erasing: float = option(
        0.25, help="Probability that a rectangle is erased.", group=_AUGMENTATION, least=0, most=1
    )


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained.

    epochs                  passes over the training images
    batch_size              images a step, over all devices and accumulated parts
    accumulate              parts in which each device computes its images of a step, one after the other. Another number
                            changes sums in their last bits, and what batch norm, dropout and drop-path make of them
    optimizer               timm's name, one of OPTIMIZERS ('sgd' has Nesterov's momentum)
    learning_rate           the peak; None is the paper's rule, 5e-4 * batch_size / 512, and for a learngene that begins
                            with random weights that of `at_width`
    schedule                what follows the warm-up: 'cosine', 'linear' or 'constant'
    minimum_rate            where the schedule ends, as a part of the peak
    warmup_epochs           epochs of linear warm-up from a thousandth of the peak; may be a fraction; None is one epoch,
                            but never more than a fifth of all
    weight_decay            not applied to biases, norms, tokens and embeddings
    clip_gradient           the largest gradient norm; 0 is off
    label_smoothing         in 0..1
    mixup, cutmix           timm's alphas; 0 is off
    repeats                 repeated augmentation: so many versions of an image in one step, and as many fewer images
    ema                     decay of the average of the weights; 0 is off. The average is what is evaluated and kept
    gradient_checkpointing  compute blocks a second time in the backward pass: less memory and more time for the same
                            gradients (the running statistics of batch norm are updated twice)
    compile                 compile the model with torch.compile
    seed                    decides everything random
    workers                 processes that prepare images, on each device; the result does not depend on it
    """

    epochs: int = option(30, help="Passes over the training images.", group=_OPTIMISATION, least=1, most=100_000)
    batch_size: int = option(128, help="Images a step, over all devices.", group=_OPTIMISATION, least=1, most=1_000_000)
    accumulate: int = option(
        1,
        help="Compute a step in so many parts: less memory, nearly the same result (batch norm and dropout see parts).",
        group=_OPTIMISATION,
        least=1,
        most=65536,
    )
    optimizer: str = option("adamw", help="timm's name of an optimiser.", group=_OPTIMISATION, choices=OPTIMIZERS)
    learning_rate: float | None = option(
        None,
        help="Peak. Default: to learn anew by width, else 5e-4 * batch / 512.",
        group=_OPTIMISATION,
        name="lr",
        least=1e-12,
        most=100,
    )
    schedule: str = option("cosine", help="Of the learning rate.", group=_OPTIMISATION, choices=SCHEDULES)
    minimum_rate: float = option(
        0.02, help="Where the schedule ends, as a part of the peak.", group=_OPTIMISATION, least=0, most=1
    )
    warmup_epochs: float | None = option(
        None,
        help="Epochs of linear warm-up. Default: 1, at most a fifth of all.",
        group=_OPTIMISATION,
        least=0,
        most=100_000,
    )
    weight_decay: float = option(
        0.05, help="Not applied to biases, norms and embeddings.", group=_OPTIMISATION, least=0, most=10
    )
    clip_gradient: float = option(1.0, help="Largest gradient norm; 0 is off.", group=_OPTIMISATION, least=0, most=1e9)
    label_smoothing: float = option(0.1, help="Of the labels' loss.", group=_OPTIMISATION, least=0, most=0.999)
    ema: float = option(
        0.0,
        help="Decay of the average of the weights, as in 0.9998; 0 is off. The average is what is kept.",
        group=_OPTIMISATION,
        least=0,
        most=0.999999,
    )
    mixup: float = option(0.0, help="timm's mixup alpha; 0 is off.", group=_AUGMENTATION, least=0, most=100)
    cutmix: float = option(0.0, help="timm's cutmix alpha; 0 is off.", group=_AUGMENTATION, least=0, most=100)
    repeats: int = option(
        1,
        help="Repeated augmentation: versions of an image in a step.",
        group=_AUGMENTATION,
        name="repeated-augmentation",
        least=1,
        most=64,
    )
    augmentation: Augmentation = field(default_factory=Augmentation)
    gradient_checkpointing: bool = option(
        False, help="Compute blocks twice: less memory, the same gradients.", group="Compute"
    )
    compile: bool = option(False, help="Compile the model with torch.compile.", group="Compute")
    seed: int = option(0, help="Decides everything random.", group="Compute", least=0, most=2**31 - 1)
    workers: int = option(
        1,
        help="Processes that prepare images, a device. No influence on the result.",
        group="Compute",
        least=0,
        most=256,
    )

    def __post_init__(self) -> None:
        check_fields(self)
        check_fields(self.augmentation)
        if self.warmup > self.epochs:
            raise InputError(
                f"warmup-epochs must be from 0 to {self.epochs}, the epochs, not {self.warmup:g}",
                field="warmup-epochs",
                code="out-of-range",
            )
        if self.mixing and self.batch_size % 2:
            raise InputError(
                f"mixup and cutmix pair images, so the batch size must be even, not {self.batch_size}",
                field="batch-size",
                code="out-of-range",
            )
        if self.batch_size % self.accumulate:
            raise InputError(
                f"batch-size {self.batch_size} does not divide into {self.accumulate} equal parts (accumulate)",
                field=("batch-size", "accumulate"),
                code="out-of-range",
            )

    @property
    def mixing(self) -> bool:
        """Whether images are mixed, and labels with them."""
        return self.mixup > 0 or self.cutmix > 0

    @property
    def warmup(self) -> float:
        """The epochs of warm-up in force."""
        return min(1.0, self.epochs / 5) if self.warmup_epochs is None else self.warmup_epochs

    @property
    def peak_rate(self) -> float:
        """The learning rate that is given, or the paper's rule."""
        return BASE_LEARNING_RATE * self.batch_size / BASE_BATCH if self.learning_rate is None else self.learning_rate

    def at_width(self, width: int) -> "Recipe":
        """Return the recipe with the rate that a learngene with random weights has when none is given.

        width  channels of the features
        """
        if self.learning_rate is not None:
            return self
        by_width, by_batch = min(1.0, NARROW / width), min(1.0, math.sqrt(self.batch_size / RATED_BATCH))
        return replace(self, learning_rate=NARROW_RATE * by_width * by_batch)


THREADS_HELP: Final = "Threads of each process on the processor; auto: its cores, less the workers."
PRECISIONS: Final = ("auto", "float32", "bfloat16", "float16")


def check_device(device: str) -> None:
    """Refuse a text that names no device. Whether it is there is known where it is used. Raises InputError."""
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", device, re.ASCII) is None:
        raise InputError(f"unknown device '{device}': choose auto, cpu, cuda or cuda:N", field="device", code="unknown-name")


@dataclass(frozen=True, slots=True)
class Compute:
    """Devices and precision.

    device        'auto', 'cpu', 'cuda' or 'cuda:N'
    precision     'auto' is bfloat16 where the GPU computes with it, else float32
    devices       processes on each machine, one to a device; None is one
    nodes         machines
    max_restarts  how often the processes are started again when one of them dies
    threads       with which each process computes on the processor: 'auto', or a number
    """

    device: str = option("auto", help="auto, cpu, cuda or cuda:N.", group="Compute")
    precision: str = option("auto", help="auto, float32, bfloat16 or float16.", group="Compute", choices=PRECISIONS)
    devices: int | None = option(
        None, help="Devices to use on each machine, a process for each. Default: 1.", group="Compute", least=1, most=1024
    )
    nodes: int = option(1, help="Machines.", group="Compute", least=1, most=4096)
    max_restarts: int = option(
        0,
        help="Starts from the last checkpoint when a process dies.",
        group="Compute",
        least=0,
        most=1000,
    )

    threads: str = option("auto", help=THREADS_HELP, group="Compute", metavar="auto|N")

    def __post_init__(self) -> None:
        check_fields(self)
        parse_threads(self.threads)
        check_device(self.device)
        if ":" in self.device and self.processes > 1:
            raise InputError(
                f"device {self.device} is one device, and {self.processes} were asked for; write --device cuda",
                field=("device", "devices"),
                code="conflict",
            )

    @property
    def processes(self) -> int:
        """Processes in all."""
        return (self.devices or 1) * self.nodes


@dataclass(frozen=True, slots=True)
class Keeping:
    """Evaluations and checkpoints during training.

    evaluate_every      epochs between evaluations; 0 evaluates at the end alone
    checkpoint_minutes  minutes between checkpoints; 0 leaves those at the end of an epoch
    checkpoint_steps    steps between checkpoints, instead of minutes
    keep_last           how many of the latest checkpoints are kept; the best is kept as well
    keep_every          epochs between checkpoints that are kept for good; 0 keeps none
    result              'last' or 'best': which weights become the result
    """

    evaluate_every: int = option(
        1, help="Epochs between evaluations; 0: at the end alone.", group="Checkpoints", least=0, most=100_000
    )
    checkpoint_minutes: float = option(
        10.0,
        help="Minutes between checkpoints; 0: at the end of every epoch alone.",
        group="Checkpoints",
        least=0,
        most=100_000,
    )
    checkpoint_steps: int | None = option(
        None, help="Steps between checkpoints, instead of minutes.", group="Checkpoints", least=1, most=10**9
    )
    keep_last: int = option(2, help="How many of the latest checkpoints to keep.", group="Checkpoints", least=1, most=10_000)
    keep_every: int = option(
        0, help="Keep a checkpoint every so many epochs for good; 0: none.", group="Checkpoints", least=0, most=100_000
    )
    result: str = option("last", help="Which weights become the result.", group="Checkpoints", choices=("last", "best"))

    def __post_init__(self) -> None:
        check_fields(self)
        if self.result == "best" and self.evaluate_every == 0:
            raise InputError(
                "the best weights are known when they are evaluated; give evaluate-every 1 or more",
                field=("evaluate-every", "result"),
                code="conflict",
            )


def largest_batch(images: int, parts: int) -> int:
    """Return the largest batch of so many images that divides into equal parts; 0 when there is none."""
    return images // parts * parts


def parts_of(recipe: Recipe, processes: int = 1) -> int:
    """Return what a batch must be a multiple of: its parts on all processes, and pairs on each where images are mixed."""
    return math.lcm(processes * recipe.accumulate, 2 * processes if recipe.mixing else 1)


def too_few(images: int, batch_size: int, parts: int) -> str | None:
    """Return a sentence when the training images are fewer than a batch, with the largest that fits; else None."""
    if images >= batch_size:
        return None
    largest = largest_batch(images, parts)
    fitting = (
        f"the largest batch-size that fits is {largest}" if largest else f"a batch must divide into {parts} equal parts"
    )
    return f"{images} training images are too few for a batch of {batch_size}; {fitting}"
