"""ONNX files that resize and crop pictures of any size: their pixels are evaluation's, and so is what they say."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.export.test_example import CLASSES, check, expected, printed, run, take_picture
from tests.export.test_interface import build, session_of, softmax
from tleg import api
from tleg.errors import InputError, VerificationError
from tleg.export.backend import OpenExport
from tleg.export.build import build_exports
from tleg.export.example import PICTURE
from tleg.export.interface import Interface
from tleg.export.manifest import read_manifest
from tleg.export.onnx.added import AddedNodes
from tleg.export.onnx.resize import add_resize
from tleg.export.onnx.runtime import open_onnx
from tleg.export.pictures import SIZES, as_evaluated, compare_pictures, draw_pictures
from tleg.export.pixels import normalised
from tleg.export.plan import BuildRequest
from tleg.export.verify import check_path
from tleg.learngene.header import Preprocessing
from tleg.models.learngene import Learngene

INSIDE = Interface(input="uint8", resize="inside")
EVERYTHING = Interface(batch=2, opset=17, input="uint8", resize="inside", layout="nhwc", softmax=True, top=3)
HALF = (0.5, 0.5, 0.5)


@cache
def resizing(preprocessing: Preprocessing, size: int) -> Any:
    """A session of the resizing alone."""
    import onnxruntime

    nodes = AddedNodes({})
    made = add_resize(nodes, "pictures", preprocessing, size)
    graph = helper.make_graph(
        nodes.nodes,
        "resize",
        [helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["batch", "channels", "height", "width"])],
        [helper.make_tensor_value_info(made, TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(values), name) for name, values in nodes.values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


@settings(max_examples=40, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    size=st.sampled_from([16, 32, 33, 224]),
    interpolation=st.sampled_from(["bicubic", "bilinear"]),
    crop=st.sampled_from([0.5, 0.875, 0.9, 0.95, 1.0]),
    seed=st.integers(0, 99),
    noise=st.booleans(),
)
def test_pixels_are_those_of_evaluation(
    sides: tuple[int, int], size: int, interpolation: Any, crop: float, seed: int, noise: bool
) -> None:
    preprocessing = Preprocessing(HALF, HALF, interpolation=interpolation, crop_pct=crop)
    pictures = draw_pictures(sides, 3, 1, seed)
    if noise:
        pictures = np.random.default_rng(seed).integers(0, 256, pictures.shape).astype(np.uint8)
    (found,) = resizing(preprocessing, size).run(None, {"pictures": pictures.transpose(0, 3, 1, 2)})
    apart = np.abs(found - as_evaluated(pictures, (3, size, size), preprocessing))
    if sides[0] > 2 * sides[1]:
        # Pillow 13 begins with the rows of such; what is clipped between the passes of noise differs.
        assert apart.mean() < 1
        assert noise or apart.max() <= 3
    else:
        assert not apart.any()


def test_what_onnx_calls_resize_is_farther_off() -> None:
    # Were ONNX Runtime's own as near, a graph would do with one node.
    import onnxruntime

    pictures = np.random.default_rng(0).integers(0, 256, (1, 40, 50, 3)).astype(np.uint8)
    node = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="cubic", antialias=1, cubic_coeff_a=-0.5)
    inputs = [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 3, 40, 50])]
    sizes = numpy_helper.from_array(np.array([1, 3, 256, 320], np.int64), "sizes")
    graph = helper.make_graph(
        [node], "resize", inputs, [helper.make_tensor_value_info("y", TensorProto.UINT8, None)], [sizes]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": pictures.transpose(0, 3, 1, 2)})
    theirs = np.asarray(Image.fromarray(pictures[0]).resize((320, 256), Image.Resampling.BICUBIC))
    apart = np.abs(found[0].transpose(1, 2, 0).astype(int) - theirs)
    assert apart.max() > 4
    assert (apart > 0).mean() > 0.01


@pytest.mark.parametrize("kind", ["onnx", "onnx-compact", "onnx-elastic"])
def test_everything_at_once(kind: str, learngene_file: Path, tmp_path: Path) -> None:
    usual, path = build(learngene_file, tmp_path, kind), build(learngene_file, tmp_path, kind, EVERYTHING)
    assert "-batch2-opset17-uint8-resize-nhwc-softmax-top3." in path.name
    session, export = session_of(path), open_onnx(path)
    first, *depths = session.get_inputs()
    assert (first.type, first.shape) == ("tensor(uint8)", [2, "height", "width", 3])
    for sides in ((61, 43), (20, 200), (32, 32)):
        pictures = draw_pictures(sides, 3, 2, seed=1)
        feed = {first.name: pictures} | {each.name: np.array(3, np.int64) for each in depths}
        probabilities, classes = session.run(None, feed)
        images = normalised(as_evaluated(pictures, (3, 32, 32), export.preprocessing), export.preprocessing)
        wanted = softmax(open_onnx(usual).run(images, 3 if depths else None))
        assert np.array_equal(classes, np.argsort(-wanted, axis=1)[:, :3])
        assert np.abs(probabilities - np.take_along_axis(wanted, classes, axis=1)).max() < 1e-6
        # What evaluates and predicts takes images that are resized already.
        assert np.abs(softmax(export.run(images, 3 if depths else None)) - wanted).max() < 1e-6
    assert open_onnx(path).interface == EVERYTHING
    manifest = read_manifest(path.with_name(f"{path.name}.manifest.json"))
    assert manifest.interface == EVERYTHING
    assert manifest.verification is not None
    pictures_found = manifest.verification.pictures
    assert pictures_found is not None
    assert (pictures_found.max_pixel_error, pictures_found.differing) == (0, 0.0)
    assert pictures_found.argmax_agreement == 1.0
    assert pictures_found.sizes == SIZES
    assert "resizes pictures of 6 sizes as evaluation does, to the bit" in str(manifest.verification)
    assert check_path(path, learngene_file).passed


def test_a_float16_file_and_features(learngene_file: Path, tmp_path: Path) -> None:
    from tleg.models.output import parse_output

    for options in ({"precision": "float16"}, {"output_of": parse_output("blocks:1,3")}):
        path = build(learngene_file, tmp_path, interface=INSIDE, **options)
        assert check_path(path, learngene_file).passed


def test_one_channel(tiny_learngene: Any, tmp_path: Path) -> None:
    learngene = tiny_learngene(arguments={"in_chans": 1})
    header = replace(learngene.header, preprocessing=Preprocessing((0.3,), (0.2,), interpolation="bilinear"))
    Learngene(header, learngene.tensors).save(tmp_path / "grey.safetensors")
    export = open_onnx(build(tmp_path / "grey.safetensors", tmp_path, interface=INSIDE))
    found = compare_pictures(export, 3, 1e-4)
    assert found is not None
    assert found.max_pixel_error == 0


def test_the_command_line_and_what_reads_its_file(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    for index, name in enumerate(("shirt", "shoe", "bag")):
        (tmp_path / "data" / name).mkdir(parents=True)
        Image.fromarray(draw_pictures((40 + index, 50), 3, 1, index)[0]).save(tmp_path / "data" / name / "it.png")
    words = ("build", learngene_file, "--depth", 3, "--export", "onnx", "--output", tmp_path)
    done = run_cli(*words, "--input", "uint8", "--resize", "inside")
    assert done.code == 0
    assert "resizes pictures of 6 sizes as evaluation does" in done.stdout
    assert "image.resize" not in done.stdout
    path, usual = tmp_path / "tiny-depth3-uint8-resize.onnx", build(learngene_file, tmp_path)
    picture = tmp_path / "data" / "shoe" / "it.png"
    (mine,), (theirs,) = (api.predict(each, picture, top=7) for each in (path, usual))
    assert [each.name for each in mine.classes] == [each.name for each in theirs.classes]
    assert np.allclose([each.probability for each in mine.classes], [each.probability for each in theirs.classes], atol=1e-6)
    lines = [run_cli("evaluate", each, "--data", tmp_path / "data").stdout for each in (usual, path)]
    assert lines[0] == lines[1]
    assert run_cli("benchmark", path, "--seconds", "0.1").code == 0


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("size", [(61, 43), (20, 90)])
def test_the_lines_of_python_give_it_the_picture_as_it_is(
    tiny_learngene: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    layout: Any,
    size: tuple[int, int],
) -> None:
    tiny_learngene(classes=CLASSES).save(tmp_path / "it.safetensors")
    asked = replace(INSIDE, layout=layout)
    (built,) = build_exports(
        BuildRequest(tmp_path / "it.safetensors", ("onnx",), (3,), tmp_path, interface=asked, verify=False)
    )
    take_picture(tmp_path / PICTURE, size, orientation=6)
    assert built.manifest.example is not None
    assert "image.resize" not in built.manifest.example
    assert "image.crop" not in built.manifest.example
    run(built, monkeypatch)
    check(printed(capsys.readouterr().out), expected(built))


def test_a_folder_of_a_plain_vit(learngene_file: Path, tmp_path: Path) -> None:
    (made,) = build_exports(BuildRequest(learngene_file, ("pytorch",), (3,), tmp_path / "made", verify=False))
    path = build(made.path, tmp_path, interface=INSIDE)
    assert check_path(path, made.path).passed


def refused(preprocessing: Mapping[str, Any], arguments: Mapping[str, Any], tiny_learngene: Any, folder: Path) -> str:
    learngene = tiny_learngene(arguments=arguments)
    header = replace(learngene.header, preprocessing=replace(learngene.header.preprocessing, **preprocessing))
    Learngene(header, learngene.tensors).save(folder / "it.safetensors", overwrite=True)
    with pytest.raises(InputError) as caught:
        build(folder / "it.safetensors", folder / "out", interface=INSIDE)
    assert caught.value.field == "resize"
    assert not (folder / "out").exists()
    return str(caught.value)


def test_what_is_not_written_for_a_graph_is_refused(tiny_learngene: Any, tmp_path: Path) -> None:
    for preprocessing, arguments, says in (
        ({"crop_mode": "squash"}, {}, "crops from the centre, and this model is evaluated with 'squash'"),
        ({"interpolation": "lanczos"}, {}, "interpolates bicubic or bilinear, and this model is evaluated with lanczos"),
        ({}, {"img_size": (16, 32)}, "makes squares, and this model takes 16 x 32 pixels"),
    ):
        assert says in refused(preprocessing, arguments, tiny_learngene, tmp_path)


def test_other_options_that_do_not_go_with_it_are_refused(learngene_file: Path, tmp_path: Path) -> None:
    for kind, interface, says in (
        ("onnx", Interface(resize="inside"), "--resize inside is for pictures, .* add --input uint8"),
        ("pytorch", INSIDE, "is for a graph of ONNX or OpenVINO"),
    ):
        with pytest.raises(InputError, match=says):
            build(learngene_file, tmp_path / "out", kind, interface)
    assert not (tmp_path / "out").exists()


def test_a_file_that_resizes_otherwise_fails(learngene_file: Path, tmp_path: Path) -> None:
    path = build(learngene_file, tmp_path, interface=INSIDE)
    model = onnx.load(path)
    for each in model.graph.initializer:
        if each.name == "interface.constant.whole.36":  # The shorter side, 32 / 0.875.
            each.CopyFrom(numpy_helper.from_array(np.array(40, np.int64), each.name))
    onnx.save(model, path)
    export: OpenExport = open_onnx(path)
    with pytest.raises(VerificationError, match="resizes pictures otherwise than evaluation"):
        compare_pictures(export, 3, 1e-4)
    assert not check_path(path, learngene_file).passed


def test_openvino_says_what_it_makes_of_such_a_file(learngene_file: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    report = check_path(build(learngene_file, tmp_path, interface=INSIDE), learngene_file, ["openvino"])
    (found,) = report.targets
    assert "relative error" in found.detail or "differs" in found.detail
