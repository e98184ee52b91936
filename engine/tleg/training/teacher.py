"""The ancestry model as a teacher: its own normalisation and resolution, its classes checked, its accuracy looked at."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tleg.architecture import normalise_name
from tleg.errors import InputError, TeacherError, TlegError
from tleg.export.timm_folder import WEIGHTS, load_timm_folder


@dataclass(frozen=True, slots=True)
class TeacherReport:
    """What is known of a teacher: name, hash of its weights file (or None), accuracy in percent (None until checked)."""

    name: str
    sha256: str | None
    accuracy: float | None = None


class Teacher(nn.Module):
    """A frozen timm model that sees the student's images its own way.

    forward takes pixel values (N, C, H, W) in 0..1 and returns logits (N, classes) without gradients.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, report: TeacherReport) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.report = report
        config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
        self.channels, *size = config.get("input_size", (3, 224, 224))
        self.size: tuple[int, int] = (size[0], size[1])
        self.register_buffer(
            "mean", torch.tensor(config.get("mean", (0.5,) * self.channels)).view(1, -1, 1, 1), persistent=False
        )
        self.register_buffer(
            "std", torch.tensor(config.get("std", (0.5,) * self.channels)).view(1, -1, 1, 1), persistent=False
        )
        if self.mean.shape[1] != self.channels:
            # timm's defaults state three channels for models that were built with one.
            self.mean, self.std = self.mean.mean(1, keepdim=True), self.std.mean(1, keepdim=True)

    @classmethod
    def open(cls, name: str, num_classes: int) -> Self:
        """Open a timm folder (`tleg finetune --output`), or download timm's pretrained model of that name.

        Raises TeacherError when it cannot be had, or has another number of classes than the data.
        """
        folder = Path(name)
        if folder.exists():
            try:
                model = load_timm_folder(folder)
            except InputError as error:
                raise TeacherError(f"cannot use the teacher: {error}") from error
            digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
            report = TeacherReport(folder.resolve().name, digest)
        else:
            model, report = _download(name)
        classes = getattr(model, "num_classes", None)
        if classes != num_classes:
            raise TeacherError(
                f"the teacher {report.name} knows {classes} classes and the data has {num_classes}; "
                "fine-tune it on this data first: tleg finetune --model NAME --data … --output TEACHER"
            )
        return cls(model, report)

    def train(self, mode: bool = True) -> Self:
        """A teacher stays in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (N, C, H, W) in 0..1 -> logits (N, classes)."""
        if pixels.shape[1] != self.channels:
            pixels = pixels.expand(-1, self.channels, -1, -1) if pixels.shape[1] == 1 else pixels.mean(1, keepdim=True)
        if tuple(pixels.shape[2:]) != self.size:
            pixels = F.interpolate(pixels, self.size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
        logits: Tensor = self.model((pixels - self.mean) / self.std)
        return logits


def check_accuracy(accuracy: float, images: int, classes: int, name: str) -> None:
    """Refuse a teacher that knows little more than chance (TeacherError): accuracy in percent over so many images.

    The limit is twice chance or chance plus three standard deviations of guessing, whichever is more, and at most half of
    what separates chance from certainty.
    """
    chance = 1 / classes
    deviation = (chance * (1 - chance) / images) ** 0.5
    limit = 100 * min(max(2 * chance, chance + 3 * deviation), (1 + chance) / 2)
    if accuracy < limit:
        raise TeacherError(
            f"the teacher {name} is right on {accuracy:.1f} % of {images} images, and guessing gives {100 * chance:.1f} %; "
            "it would teach noise. Check that its classes are in the order of the data's"
        )


def _download(name: str) -> tuple[nn.Module, TeacherReport]:
    import timm

    try:
        normalise_name(name)
        model = timm.create_model(name, pretrained=True)
    except TlegError as error:
        raise TeacherError(f"no folder and no timm model is called '{name}'. {error}") from error
    except Exception as error:  # timm and the hub client raise many kinds when a download fails.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TeacherError(
            f"cannot download the teacher '{name}' ({reason}); when offline, give a folder with its weights: "
            "one that tleg finetune or timm.models.save_for_hf wrote"
        ) from error
    return model, TeacherReport(name, None)
