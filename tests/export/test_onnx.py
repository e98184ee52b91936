"""The graph writers, with numbers: against timm in PyTorch, against expansion, and against each other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from tests.export.conftest import BASES, VARIANTS, noise, optimised_nodes, relative_error
from tleg.errors import DepthError, ExportError
from tleg.export.interface import OPSET
from tleg.export.onnx import file as onnx_file
from tleg.export.onnx.compact import write_compact
from tleg.export.onnx.elastic import RULE, between_positions, write_elastic
from tleg.export.onnx.plain import write_plain
from tleg.export.openvino.core import IN_FLOAT32, openvino_core
from tleg.learngene.basis import MAX_DEPTH, parse_basis
from tleg.models.learngene import Learngene

ROUNDING = 1e-5
OUT_OF_RANGE = (0, -1, -1024, 1025, 10**9, -(10**18), 2**63 - 1, -(2**63))


def write(kind: str, path: Path, learngene: Learngene, depth: int, **options: Any) -> Path:
    structure = learngene.header.architecture.structure
    assert structure is not None
    known = (path, structure, learngene.header.basis, learngene.tensors)
    options.setdefault("metadata", {})
    if kind == "elastic":
        size = write_elastic(*known, **options)
    else:
        size = (write_plain if kind == "plain" else write_compact)(*known, depth, **options)
    assert size == path.stat().st_size
    return path


def open_in_openvino(path: Path) -> Any:
    pytest.importorskip("openvino")
    return openvino_core().compile_model(path, "CPU", dict(IN_FLOAT32))


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_writer_equals_timm(
    variant: str, tiny_learngene: Any, tmp_path: Path, torch_logits: Any, onnx_logits: Any
) -> None:
    learngene = tiny_learngene(arguments=VARIANTS[variant])
    images = noise(learngene)
    expected = torch_logits(learngene, 5, images)
    for kind in ("plain", "compact", "elastic"):
        path = write(kind, tmp_path / f"{kind}.onnx", learngene, 5)
        onnx.checker.check_model(path, full_check=True)
        found = onnx_logits(path, images, 5 if kind == "elastic" else None)
        assert relative_error(found, expected) < ROUNDING, kind


@pytest.mark.parametrize("variant", ["plain", "averaged beside a class token", "registers averaged"])
def test_official_layout(variant: str, tiny_learngene: Any, tmp_path: Path, torch_logits: Any, onnx_logits: Any) -> None:
    learngene = tiny_learngene(arguments=VARIANTS[variant])
    images = noise(learngene)
    expected = torch_logits(learngene, 3, images, layout="official")
    assert relative_error(torch_logits(learngene, 3, images), expected) > 1e-2, "the layouts must differ"
    for kind in ("plain", "compact", "elastic"):
        path = write(kind, tmp_path / f"{kind}.onnx", learngene, 3, layout="official")
        assert relative_error(onnx_logits(path, images, 3 if kind == "elastic" else None), expected) < ROUNDING, kind


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("depth", [1, 3, 6])
def test_bases(basis: str, depth: int, tiny_learngene: Any, tmp_path: Path, torch_logits: Any, onnx_logits: Any) -> None:
    learngene = tiny_learngene(basis=BASES[basis])
    images = noise(learngene)
    expected = torch_logits(learngene, depth, images)
    plain = onnx_logits(write("plain", tmp_path / "plain.onnx", learngene, depth), images)
    compact = onnx_logits(write("compact", tmp_path / "compact.onnx", learngene, depth), images)
    elastic = onnx_logits(write("elastic", tmp_path / "elastic.onnx", learngene, depth), images, depth)
    assert relative_error(plain, expected) < ROUNDING
    assert np.array_equal(compact, plain), "the same weights to the bit, so the same logits"
    assert relative_error(elastic, plain) < 2e-6


def test_elastic_at_every_depth_from_one_file(
    tiny_learngene: Any, tmp_path: Path, torch_logits: Any, onnx_logits: Any
) -> None:
    # A third does not end in binary: stages must begin at the same layer as in Python at every depth.
    learngene = tiny_learngene(basis=BASES["piecewise"])
    images = noise(learngene)
    path = write("elastic", tmp_path / "elastic.onnx", learngene, 0)
    for depth in (1, 2, 3, 9, 12, 24, 30):
        assert relative_error(onnx_logits(path, images, depth), torch_logits(learngene, depth, images)) < ROUNDING, depth


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_elastic_refuses_a_depth_out_of_range(precision: Any, tiny_learngene: Any, tmp_path: Path, onnx_logits: Any) -> None:
    learngene = tiny_learngene()
    path = write("elastic", tmp_path / "elastic.onnx", learngene, 0, precision=precision)
    images = noise(learngene).astype(precision)
    for depth in OUT_OF_RANGE:
        for optimise in (True, False):
            with pytest.raises(Exception, match="depth_must_be_1_to_1024"):
                onnx_logits(path, images, depth, optimise=optimise)
    assert np.isfinite(onnx_logits(path, images, 1024)).all(), "the deepest is in range"


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_runtime_that_reads_past_tables_gives_no_number_for_a_depth_out_of_range(
    precision: Any, tiny_learngene: Any, tmp_path: Path, torch_logits: Any
) -> None:
    """OpenVINO's Gather gives zero for an index out of range, by definition, where ONNX Runtime fails."""
    learngene = tiny_learngene()
    path = write("elastic", tmp_path / "elastic.onnx", learngene, 0, precision=precision)
    model = open_in_openvino(path)
    images = noise(learngene)
    tolerance = {"float32": ROUNDING, "float16": 2e-2}[precision]
    for depth in OUT_OF_RANGE:
        logits = model([images.astype(precision), np.array(depth, np.int64)])[0]
        assert np.isnan(logits).all(), f"depth {depth} gives {logits}"
        # The next request is not spoilt by the refused one.
        logits = model([images.astype(precision), np.array(3, np.int64)])[0]
        assert relative_error(logits.astype(np.float32), torch_logits(learngene, 3, images)) < tolerance


def test_the_docs_name_the_error_of_a_depth_out_of_range() -> None:
    text = (Path(__file__).parents[2] / "docs" / "runtimes.md").read_text()
    assert f"`{RULE}`" in text


@given(st.one_of(st.floats(1e-6, 1 - 1e-6), st.fractions(0, 1, max_denominator=64).map(float)), st.integers(1, MAX_DEPTH))
def test_boundaries_part_layers_in_float32_as_in_float64(edge: float, depth: int) -> None:
    if not 0 < edge < 1:
        return
    layers = np.arange(depth, dtype=np.float32)
    begun = np.arange(depth) / depth >= edge
    between = np.float32(between_positions(edge))
    assert np.array_equal(layers / np.float32(depth) >= between, begun)
    assert np.array_equal(layers * (np.float32(1) / np.float32(depth)) >= between, begun), (
        "a division by way of a reciprocal"
    )


@pytest.mark.parametrize("stages", [3, 7, 10])
def test_stages_begin_at_the_same_layer_in_a_runtime_without_float64(
    stages: int, tiny_learngene: Any, tmp_path: Path, torch_logits: Any
) -> None:
    learngene = tiny_learngene(basis=parse_basis(f"piecewise:{stages}"))
    images = noise(learngene)
    model = open_in_openvino(write("elastic", tmp_path / "elastic.onnx", learngene, 0))
    for depth in (1, 5, 14, 20, 25, 30):
        logits = model([images, np.array(depth, np.int64)])[0]
        assert relative_error(logits, torch_logits(learngene, depth, images)) < ROUNDING, depth


@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("kind", ["plain", "compact"])
@pytest.mark.parametrize("variant", ["plain", "dinov2", "registers averaged"])
def test_openvino_agrees(
    variant: str, kind: str, precision: Any, tiny_learngene: Any, tmp_path: Path, torch_logits: Any
) -> None:
    learngene = tiny_learngene(arguments=VARIANTS[variant])
    model = open_in_openvino(write(kind, tmp_path / "model.onnx", learngene, 4, precision=precision))
    images = noise(learngene)
    logits = model([images.astype(precision)])[0]
    tolerance = {"float32": ROUNDING, "float16": 2e-2}[precision]
    assert relative_error(logits.astype(np.float32), torch_logits(learngene, 4, images)) < tolerance


@pytest.mark.parametrize("layout", ["auxiliary", "official"])
@pytest.mark.parametrize("kind", ["plain", "compact", "elastic"])
def test_only_operators_that_the_most_runtimes_read(kind: str, layout: Any, tiny_learngene: Any, tmp_path: Path) -> None:
    for variant in VARIANTS.values():
        learngene = tiny_learngene(arguments=variant)
        if layout == "official" and learngene.header.architecture.arguments["global_pool"] != "avg":
            continue
        model = onnx.load(write(kind, tmp_path / "model.onnx", learngene, 2, layout=layout))
        operators = {node.op_type for node in model.graph.node}
        # ReduceMean's axes are an input since opset 18, which pnnx drops and OpenVINO 2024 refuses; tract has no Gemm in
        # float16.
        assert not operators & {"Gemm", "ReduceMean", "GlobalAveragePool"}


def test_plain_weights_are_those_of_expansion(tiny_learngene: Any, tmp_path: Path) -> None:
    learngene = tiny_learngene(arguments=VARIANTS["dinov2"])
    model = onnx.load(write("plain", tmp_path / "plain.onnx", learngene, 7))
    stored = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    for name, values in learngene.expand_tensors(7).items():
        if name in ("cls_token", "reg_token", "pos_embed"):
            continue
        expected = values.T if values.ndim == 2 else values
        assert np.array_equal(stored.pop(name), expected), name
    tokens = np.concatenate([learngene.tensors["cls_token"], learngene.tensors["reg_token"]], axis=1)
    embedding = np.concatenate([tokens, learngene.tensors["pos_embed"]], axis=1)  # dinov2's is of the patches alone.
    assert np.array_equal(stored.pop("token_embed"), embedding)
    assert all(name.startswith(("integer", "attn.scale", "pool.share", "zero")) for name in stored)


def test_compact_makes_the_weights_of_expansion(tiny_learngene: Any, tmp_path: Path) -> None:
    import onnxruntime

    learngene = tiny_learngene(basis=BASES["polynomial"])
    model = onnx.load(write("compact", tmp_path / "compact.onnx", learngene, 5))
    made = [node.input[1] for node in model.graph.node if node.name.endswith("mlp.fc1.product")]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in made)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    weights = session.run(made, {"images": noise(learngene)})
    tensors = learngene.expand_tensors(5)
    for layer, weight in enumerate(weights):
        assert np.array_equal(weight.T, tensors[f"blocks.{layer}.mlp.fc1.weight"])


def test_compact_is_folded_when_the_session_opens(tiny_learngene: Any, tmp_path: Path) -> None:

    learngene = tiny_learngene(basis=BASES["cosine"])
    path = write("compact", tmp_path / "compact.onnx", learngene, 6)
    nodes = optimised_nodes(path, tmp_path)
    assert not [node.name for node in nodes if ".sum" in node.name or ".part" in node.name]
    assert sum(node.op_type == "Softmax" for node in nodes) == 6


@pytest.mark.parametrize("kind", ["plain", "compact", "elastic"])
def test_unoptimised_runtime_agrees(kind: str, tiny_learngene: Any, tmp_path: Path, onnx_logits: Any) -> None:
    # Runtimes that neither fold constants nor fuse operators must compute the same.
    learngene = tiny_learngene(arguments=VARIANTS["dinov2"])
    images = noise(learngene)
    path = write(kind, tmp_path / "model.onnx", learngene, 4)
    depth = 4 if kind == "elastic" else None
    assert relative_error(onnx_logits(path, images, depth, optimise=False), onnx_logits(path, images, depth)) < ROUNDING


@pytest.mark.parametrize("kind", ["plain", "compact", "elastic"])
def test_any_batch(kind: str, tiny_learngene: Any, tmp_path: Path, onnx_logits: Any) -> None:
    learngene = tiny_learngene(arguments=VARIANTS["dinov2"])
    path = write(kind, tmp_path / "model.onnx", learngene, 3)
    model = onnx.load(path)
    assert [value.type.tensor_type.shape.dim[0].dim_param for value in (model.graph.input[0], model.graph.output[0])] == [
        "batch",
        "batch",
    ]
    images = noise(learngene, 7)
    depth = 3 if kind == "elastic" else None
    together = onnx_logits(path, images, depth)
    alone = np.concatenate([onnx_logits(path, images[i : i + 1], depth) for i in range(7)])
    assert relative_error(alone, together) < ROUNDING


@pytest.mark.parametrize("kind", ["plain", "compact", "elastic"])
@pytest.mark.parametrize("variant", ["plain", "dinov2"])
def test_float16(kind: str, variant: str, tiny_learngene: Any, tmp_path: Path, torch_logits: Any, onnx_logits: Any) -> None:
    learngene = tiny_learngene(arguments=VARIANTS[variant])
    images = noise(learngene)
    path = write(kind, tmp_path / "half.onnx", learngene, 5, precision="float16")
    onnx.checker.check_model(path, full_check=True)
    model = onnx.load(path)
    types = {item.data_type for item in model.graph.initializer if np.prod(item.dims) > 1024}
    assert types == {onnx.TensorProto.FLOAT16}
    found = onnx_logits(path, images.astype(np.float16), 5 if kind == "elastic" else None)
    assert found.dtype == np.float16
    assert relative_error(found.astype(np.float32), torch_logits(learngene, 5, images)) < 1e-2


def test_opset_and_metadata(tiny_learngene: Any, tmp_path: Path) -> None:
    path = write("plain", tmp_path / "plain.onnx", tiny_learngene(), 2, metadata={"classes": '["Schürze"]'})
    model = onnx.load(path)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    assert {entry.key: entry.value for entry in model.metadata_props} == {"classes": '["Schürze"]'}
    assert model.producer_name == "tleg"


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 2**31 - 1])
def test_whole_numbers_as_protobuf_writes_them(size: int) -> None:
    expected = onnx.StringStringEntryProto(key="x" * size).SerializeToString()[1:-size] if 0 < size < 1000 else None
    written = onnx_file._varint(size)
    assert expected is None or written == expected
    value = sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(written))
    assert value == size


def test_files_beyond_two_gigabytes_are_refused_before_anything_is_computed(
    tiny_learngene: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 100_000)
    with pytest.raises(ExportError, match="holds 2 GB"):
        write("plain", tmp_path / "plain.onnx", tiny_learngene(), 12)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("depth", [0, -1, 10**9])
def test_depths_out_of_range(depth: int, tiny_learngene: Any, tmp_path: Path) -> None:
    for kind in ("plain", "compact"):
        with pytest.raises(DepthError):
            write(kind, tmp_path / "model.onnx", tiny_learngene(), depth)


def test_writers_need_no_torch(learngene_file: Path, tmp_path: Path, run_python: Callable[..., Any]) -> None:
    code = (
        "import sys; from tleg.cli.app import run\n"
        "kinds = ['--export', 'onnx', '--export', 'onnx-compact', '--export', 'onnx-elastic']\n"
        "assert run(['build', sys.argv[1], '--depth', '8', *kinds, '--no-verify', '--output', sys.argv[2]]) == 0\n"
        "print('LOADED', *sorted({'torch', 'timm', 'torchvision', 'onnxruntime', 'onnxscript'} & set(sys.modules)))"
    )
    done = run_python(code, learngene_file, tmp_path)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_torch_writer_equals_timm_and_ours(tiny_learngene: Any, tmp_path: Path, torch_logits: Any, onnx_logits: Any) -> None:
    from tleg.export.onnx.traced import write_torch

    learngene = tiny_learngene(arguments=VARIANTS["dinov2"])
    images = noise(learngene, 3)
    expected = torch_logits(learngene, 3, images)
    path = tmp_path / "traced.onnx"
    write_torch(path, learngene.expand(3), learngene.header.architecture.input_size, metadata={"kind": "onnx"})
    assert list(tmp_path.iterdir()) == [path]
    assert relative_error(onnx_logits(path, images), expected) < ROUNDING
    ours = write("plain", tmp_path / "plain.onnx", learngene, 3)
    assert relative_error(onnx_logits(ours, images), onnx_logits(path, images)) < ROUNDING
    model = onnx.load(path)
    assert model.metadata_props[0].value == "onnx"
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
