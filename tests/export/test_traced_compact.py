"""Compact ONNX of what PyTorch traces: Swin, ConvNeXt, BEiT and a ViT that is not plain."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from PIL import Image

from tests.conftest import CommandResult
from tests.export.conftest import noise, optimised_nodes, relative_error
from tests.models.test_families import learngene_of
from tleg.errors import ExportError
from tleg.export.build import build_exports
from tleg.export.onnx.float16 import can_run
from tleg.export.onnx.traced import trace
from tleg.export.onnx.traced_compact import _orders, _rename, write_traced_compact
from tleg.export.plan import BuildRequest
from tleg.export.verify import check_path
from tleg.learngene.architecture import Architecture
from tleg.learngene.basis import Basis, parse_basis
from tleg.learngene.families import family_of
from tleg.models.learngene import Learngene

Cli = Callable[..., CommandResult]
# Large enough for weights to be most of a file.
MODELS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "beit": ("beit_base_patch16_224", {"img_size": 32, "patch_size": 8, "embed_dim": 96, "num_heads": 3}),
    "convnext": ("convnext_atto", {"img_size": 32, "dims": [16, 24, 48, 96], "depths": [1, 1, 3, 1]}),
    "swin": (
        "swin_tiny_patch4_window7_224",
        {
            "img_size": 32,
            "patch_size": 2,
            "window_size": 4,
            "embed_dim": 24,
            "num_heads": [1, 2, 4, 8],
            "depths": [1, 1, 2, 1],
        },
    ),
}


def initializers(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    return {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}


def build(learngene: Learngene, folder: Path, depth: int = 2, kind: str = "onnx-compact", **options: Any) -> Path:
    """Build and verify an export, and return its path."""
    path = folder / "it.safetensors"
    learngene.save(path, overwrite=True)
    (built,) = build_exports(BuildRequest(path, (kind,), (depth,), folder / "exports", overwrite=True, **options))
    return built.path


@pytest.mark.parametrize("model", ["beit", *(pytest.param(name, marks=pytest.mark.slow) for name in ("convnext", "swin"))])
def test_it_computes_what_the_descendant_computes_and_does_not_grow_with_depth(
    model: str, tmp_path: Path, torch_logits: Any, onnx_logits: Any
) -> None:
    learngene = learngene_of(*MODELS[model])
    images, sizes = noise(learngene), {}
    for depth in (2, 6):
        path = build(learngene, tmp_path, depth, verify=False)
        onnx.checker.check_model(path, full_check=True)
        logits = onnx_logits(path, images)
        assert relative_error(logits, torch_logits(learngene, depth, images)) < 1e-5
        assert relative_error(onnx_logits(path, images, optimise=False), logits) < 1e-5
        assert check_path(path).passed
        sizes[depth] = path.stat().st_size
    assert sizes[2] < sizes[6] < 1.05 * sizes[2]
    assert sizes[6] < 1.1 * (tmp_path / "it.safetensors").stat().st_size
    plain = build(learngene, tmp_path, 6, "onnx", verify=False)
    assert relative_error(onnx_logits(plain, images), logits) < 1e-5
    assert plain.stat().st_size > 1.3 * sizes[6]


@pytest.mark.parametrize("basis", ["polynomial:2", pytest.param("linear", marks=pytest.mark.slow)])
def test_its_weights_are_those_of_expansion(basis: str, tiny_learngene: Any, tmp_path: Path) -> None:
    import onnxruntime

    learngene = tiny_learngene("beit_base_patch16_224", basis=parse_basis(basis))
    content = onnx.load(build(learngene, tmp_path, 3))
    # A later sum of a weight holds more of its terms.
    made = {node.name.rpartition(".sum")[0]: node.output[0] for node in content.graph.node if ".sum" in node.name}
    content.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in made.values())
    session = onnxruntime.InferenceSession(content.SerializeToString(), providers=["CPUExecutionProvider"])
    weights = dict(zip(made, session.run([*made.values()], {"images": noise(learngene)}), strict=True))
    expected, family = learngene.expand_tensors(3), family_of(learngene.header.architecture)
    layers = [name for name in expected if family.is_block(name)]
    # The first layer is the first term as it is.
    assert set(weights) == {name for name in layers if ".0." not in name}
    for name, values in weights.items():
        transposed = name.endswith(("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight"))
        assert np.array_equal(values.T if transposed else values, expected[name]), name


def test_what_repeats_is_stored_once_and_weights_are_made_when_the_session_opens(tmp_path: Path) -> None:

    # Of the four blocks of the first stage two shift their windows, with a mask; each has its indices.
    name, arguments = MODELS["swin"]
    learngene = learngene_of(name, {**arguments, "embed_dim": 12, "num_heads": [1, 2, 2, 4], "depths": [3, 1, 1, 1]})
    path = build(learngene, tmp_path, 4, verify=False)
    stored = initializers(path)
    assert len({(values.dtype.str, values.shape, values.tobytes()) for values in stored.values()}) == len(stored)
    terms = [name for name in stored if name.startswith("layers.") and ".blocks." in name]
    assert stored["layers.0.blocks.attn.qkv.weight.term1"].shape == (12, 36), "as MatMul takes it"
    assert "layers.1.blocks.attn.qkv.weight.term0" in terms
    assert "layers.1.blocks.attn.qkv.weight.term1" not in terms, "one block has no use for a slope"
    nodes = optimised_nodes(path, tmp_path)
    assert not [node.name for node in nodes if ".sum" in node.name or ".part" in node.name]
    assert sum(node.op_type == "Softmax" for node in nodes) == 7


def test_a_vit_that_is_not_plain_in_the_official_layout(tiny_learngene: Any, tmp_path: Path) -> None:
    learngene = tiny_learngene(arguments={"qk_norm": True}, basis=Basis(expanded=("norm",)))
    path = build(learngene, tmp_path, 3, layout="official", num_classes=4)
    stored = initializers(path)
    # What is no norm has one term, which all layers share.
    assert stored["blocks.attn.qkv.weight"].shape == (48, 144)
    assert {name for name in stored if name.startswith("blocks.norm1.weight")} == {
        "blocks.norm1.weight.term0",
        "blocks.norm1.weight.term1",
    }
    assert stored["head.weight"].shape == (4, 48)


@pytest.mark.parametrize("kind", ["onnx", "onnx-compact"])
def test_nothing_of_the_machine_that_wrote_it(kind: str, tiny_learngene: Any, tmp_path: Path) -> None:
    path = build(tiny_learngene(arguments={"qk_norm": True}), tmp_path, kind=kind)
    content = path.read_bytes()
    for text in ("site-packages", torch.__file__, str(tmp_path), "stack_trace"):
        assert text.encode() not in content


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("onnx", "convnext"),
        ("onnx-compact", "beit"),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (("onnx", "beit"), ("onnx-compact", "convnext"))),
    ],
)
def test_float16(kind: str, model: str, tmp_path: Path, run_cli: Cli) -> None:
    path = build(learngene_of(*MODELS[model]), tmp_path, 3, kind, precision="float16")
    content = onnx.load(path)
    assert not can_run(content), "the graph writer's operators are not all that is in there"
    types = {item.data_type for item in content.graph.initializer if item.name.startswith(("blocks.", "stages."))}
    assert types == {onnx.TensorProto.FLOAT16}
    assert "of 65,504" in run_cli("verify", path, "--learngene", tmp_path / "it.safetensors").stdout
    (tmp_path / "it.safetensors").unlink()
    assert "only with the model" in run_cli("verify", path).stdout


def test_it_is_evaluated_as_its_learngene_is(tiny_learngene: Any, tmp_path: Path, run_cli: Cli) -> None:
    names = ("a", "b", "c")
    learngene = tiny_learngene("beit_base_patch16_224", num_classes=3, classes=names)
    for index, name in enumerate(names):
        (tmp_path / "data" / "val" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), (80 * index, 90, 200 - 20 * index)).save(tmp_path / "data" / "val" / name / "it.png")
    found = []
    for path, depths in ((build(learngene, tmp_path), ()), (tmp_path / "it.safetensors", ("--depths", "2"))):
        done = run_cli("evaluate", path, "--data", tmp_path / "data", "--device", "cpu", *depths, "--json")
        (result,) = json.loads(done.stdout)["results"]
        found.append((result["top1"], pytest.approx(result["loss"], rel=1e-4)))
    assert found[0] == found[1]


class Undecided(torch.nn.Module):
    """What it computes depends on the values of an image, which no trace can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.linear(images) if images.sum() > 0 else images
        return x


def test_what_cannot_be_traced_is_refused_in_one_sentence() -> None:
    with pytest.raises(ExportError, match="cannot export this architecture: Could not guard on data-dependent") as info:
        trace(Undecided().eval(), (3, 4, 4))
    assert str(info.value).isprintable()


class Odd(torch.nn.Module):
    """Two blocks; the weight of the second is not read, but something that was made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
        self.cached = (2 * self.blocks[1].get_parameter("weight")).detach()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.blocks[0](images.mean(2)) @ self.cached
        return x + self.blocks[1].get_parameter("bias")


def test_a_weight_that_the_graph_does_not_read_is_refused_by_name(tmp_path: Path) -> None:
    model = Odd().eval()
    architecture = Architecture("odd", {}, 4, (1, 4, 4))
    tensors = {"blocks.weight": np.zeros((2, 4, 4), np.float32), "blocks.bias": np.zeros((2, 4), np.float32)}
    with pytest.raises(
        ExportError, match=r"does not read 'blocks\.1\.weight' as it is.*--export onnx and pytorch can"
    ) as info:
        write_traced_compact(tmp_path / "odd.onnx", model, architecture, Basis(), tensors, 2, metadata={})
    assert (info.value.field, info.value.code) == ("export", "unsupported")
    assert not any(tmp_path.iterdir())


def test_names_inside_of_branches_are_new_too_and_nothing_is_transposed_around_them() -> None:
    add = onnx.helper.make_node("Add", ["blocks.0.weight", "x"], ["sum"])
    branch = onnx.helper.make_graph([add], "branch", [], [])
    nodes = [
        onnx.helper.make_node("Transpose", ["blocks.0.weight"], ["turned"], perm=[1, 0]),
        onnx.helper.make_node("If", ["condition"], ["y"], then_branch=branch, else_branch=branch),
    ]
    layers = {"blocks.0.weight": ("blocks.weight", 0)}
    assert _orders(nodes[:1], layers) == {"blocks.weight": [1, 0]}
    assert _orders(nodes, layers) == {}
    assert _orders([nodes[0], add], layers) == {}
    _rename(nodes, {"blocks.0.weight": "made"})
    assert nodes[0].input == ["made"]
    assert [attribute.g.node[0].input[0] for attribute in nodes[1].attribute] == ["made", "made"]
