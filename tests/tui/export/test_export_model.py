"""What the dialog asks for, as words and names of files."""

from pathlib import Path
from typing import Any

import pytest

from tests.tui.export.test_export_screen import NAME
from tleg.errors import InputError
from tleg.export.build import build_exports
from tleg.export.formats import FLOATING, FORMATS, parse_layout, parse_precision
from tleg.export.interface import Interface
from tleg.export.plan import BuildRequest, plan_build, plan_folder
from tleg_tui.export.model import Answers, open_source, read_answers
from tleg_tui.export.offers import GraphAnswers, Offer, PrecisionAnswers

# What the choices mean, without a screen.

NHWC = GraphAnswers(batch="1", opset="17", pixels="uint8", axes="nhwc", softmax=True, top="5")


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize("layout", ["auxiliary", "official"])
@pytest.mark.parametrize("kinds", [("onnx",), ("onnx-elastic",), ("onnx-elastic", "onnx", "pytorch"), ("onnx-compact",)])
def test_files_are_called_what_the_engine_calls_them(kinds: tuple[str, ...], layout: str, dtype: str) -> None:
    source = open_source(NAME)
    order = read_answers(source, Answers(kinds, "8,4-5", dtype, layout, "10", "out"))
    request = BuildRequest(
        NAME,
        kinds,
        () if kinds == ("onnx-elastic",) else (4, 5, 8),
        Path("out"),
        parse_precision(dtype),
        parse_layout(layout),
    )
    assert order.targets == tuple(export.target for export in plan_build(request).exports)


@pytest.mark.parametrize(
    ("kind", "dtype"), [("onnx", "float16"), ("onnx-compact", "int8-terms"), ("onnx-elastic", "float32")]
)
def test_files_with_another_interface_are_called_what_the_engine_calls_them(kind: str, dtype: str) -> None:
    order = read_answers(open_source(NAME), Answers((kind,), "8", dtype, output="out", graph=NHWC))
    interface = Interface(batch=1, opset=17, input="uint8", layout="nhwc", softmax=True, top=5)
    depths = () if kind == "onnx-elastic" else (8,)
    request = BuildRequest(NAME, (kind,), depths, Path("out"), parse_precision(dtype), interface=interface)
    assert order.targets == tuple(export.target for export in plan_build(request).exports)
    usual = ("--batch", "1", "--opset", "17", "--input", "uint8", "--input-layout", "nhwc", "--softmax", "--top", "5")
    assert order.words[-len(usual) :] == usual


def test_files_that_resize_are_called_what_the_engine_calls_them() -> None:
    graph = GraphAnswers(pixels="uint8", resize="inside")
    order = read_answers(open_source(NAME), Answers(("onnx",), "8", "float32", output="out", graph=graph))
    interface = Interface(input="uint8", resize="inside")
    request = BuildRequest(NAME, ("onnx",), (8,), Path("out"), interface=interface)
    assert order.targets == tuple(export.target for export in plan_build(request).exports)
    assert order.words[-4:] == ("--input", "uint8", "--resize", "inside")
    with pytest.raises(InputError, match="add --input uint8"):
        read_answers(
            open_source(NAME), Answers(("onnx",), "8", "float32", output="out", graph=GraphAnswers(resize="inside"))
        )


def test_numbers_are_offered_that_all_chosen_formats_have(tiny_learngene: Any, tmp_path: Path) -> None:
    source = open_source(NAME)
    assert source.numbers(("onnx",)) == ("float32", "float16", "int8", "int8-dynamic")
    assert source.numbers(("onnx-compact", "onnx-elastic")) == ("float32", "float16", "int8-terms", "int4-terms")
    for kinds in (("onnx", "onnx-compact"), ("pytorch",), ()):
        assert source.numbers(kinds) == FLOATING
    tiny_learngene("beit_base_patch16_224").save(tmp_path / "beit.safetensors")
    traced = open_source(str(tmp_path / "beit.safetensors"))
    assert traced.numbers(("onnx-compact",)) == source.numbers(("onnx-compact",))
    assert traced.numbers(("onnx",)) == source.numbers(("onnx",))


@pytest.mark.parametrize(
    ("kinds", "dtype", "gives", "offer"),
    [
        (("onnx",), "float32", "classes", Offer(graph=True)),
        (("onnx", "onnx-elastic"), "float16", "", Offer(measures=True, graph=True)),
        (("onnx",), "int8", "classes", Offer(calibrates=True, measures=True, graph=True)),
        (("onnx",), "int8", "pooled", Offer(calibrates=True, graph=True, classes=False)),
        (("onnx-compact",), "int8-terms", "tokens", Offer(graph=True, classes=False)),
        (("onnx", "pytorch"), "float16", "blocks:", Offer(measures=True)),
        ((), "float32", "classes", Offer()),
    ],
)
def test_nothing_is_asked_that_the_chosen_formats_cannot_have(
    kinds: tuple[str, ...], dtype: str, gives: str, offer: Offer
) -> None:
    assert open_source(NAME).offer(Answers(kinds, dtype=dtype, gives=gives)) == offer


def test_what_decides_on_a_number_type_is_said_where_it_counts() -> None:
    source = open_source(NAME)
    precision = PrecisionAnswers(" pets ", "64", "birds", "100", "0.25")

    def words(kinds: tuple[str, ...], dtype: str, depths: str = "8", gives: str = "") -> tuple[str, ...]:
        return read_answers(source, Answers(kinds, depths, dtype, precision=precision, gives=gives)).words

    gate = ("--data", "birds", "--limit", "100", "--max-drop", "0.25")
    ranges = ("--calibration", "pets", "--calibration-images", "64")
    begin = ("build", NAME, "--depth", "8", "--export", "onnx")
    assert words(("onnx",), "int8") == (*begin, "--dtype", "int8", *ranges, *gate)
    assert words(("onnx",), "int8-dynamic") == (*begin, "--dtype", "int8-dynamic", *gate)
    assert words(("onnx",), "int8", gives="pooled") == (*begin, "--dtype", "int8", *ranges, "--output-of", "pooled")
    assert words(("onnx",), "float32") == begin
    # Of a file that holds every depth, those at which it is measured.
    elastic = ("build", NAME, "--depth", "4", "--depth", "8", "--export", "onnx-elastic", "--dtype", "int8-terms", *gate)
    assert words(("onnx-elastic",), "int8-terms", "8,4") == elastic
    assert words(("onnx-elastic",), "int8-terms", "") == (*elastic[:2], *elastic[6:])
    assert read_answers(source, Answers(("onnx",), "8", "int8", precision=precision)).data == ("pets", "birds")


@pytest.mark.parametrize(
    ("dtype", "precision", "field", "text"),
    [
        ("int8", {}, "calibration", "name images to take ranges from"),
        ("int8", {"calibration": "pets", "calibration_images": "few"}, "calibration-images", "must be a whole number"),
        ("int8", {"calibration": "unlabelled:pets", "limit": "5"}, "limit", "labelled images: add --data DATA"),
        ("int8-dynamic", {"max_drop": "1"}, "max-drop", "--max-drop is about accuracy"),
        ("float16", {"data": "pets", "max_drop": "101"}, "max-drop", "max-drop must be from 0 to 100"),
        ("float16", {"data": "unlabelled:pets"}, "data", "has no labels to measure against"),
    ],
)
def test_what_cannot_decide_is_the_engine_s_sentence(dtype: str, precision: dict[str, str], field: str, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        read_answers(open_source(NAME), Answers(("onnx",), "8", dtype, precision=PrecisionAnswers(**precision)))
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("graph", "field", "text"),
    [
        ({"batch": "many"}, "batch", "for batches of 1 to 4,096 images, or for any: dynamic, not 'many'"),
        ({"opset": "16"}, "opset", "from opset 17 on"),
        ({"opset": "new"}, "opset", "opset must be a whole number, not 'new'"),
        ({"top": "11"}, "top", "--top 11: the model has 10 classes"),
        ({"top": "0"}, "top", "top must be from 1"),
    ],
)
def test_what_no_graph_has_is_the_engine_s_sentence(graph: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(InputError, match=text) as caught:
        read_answers(open_source(NAME), Answers(("onnx",), "8", graph=GraphAnswers(**graph)))
    assert caught.value.field == field


def test_an_old_opset_is_refused_of_what_pytorch_traces(tiny_learngene: Any, tmp_path: Path) -> None:
    tiny_learngene("beit_base_patch16_224").save(tmp_path / "beit.safetensors")
    source = open_source(str(tmp_path / "beit.safetensors"))
    with pytest.raises(InputError, match="PyTorch traces this architecture, from opset 18 on"):
        read_answers(source, Answers(("onnx",), "4", graph=GraphAnswers(opset="17")))


def test_every_kind_of_the_engine_is_offered() -> None:
    assert set(open_source(NAME).kinds) == set(FORMATS)


def test_elastic_files_alone_are_for_plain_vits(tiny_learngene: Any, tmp_path: Path) -> None:
    tiny_learngene("beit_base_patch16_224").save(tmp_path / "beit.safetensors")
    assert open_source(str(tmp_path / "beit.safetensors")).kinds == (
        "onnx",
        "onnx-compact",
        "torch-export",
        "executorch",
        "pytorch",
        "openvino",
        "coreml",
    )


def test_the_words_leave_out_what_is_the_default() -> None:
    source = open_source(NAME)
    assert read_answers(source, Answers(("onnx",), "8", classes="10")).words == (
        *("build", NAME, "--depth", "8", "--export", "onnx"),
    )
    assert (
        read_answers(source, Answers(("onnx",), "8", pixels="28")).words
        == read_answers(source, Answers(("onnx",), "8")).words
    )
    answers = Answers(("onnx", "pytorch"), "4,2", "float16", "official", "3", "else where", True, "42x56")
    order = read_answers(source, answers)
    assert order.words == (
        *("build", NAME, "--depth", "2", "--depth", "4", "--export", "onnx", "--export", "pytorch"),
        *("--output", "else where", "--dtype", "float16", "--layout", "official", "--num-classes", "3"),
        *("--image-size", "42x56", "--force"),
    )
    assert [each.name for each in order.targets] == [
        "fashion-mnist-depth2-official-42x56px-float16.onnx",
        "fashion-mnist-depth4-official-42x56px-float16.onnx",
        "fashion-mnist-depth2-official-42x56px-float16",
        "fashion-mnist-depth4-official-42x56px-float16",
    ]


@pytest.mark.parametrize(
    ("changes", "field", "text"),
    [
        ({"kinds": ()}, "export", "choose a format"),
        ({"depths": "0"}, "depth", "depth 0 is out of range: choose 1 to 1024"),
        ({"depths": "4,2000"}, "depth", "out of range"),
        ({"depths": " "}, "depth", "name a depth"),
        ({"depths": "deep"}, "depth", "cannot read 'deep'"),
        ({"classes": "0"}, "num-classes", "a head has 1 to 10,000,000 classes, not '0'"),
        ({"classes": "1.5"}, "num-classes", "not '1.5'"),
        ({"pixels": "large"}, "image-size", "no size of images"),
        ({"output": "  "}, "output", "name a folder"),
    ],
)
def test_what_is_wrong_is_a_sentence(changes: dict[str, Any], field: str, text: str) -> None:
    with pytest.raises(InputError, match=text.replace("(", r"\(")) as caught:
        read_answers(open_source(NAME), Answers(**{"kinds": ("onnx",), "depths": "8", "classes": "10", **changes}))
    assert caught.value.field == field


def test_a_depth_may_be_a_profile_where_there_are_stages(tmp_path: Path) -> None:
    from tests.models.test_families import EXAMPLES, a_learngene
    from tleg.models.architecture import describe, timm_family_of

    a_learngene(timm_family_of(describe(*EXAMPLES["swin"]))).save(tmp_path / "swin.safetensors")
    source = open_source(str(tmp_path / "swin.safetensors"))
    order = read_answers(source, Answers(("onnx",), "1-2-3-1,2-2-4-2,8", output="out"))
    # 2-2-4-2 says no more than 4.
    assert [word for word in order.words if word[0].isdigit()] == ["8", "1-2-3-1", "4"]
    assert [target.name for target in order.targets] == ["swin-depth8.onnx", "swin-depth1-2-3-1.onnx", "swin-depth4.onnx"]
    with pytest.raises(InputError, match="has 4 stages, as in 2-2-6-2, and 2-2-2 names 3") as caught:
        read_answers(source, Answers(("onnx",), "2-2-2"))
    assert caught.value.field == "depth"
    with pytest.raises(InputError, match="has one stage"):
        read_answers(open_source(NAME), Answers(("onnx",), "2-2-6-2"))


def test_a_folder_has_a_depth_and_a_head_of_its_own(tmp_path: Path) -> None:
    made = build_exports(BuildRequest(NAME, ("pytorch",), (2,), tmp_path / "made", verify=False))[0].path
    source = open_source(str(made))
    assert (source.folder, source.kinds, source.classes) == (
        True,
        ("onnx", "torch-export", "executorch", "openvino", "coreml"),
        None,
    )
    order = read_answers(source, Answers(("onnx",), "", "float16", output="out"))
    assert "--depth" not in order.words
    request = BuildRequest(str(made), ("onnx",), output=Path("out"), precision="float16")
    assert order.targets == tuple(export.target for export in plan_folder(request, made).exports)
