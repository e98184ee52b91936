"""The numbers that a training follows: batches, learning rate, augmentation, averaging."""

from dataclasses import dataclass, field
from typing import Final

from tleg.errors import InputError
from tleg.recipes.fields import check_fields, option

# The paper's: 5e-4 for 512 images a step (facebookresearch/deit).
BASE_LEARNING_RATE: Final = 5e-4
BASE_BATCH: Final = 512
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
    learning_rate           the peak; None is the paper's rule, 5e-4 * batch_size / 512
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
        help="Peak learning rate. Default: 5e-4 * batch size / 512, the paper's rule.",
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
            raise InputError(f"warmup-epochs must be from 0 to {self.epochs}, the epochs, not {self.warmup:g}")
        if self.mixing and self.batch_size % 2:
            raise InputError(f"mixup and cutmix pair images, so the batch size must be even, not {self.batch_size}")
        if self.batch_size % self.accumulate:
            raise InputError(f"batch-size {self.batch_size} does not divide into {self.accumulate} equal parts (accumulate)")

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
        """The learning rate in force."""
        return BASE_LEARNING_RATE * self.batch_size / BASE_BATCH if self.learning_rate is None else self.learning_rate
