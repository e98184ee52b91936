"""`tleg build --jsonl`: what happens, line by line, for whoever shows a build while it goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from tleg.errors import ExportError
from tleg.export.backend import Source
from tleg.export.onnx.backend import PlainBackend
from tleg.files import hash_file
from tleg.learngene.basis import Basis
from tleg.learngene.header import Auxiliary, LearngeneHeader, Preprocessing
from tleg.models.architecture import describe
from tleg.models.auxiliary import AuxiliaryModel
from tleg.models.flops import measure
from tleg.models.learngene import Learngene

STAGES = [("loading", 0), ("writing", 0), ("done", 0), ("writing", 1), ("done", 1)]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_each_stage_is_a_line_and_what_is_done_has_its_figures(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run_cli(
        *("build", str(learngene_file), "--depth", "1", "--depth", "2", "--export", "onnx", "--output", str(output)),
        *("--no-verify", "--jsonl"),
    )
    assert (done.code, done.stderr) == (0, "")
    told = lines(done.stdout)
    assert [(each["stage"], each["index"]) for each in told] == STAGES
    assert {each["count"] for each in told} == {2}
    assert (told[0]["kind"], told[0]["depth"], told[0]["path"]) == (None, None, None)
    assert [(each["kind"], each["depth"]) for each in told[1::2]] == [("onnx", 1), ("onnx", 2)]
    for each in told:
        assert ("built" in each) == (each["stage"] == "done")
    for each in told[2::2]:
        built = each["built"]
        assert built["path"] == each["path"]
        assert built["sha256"] == hash_file(Path(built["path"]))
        assert built["bytes"] == Path(built["path"]).stat().st_size
        assert built["verification"] is None


def test_an_export_that_is_done_is_told_before_a_later_one_fails(
    run_cli: Any, learngene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = PlainBackend.write

    def fail_at_two(self: PlainBackend, path: Path, source: Source, depth: int | None) -> None:
        if depth == 2:
            raise ExportError("No space left on device")
        write(self, path, source, depth)

    monkeypatch.setattr(PlainBackend, "write", fail_at_two)
    words = ("build", str(learngene_file), "--depth", "1", "--depth", "2", "--export", "onnx", "--no-verify", "--jsonl")
    done = run_cli(*words, "--output", str(tmp_path / "out"))
    assert done.code == 1
    assert "No space left on device" in done.stderr
    told = lines(done.stdout)
    assert [(each["stage"], each["index"]) for each in told] == STAGES[:4]
    assert Path(told[2]["built"]["path"]).exists()


def test_a_refusal_has_no_lines(run_cli: Any, learngene_file: Path, tmp_path: Path) -> None:
    done = run_cli("build", str(learngene_file), "--export", "onnx", "--output", str(tmp_path), "--jsonl")
    assert (done.code, done.stdout) == (2, "")
    assert "no depth was given" in done.stderr


def test_a_folder_that_timm_alone_does_not_load_says_so(run_cli: Any, tmp_path: Path) -> None:
    architecture = describe("mixer_s16_224", {"img_size": 16, "patch_size": 8, "embed_dim": 16}, 3)
    size = Preprocessing((0.5,) * 3, (0.5,) * 3)
    header = LearngeneHeader(architecture, Basis(), Auxiliary(3), size, measure(architecture))
    Learngene(header, AuxiliaryModel(architecture, Basis()).tensors()).save(tmp_path / "it.safetensors")
    words = ("build", str(tmp_path / "it.safetensors"), "--depth", "2", "--output", str(tmp_path / "out"), "--force")
    note = "tleg opens it and timm alone does not, because timm's function 'mixer_s16_224' fixes num_blocks"
    assert run_cli(*words).stdout.splitlines()[-1] == f"  {note}"
    assert json.loads(run_cli(*words, "--json").stdout)["exports"][0]["note"] == note
    assert "note" not in json.loads(run_cli(*words, "--export", "onnx", "--json").stdout)["exports"][0]


def test_a_depth_that_was_not_trained_says_so(run_cli: Any, tmp_path: Path) -> None:
    words = ("build", "fashion-mnist", "--export", "onnx", "--no-verify", "--json", "--output", str(tmp_path))
    shallow, trained = json.loads(run_cli(*words, "--depth", "2", "--depth", "3").stdout)["exports"]
    assert shallow["note"] == "not trained below depth 3: fine-tune it first"
    assert "note" not in trained
