"""ONNX files with the interface that was asked for: what they take and give, against what the usual file gives."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.export.conftest import VARIANTS, noise, optimised_nodes, relative_error
from tests.models.test_families import learngene_of
from tleg.api import predict
from tleg.errors import ExportError, FileFormatError, InputError, VerificationError
from tleg.export.build import build_exports
from tleg.export.interface import OPSET, Interface, check_recorded, parse_batch
from tleg.export.manifest import read_manifest
from tleg.export.onnx.interface import without_interface
from tleg.export.onnx.runtime import deviation, open_onnx
from tleg.export.pixels import normalised, pixels_of
from tleg.export.plan import BuildRequest
from tleg.export.verify import check_path
from tleg.latency.benchmark import measure_latency
from tleg.models.learngene import Learngene
from tleg.models.output import Output, parse_output
from tleg.recipes.benchmark import Benchmark

KINDS = ("onnx", "onnx-compact", "onnx-elastic")
EVERYTHING = Interface(batch=2, opset=17, input="uint8", layout="nhwc", softmax=True, top=3)


def build(source: Path, folder: Path, kind: str = "onnx", interface: Interface | None = None, **options: Any) -> Path:
    """Build and verify an export at depth 3, and return its path."""
    depths = () if kind == "onnx-elastic" or source.is_dir() else (3,)
    asked = interface or Interface()
    (built,) = build_exports(BuildRequest(source, (kind,), depths, folder, interface=asked, overwrite=True, **options))
    return built.path


def session_of(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def described(values: Any) -> list[tuple[str, str, list[Any]]]:
    return [(each.name, each.type, each.shape) for each in values]


def fed(session: Any, images: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """What a session gives at depth 3, where it takes one."""
    first, *depth = session.get_inputs()
    found: list[np.ndarray[Any, Any]] = session.run(
        None, {first.name: images} | {each.name: np.array(3, np.int64) for each in depth}
    )
    return found


def softmax(logits: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    shares: np.ndarray[Any, Any] = powers / powers.sum(axis=1, keepdims=True)
    return shares


@pytest.mark.parametrize("kind", KINDS)
def test_everything_at_once(kind: str, learngene_file: Path, tmp_path: Path) -> None:
    usual, path = build(learngene_file, tmp_path, kind), build(learngene_file, tmp_path, kind, EVERYTHING)
    assert "-batch2-opset17-uint8-nhwc-softmax-top3." in path.name
    session = session_of(path)
    assert described(session.get_inputs())[0] == ("images", "tensor(uint8)", [2, 32, 32, 3])
    assert described(session.get_outputs()) == [
        ("probabilities", "tensor(float)", [2, 3]),
        ("classes", "tensor(int64)", [2, 3]),
    ]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    expected = softmax(fed(session_of(usual), normalised(pixels.transpose(0, 3, 1, 2), open_onnx(usual).preprocessing))[0])
    probabilities, classes = fed(session, pixels)
    assert np.array_equal(classes, np.argsort(-expected, axis=1)[:, :3])
    assert np.abs(probabilities - np.take_along_axis(expected, classes, axis=1)).max() < 1e-6
    model = onnx.load(path)
    assert (model.opset_import[0].version, model.ir_version) == (17, 8)
    assert not {"Gelu"} & {node.op_type for node in model.graph.node}
    manifest = read_manifest(path.with_name(f"{path.name}.manifest.json"))
    assert manifest.interface == open_onnx(path).interface == EVERYTHING
    assert manifest.verification is not None
    assert manifest.verification.relative_error < 1e-5
    assert check_path(path, learngene_file).passed


@pytest.mark.parametrize("opset", [17, 18, 19, 21, 23])
def test_opsets_compute_the_same(opset: int, tiny_learngene: Any, tmp_path: Path, onnx_logits: Any) -> None:
    # With prefix tokens, for which there is a Pad.
    learngene = tiny_learngene(arguments=VARIANTS["dinov2"])
    file, images = tmp_path / "it.safetensors", noise(learngene)
    learngene.save(file)
    for kind in KINDS:
        depth = 3 if kind == "onnx-elastic" else None
        path = build(file, tmp_path, kind, Interface(opset=opset))
        assert onnx.load(path).opset_import[0].version == opset
        expected = onnx_logits(build(file, tmp_path, kind), images, depth)
        for optimise in (True, False):
            assert relative_error(onnx_logits(path, images, depth, optimise=optimise), expected) < 2e-6


def test_onnx_runtime_finds_gelu_again_where_the_opset_lacks_it(learngene_file: Path, tmp_path: Path) -> None:
    nodes = optimised_nodes(build(learngene_file, tmp_path, interface=Interface(opset=17)), tmp_path)
    found = [node.op_type for node in nodes]
    assert found.count("Gelu") + found.count("BiasGelu") == 3
    assert "Erf" not in found


def test_the_usual_file_stays_as_it_is(learngene_file: Path, tmp_path: Path) -> None:
    model = onnx.load(build(learngene_file, tmp_path, interface=Interface(opset=OPSET)))
    assert "interface" not in {each.key for each in model.metadata_props}
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert without_interface(model) is model


@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_normalised_to_the_bit(kind: str, learngene_file: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3, 3, 32, 32)).astype(np.uint8)
    usual = build(learngene_file, tmp_path, kind)
    images = normalised(pixels, open_onnx(usual).preprocessing)
    assert np.array_equal(pixels_of(images, open_onnx(usual).preprocessing), pixels)
    found = fed(session_of(build(learngene_file, tmp_path, kind, Interface(input="uint8"))), pixels)
    assert np.array_equal(found[0], fed(session_of(usual), images)[0])


def test_pixels_are_normalised_as_for_evaluation(learngene_file: Path, tmp_path: Path) -> None:
    import torch

    from tleg.data.transforms import Normaliser

    preprocessing = open_onnx(build(learngene_file, tmp_path)).preprocessing
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16).repeat(3, axis=1)
    theirs = Normaliser(preprocessing)(torch.from_numpy(pixels).float().div(255)).numpy()
    assert np.array_equal(normalised(pixels, preprocessing), theirs)


def test_a_float16_file_gives_float32_probabilities_and_is_run_in_float16(learngene_file: Path, tmp_path: Path) -> None:
    for kind in KINDS:
        asked = Interface(opset=17, input="uint8", softmax=True, top=2, batch=2)
        path = build(learngene_file, tmp_path, kind, asked, precision="float16")
        assert described(session_of(path).get_outputs())[0] == ("probabilities", "tensor(float)", [2, 2])
        report = check_path(path, learngene_file)
        assert report.passed
        assert report.verification is not None
        assert {each.arithmetic for each in report.verification.comparisons} == {"float16", "float32"}
        assert report.verification.range is not None
        assert "onnx" in report.verification.runtime.partition("in float16 arithmetic")[2]


def test_names_that_the_graph_uses_inside_may_be_asked_for(learngene_file: Path, tmp_path: Path, onnx_logits: Any) -> None:
    images = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    for kind in KINDS:
        depth = {} if kind != "onnx-elastic" else {"depth": np.array(3, np.int64)}
        expected = onnx_logits(build(learngene_file, tmp_path, kind), images, 3 if depth else None)
        for names in (("head.bias", "norm"), ("logits", "images"), ("patches", "patch_embed")):
            path = build(learngene_file, tmp_path, kind, Interface(input_name=names[0], output_names=names[1:]))
            (logits,) = session_of(path).run([names[1]], {names[0]: images, **depth})
            assert relative_error(logits, expected) < 1e-6
            assert check_path(path, learngene_file).passed


def test_features_take_names_and_pixels(learngene_file: Path, tmp_path: Path) -> None:
    asked = Interface(input="uint8", batch=1, output_names=("early", "late"))
    path = build(learngene_file, tmp_path, interface=asked, output_of=parse_output("blocks:1,3"))
    assert described(session_of(path).get_outputs()) == [
        ("early", "tensor(float)", [1, 48, 4, 4]),
        ("late", "tensor(float)", [1, 48, 4, 4]),
    ]
    assert check_path(path, learngene_file).passed


def test_a_fixed_batch_takes_any_number_of_images_here(learngene_file: Path, tmp_path: Path) -> None:
    export, usual = open_onnx(build(learngene_file, tmp_path, interface=Interface(batch=4))), build(learngene_file, tmp_path)
    for count in (1, 4, 7):
        images = np.random.default_rng(count).standard_normal((count, 3, 32, 32)).astype(np.float32)
        assert relative_error(export.run(images), open_onnx(usual).run(images)) < 1e-6


def test_it_is_evaluated_predicted_and_measured(run_cli: Any, tmp_path: Path, learngene_file: Path) -> None:
    from PIL import Image

    values = np.random.default_rng(3).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "it.png")
    for index, name in enumerate(("shirt", "shoe", "bag")):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(values[index * 5 :]).save(tmp_path / "data" / name / "it.png")
    usual, path = build(learngene_file, tmp_path), build(learngene_file, tmp_path, interface=EVERYTHING)
    # All classes are known from the logits inside of the file, though it gives the best three.
    (theirs,), (mine,) = (predict(each, tmp_path / "it.png", top=7) for each in (usual, path))
    assert [each.name for each in mine.classes] == [each.name for each in theirs.classes]
    assert np.allclose([each.probability for each in mine.classes], [each.probability for each in theirs.classes], atol=1e-6)
    lines = [run_cli("evaluate", each, "--data", tmp_path / "data").stdout for each in (usual, path)]
    assert lines[0] == lines[1]
    assert lines[0].split()[-1] == "3"
    with pytest.raises(InputError, match="takes 2 images at once: --batch 2"):
        measure_latency(path, Benchmark(seconds=0.1))
    profile = measure_latency(path, Benchmark(seconds=0.1, batch=2))
    assert profile.points[0].median > 0


def test_what_does_not_follow_from_the_logits_is_noticed(learngene_file: Path, tmp_path: Path) -> None:
    logits = np.array([[1.0, 3.0, 2.0], [0.0, -1.0, 5.0]], np.float32)
    right = softmax(logits)

    def found(interface: Interface, *given: Any) -> float:
        return deviation(logits, given, interface)

    assert found(Interface(softmax=True), right.astype(np.float32)) < 1e-7
    assert found(Interface(top=2), np.array([[3, 2], [5, 0]]), np.array([[1, 2], [2, 0]])) == 0
    for interface, *given in (
        (Interface(softmax=True), right[:, ::-1]),
        (Interface(softmax=True), right[:1]),
        (Interface(softmax=True), logits),
        (Interface(top=2), np.array([[3, 2], [5, 0]]), np.array([[1, 2], [2, 1]])),
        (Interface(top=2), np.array([[3, 2], [5, -1]]), np.array([[1, 2], [2, 0]])),
        (Interface(top=2), np.array([[2, 3], [5, 0]]), np.array([[2, 1], [2, 0]])),
        (Interface(top=2), np.array([[3, 3], [5, 0]]), np.array([[1, 1], [2, 0]])),
        (Interface(top=2), np.array([[3, 2], [5, 0]]), np.array([[1, 9], [2, 0]])),
    ):
        assert found(interface, *given) > 0.1
    # A file whose softmax runs over something else.
    path = build(learngene_file, tmp_path, interface=Interface(softmax=True))
    model = onnx.load(path)
    node = model.graph.node[-1]
    assert node.op_type == "Softmax"
    node.attribute[0].i = 0
    onnx.save(model, path)
    with pytest.raises(VerificationError, match="gives does not follow from its logits"):
        open_onnx(path).run(np.zeros((2, 3, 32, 32), np.float32))


@pytest.mark.parametrize(
    ("kind", "interface", "options", "field", "says"),
    [
        ("pytorch", Interface(batch=1), {}, "batch", "--batch is for a graph of ONNX or OpenVINO"),
        ("pytorch", Interface(layout="nhwc"), {}, "input-layout", "--input-layout is for a graph of ONNX or OpenVINO"),
        ("onnx", Interface(batch=0), {}, "batch", "batches of 1 to 4,096 images, or for any: dynamic, not 0"),
        ("onnx", Interface(opset=16), {}, "opset", "from opset 17 on, the first with LayerNormalization, not 16"),
        ("onnx", Interface(opset=99), {}, "opset", "--opset 99: the newest that this onnx knows is "),
        ("onnx", Interface(top=8), {}, "top", "--top 8: the model has 7 classes"),
        ("onnx", Interface(softmax=True), {"output_of": Output("pooled")}, "softmax", "--output-of pooled gives none"),
        ("onnx", Interface(output_names=("a", "b")), {}, "output-name", "was given 2 times, and the export has 1 output"),
        ("onnx", Interface(top=2, output_names=("a",)), {}, "output-name", "was given 1 times, and the export has 2 output"),
        ("onnx", Interface(input_name="a b"), {}, "input-name", "'a b' cannot be the name of an input or output"),
        ("onnx", Interface(input_name="interface.x"), {}, "input-name", "and not with 'interface.'"),
        ("onnx", Interface(input_name="logits"), {}, "input-name", "'logits' is the name of another input or output"),
        ("onnx-elastic", Interface(output_names=("depth",)), {}, "input-name", "'depth' is the name of another"),
        ("onnx", Interface(top=2, output_names=("a", "a")), {}, "output-name", "need names of their own"),
    ],
)
def test_what_no_graph_can_have_is_refused_before_anything_is_written(
    learngene_file: Path,
    tmp_path: Path,
    kind: str,
    interface: Interface,
    options: Mapping[str, Any],
    field: str,
    says: str,
) -> None:
    with pytest.raises(InputError, match=says) as caught:
        build(learngene_file, tmp_path / "out", kind, interface, **options)
    assert caught.value.field == field
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_words_that_are_not_known_are_refused(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    for words, says in (
        (("--input", "int8"), "unknown input 'int8': choose float or uint8"),
        (("--input-layout", "hwc"), "unknown input-layout 'hwc': choose nchw or nhwc"),
        (("--batch", "many"), "batch: a file is made for batches of 1 to 4,096 images"),
        (("--opset", "3"), "opset: files are written from opset 17 on"),
    ):
        done = run_cli("build", learngene_file, "--depth", 2, "--export", "onnx", "--output", tmp_path / "out", *words)
        assert done.code == 2
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert parse_batch("dynamic") is None
    assert parse_batch("16") == 16


def test_the_command_line_asks_for_what_it_says(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    words = "--batch 2 --opset 17 --input uint8 --input-layout nhwc --softmax --top 3 --input-name x --output-name p"
    done = run_cli(
        *("build", learngene_file, "--depth", 2, "--export", "onnx", "--output", tmp_path),
        *(*words.split(), "--output-name", "c"),
    )
    assert done.code == 0
    (path,) = tmp_path.glob("*.onnx")
    session = session_of(path)
    assert [each.name for each in (*session.get_inputs(), *session.get_outputs())] == ["x", "p", "c"]


def test_a_file_that_states_what_no_file_has_is_refused() -> None:
    check_recorded(EVERYTHING, "metadata")
    with pytest.raises(FileFormatError, match="metadata states an interface that this tleg does not know"):
        check_recorded(Interface(batch=-1), "metadata")


def test_a_folder_of_a_plain_vit(learngene_file: Path, tmp_path: Path) -> None:
    (made,) = build_exports(BuildRequest(learngene_file, ("pytorch",), (3,), tmp_path / "made", verify=False))
    path = build(made.path, tmp_path, interface=EVERYTHING)
    assert check_path(path, made.path).passed
    assert onnx.load(path).opset_import[0].version == 17
    with pytest.raises(InputError, match="--top 8: the model has 7 classes"):
        build(made.path, tmp_path / "out", interface=Interface(top=8))
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A learngene whose graphs PyTorch makes."""
    learngene: Learngene = learngene_of("beit_base_patch16_224", {})
    path = tmp_path_factory.mktemp("traced") / "it.safetensors"
    learngene.save(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "asked", "precision"),
    [
        ("onnx", Interface(batch=1, opset=18, input="uint8", layout="nhwc", softmax=True, top=2), "float32"),
        ("onnx-compact", Interface(batch=3, input="uint8", softmax=True, input_name="x", output_names=("p",)), "float32"),
        ("onnx", Interface(opset=21, layout="nhwc", top=1), "float16"),
    ],
)
def test_traced_files(traced: Path, tmp_path: Path, kind: str, asked: Interface, precision: str) -> None:
    path = build(traced, tmp_path, kind, asked, precision=precision)
    model = onnx.load(path)
    assert next(each.version for each in model.opset_import if each.domain == "") == asked.opset
    assert check_path(path, traced).passed
    if asked.batch is not None:
        # No shape is left to be computed when it runs.
        assert "Shape" not in {node.op_type for node in model.graph.node}


def test_opsets_that_pytorch_does_not_write_are_refused(traced: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--opset 17: PyTorch traces this architecture, from opset 18 on"):
        build(traced, tmp_path / "out", interface=Interface(opset=17))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_opset_that_pytorch_leaves_as_it_is_is_refused(traced: Path, tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    if newest > 25:
        with pytest.raises(ExportError, match=f"where {newest} was asked for; choose another --opset"):
            build(traced, tmp_path, interface=Interface(opset=newest))
