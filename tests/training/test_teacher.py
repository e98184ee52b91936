"""Teachers: their own normalisation, resolution and channels; refused when they cannot teach."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tleg.errors import TeacherError
from tleg.learngene.architecture import Architecture
from tleg.learngene.header import Preprocessing
from tleg.models.timm_folder import save_timm_folder
from tleg.training.teacher import Teacher, TeacherReport, check_accuracy

CLASSES = tuple("0123456789")


class Recorder(nn.Module):
    """A model that keeps what it was given."""

    def __init__(self, size: tuple[int, int, int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        mean, std = ((0.2, 0.4, 0.6), (0.1, 0.2, 0.3)) if size[0] == 3 else ((0.2, 0.4, 0.6), (0.3, 0.3, 0.3))
        self.pretrained_cfg = {"input_size": size, "mean": mean, "std": std}
        self.num_classes = 2
        self.seen = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return images.mean((2, 3))[:, :1].repeat(1, 2) + self.weight


def test_normalises_with_its_own_mean_and_std() -> None:
    model = Recorder((3, 8, 8))
    pixels = torch.rand(2, 3, 8, 8)
    Teacher(model, TeacherReport("t", None))(pixels)
    expected = (pixels - torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1)) / torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    assert torch.equal(model.seen, expected)


def test_sees_images_at_its_own_resolution_and_in_its_own_channels() -> None:
    model = Recorder((3, 16, 16))
    pixels = torch.rand(2, 1, 8, 8)
    Teacher(model, TeacherReport("t", None))(pixels)
    assert model.seen.shape == (2, 3, 16, 16)
    resized = F.interpolate(pixels, (16, 16), mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
    mean, std = torch.tensor([0.2, 0.4, 0.6]).view(1, 3, 1, 1), torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)
    assert torch.allclose(model.seen, (resized - mean) / std)


def test_a_greyscale_teacher_sees_grey() -> None:
    model = Recorder((1, 8, 8))
    pixels = torch.rand(2, 3, 8, 8)
    Teacher(model, TeacherReport("t", None))(pixels)
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    grey = (pixels * weights).sum(1, keepdim=True)
    assert torch.allclose(model.seen, (grey - 0.4) / 0.3)


def test_is_frozen_and_stays_in_eval_mode() -> None:
    teacher = Teacher(Recorder((3, 8, 8)), TeacherReport("t", None)).train()
    assert not teacher.training
    assert not teacher.model.training
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher(torch.rand(1, 3, 8, 8)).requires_grad


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import timm

    arguments: dict[str, Any] = {"in_chans": 1, "channels": [8, 8, 16, 16], "stem_width": 8}
    model = timm.create_model("resnet10t", num_classes=10, **arguments)
    tensors = {name: value.numpy() for name, value in model.state_dict().items()}
    target = tmp_path / "ancestor"
    target.mkdir()
    architecture = Architecture("resnet10t", arguments, 10, (1, 32, 32))
    save_timm_folder(target, tensors, architecture, None, preprocessing=Preprocessing((0.3,), (0.4,)), classes=CLASSES)
    return target


def test_opens_a_folder_with_its_own_preprocessing(folder: Path) -> None:
    teacher = Teacher.open(str(folder), CLASSES)
    assert (teacher.channels, teacher.size) == (1, (32, 32))
    assert (teacher.normalise.mean.item(), teacher.normalise.std.item()) == pytest.approx((0.3, 0.4))
    assert teacher.report.name == "ancestor"
    assert len(teacher.report.sha256 or "") == 64


def test_other_classes_are_refused(folder: Path) -> None:
    with pytest.raises(TeacherError, match="knows 10 classes and the data has 12"):
        Teacher.open(str(folder), tuple("abcdefghijkl"))


def test_classes_in_another_order_are_matched_by_name(folder: Path) -> None:
    pixels = torch.rand(3, 1, 8, 8)
    same, other = (Teacher.open(str(folder), classes) for classes in (CLASSES, CLASSES[::-1]))
    assert torch.equal(other(pixels), same(pixels).flip(1))
    assert torch.equal(other.features(pixels)[0], same.features(pixels)[0].flip(1))
    with pytest.raises(TeacherError, match="other classes than the data: only the model knows '9'; only the data has 'x'"):
        Teacher.open(str(folder), (*CLASSES[:9], "x"))


def test_a_file_of_weights_is_a_teacher(tmp_path: Path) -> None:
    import argparse

    import timm

    model = timm.create_model("resnet10t", num_classes=10)
    state = {f"module.{name}": value for name, value in model.state_dict().items()}
    torch.save({"model": state, "args": argparse.Namespace(lr=1.0)}, tmp_path / "weights.pth")
    teacher = Teacher.open(f"resnet10t:{tmp_path / 'weights.pth'}", CLASSES)
    assert teacher.report.name == "resnet10t"
    assert torch.equal(teacher.model.fc.weight, model.fc.weight)  # type: ignore[union-attr, arg-type]
    with pytest.raises(TeacherError, match="knows 10 classes"):
        Teacher.open(f"resnet10t:{tmp_path / 'weights.pth'}", CLASSES[:3])
    with pytest.raises(TeacherError, match="does not fit 'resnet18'"):
        Teacher.open(f"resnet18:{tmp_path / 'weights.pth'}", CLASSES)
    with pytest.raises(TeacherError, match="cannot read"):
        Teacher.open("resnet18:absent.pth", CLASSES)


def test_damaged_weights_are_refused(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TeacherError, match="cannot use the teacher"):
        Teacher.open(str(folder), CLASSES)


def test_an_unknown_name_is_explained() -> None:
    with pytest.raises(TeacherError, match="Did you mean 'resnet18'"):
        Teacher.open("resnet1818", CLASSES)


def test_a_failed_download_says_what_to_do_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("timm.create_model", no_network)
    with pytest.raises(TeacherError, match=r"Network is unreachable.*when offline, give its weights as 'resnet18:FILE'"):
        Teacher.open("resnet18", tuple(map(str, range(1000))))


def test_classes_are_counted_before_a_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("timm.create_model", lambda *_, **__: pytest.fail("it was downloaded"))
    with pytest.raises(TeacherError, match="knows 1000 classes and the data has 10"):
        Teacher.open("resnet18", CLASSES)


@pytest.mark.parametrize(
    ("accuracy", "images", "classes", "passes"),
    [
        (9.0, 1000, 10, False),
        (18.0, 1000, 10, False),
        (20.0, 1000, 10, True),
        (52.0, 1000, 2, False),
        (54.0, 60, 2, False),
        (66.0, 1000, 3, True),
        (74.0, 1000, 2, True),
        (0.1, 1000, 1000, False),
        (5.0, 1000, 1000, False),
        (12.0, 1000, 1000, True),
    ],
)
def test_a_teacher_near_chance_is_refused(accuracy: float, images: int, classes: int, passes: bool) -> None:
    if passes:
        check_accuracy(accuracy, images, classes, "t")
    else:
        with pytest.raises(TeacherError, match="it would teach noise"):
            check_accuracy(accuracy, images, classes, "t")
