"""What the dialog asks for, as words and names of files."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.tui.export.test_export_screen import NAME
from tleg.errors import InputError
from tleg.export.build import build_exports
from tleg.export.formats import FLOATING, FORMATS, parse_layout, parse_precision
from tleg.export.plan import BuildRequest, plan_build, plan_folder
from tleg_tui.export.model import Answers, open_source, read_answers
from tleg_tui.export.reports import read_report

# What the choices mean, without a screen.


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


def test_every_kind_of_the_engine_is_offered() -> None:
    assert set(open_source(NAME).kinds) == set(FORMATS)


def test_elastic_files_alone_are_for_plain_vits(tiny_learngene: Any, tmp_path: Path) -> None:
    tiny_learngene("beit_base_patch16_224").save(tmp_path / "beit.safetensors")
    assert open_source(str(tmp_path / "beit.safetensors")).kinds == ("onnx", "onnx-compact", "pytorch")


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
    assert (source.folder, source.kinds, source.classes) == (True, ("onnx",), None)
    order = read_answers(source, Answers(("onnx",), "", "float16", output="out"))
    assert "--depth" not in order.words
    request = BuildRequest(str(made), ("onnx",), output=Path("out"), precision="float16")
    assert order.targets == tuple(export.target for export in plan_folder(request, made).exports)


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"stage": 3, "index": 0, "count": 1}', '{"stage": "done"}'])
def test_a_line_that_is_no_report_is_passed_over(line: str) -> None:
    assert read_report(line) is None


def test_a_report_without_verification_has_no_figures_of_it() -> None:
    built = {"path": "a.onnx", "bytes": 7, "verification": None}
    report = read_report(json.dumps({"stage": "done", "index": 1, "count": 2, "built": built}))
    assert report is not None
    assert report.figures is not None
    assert (report.index, report.figures.bytes, report.figures.error) == (1, 7, None)


def test_a_note_of_an_export_is_kept() -> None:
    built = {"path": "a", "bytes": 7, "verification": None, "note": "tleg opens it and timm alone does not"}
    for document, note in ((built, built["note"]), ({**built, "note": 3}, None), ({"path": "a", "bytes": 7}, None)):
        report = read_report(json.dumps({"stage": "done", "index": 0, "count": 1, "built": document}))
        assert report is not None
        assert report.figures is not None
        assert report.figures.note == note
