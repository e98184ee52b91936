"""What a name means: the same for every command and for the workbench."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tleg.errors import FileFormatError, InputError, NotFoundError
from tleg.references import expect, find, resolve, shipped
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.state import RunState, write_state


@pytest.fixture
def runs_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of runs, empty; the working folder is another one."""
    place = tmp_path / "runs"
    monkeypatch.setenv("TLEG_RUNS", str(place))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return place


def finished(run: RunFolder, name: str) -> Path:
    """Let a run be finished with a result of a name."""
    result = run.exports / name
    result.parent.mkdir(exist_ok=True)
    if Path(name).suffix:
        shutil.copy(shipped()["fashion-mnist"], result)
    else:
        result.mkdir()
        (result / "config.json").write_text("{}")
    write_state(run, RunState(state="finished", result=str(result)))
    return result


def test_every_kind(runs_dir: Path) -> None:
    shutil.copy(shipped()["fashion-mnist"], "gene.safetensors")
    save_file({"w": torch.zeros(1)}, "foreign.safetensors")
    Path("model").mkdir()
    for name in ("model/config.json", "export.onnx", "export.pt2", "weights.pth", "best.pth.tar", "odd name é.ckpt"):
        Path(name).write_text("{}")
    run = create_run(runs_dir, kind="learn", recipe={})
    kinds = {
        "gene.safetensors": "learngene",
        "./gene.safetensors": "learngene",
        "fashion-mnist": "learngene",
        "foreign.safetensors": "checkpoint",
        "weights.pth": "checkpoint",
        "best.pth.tar": "checkpoint",
        "odd name é.ckpt": "checkpoint",
        "export.onnx": "export",
        "export.pt2": "export",
        "model": "folder",
        "local-dir:model": "folder",
        "resnet18:weights.pth": "weights",
        "vit_tiny_patch16_224.augreg_in21k:odd name é.ckpt": "weights",
        run.id: "run",
        run.id[:10]: "run",
        "last": "run",
        str(run.path): "run",
    }
    assert {text: resolve(text).kind for text in kinds} == kinds
    weights = resolve("vit_tiny_patch16_224.augreg_in21k:odd name é.ckpt")
    assert (weights.name, weights.path) == ("vit_tiny_patch16_224.augreg_in21k", Path("odd name é.ckpt"))
    assert resolve("resnet18", download=True).kind == "timm"
    with pytest.raises(NotFoundError):
        resolve("resnet18")


def test_a_finished_run_is_its_result(runs_dir: Path) -> None:
    learning = create_run(runs_dir, kind="learn", recipe={})
    tuning = create_run(runs_dir, kind="finetune", recipe={})
    gene, model = finished(learning, "learngene.safetensors"), finished(tuning, "model")
    assert (find(learning.id, "learngene"), find(str(learning.path), "learngene")) == (gene, gene)
    assert find(tuning.id, "folder", "weights") == model
    with pytest.raises(InputError, match=f"the run {learning.id} learns a learngene; give its depth"):
        find(learning.id, "folder", "weights")
    with pytest.raises(InputError, match=f"the run {tuning.id} trains one model, not a learngene"):
        find(tuning.id, "learngene")
    shutil.rmtree(gene.parent)
    with pytest.raises(InputError, match="has no result yet"):
        find(learning.id, "learngene")


@pytest.mark.parametrize("command", ["learngene", "folder", "weights"])
def test_the_beginning_of_several_runs_says_so_everywhere(runs_dir: Path, command: str) -> None:
    first, second = (create_run(runs_dir, kind="learn", recipe={}) for _ in range(2))
    with pytest.raises(InputError, match=r"could be .*; type more of the id") as refused:
        find(first.id[:6], command)  # type: ignore[arg-type]
    assert first.id in str(refused.value)
    assert second.id in str(refused.value)
    assert not isinstance(refused.value, NotFoundError)


def test_a_name_of_two_things_is_refused_with_how_to_write_either(runs_dir: Path) -> None:
    run = create_run(runs_dir, kind="learn", recipe={})
    shutil.copy(shipped()["fashion-mnist"], run.id)
    with pytest.raises(InputError, match=rf"'{run.id}' is a file here and a run in .*; write \./{run.id} for the one, and"):
        resolve(run.id)
    assert resolve(f"./{run.id}").kind == "learngene"
    assert resolve(str(run.path)).run == run
    Path("last").mkdir()
    with pytest.raises(InputError, match=r"'last' is a folder here and the newest run, .*; write \./last for the one"):
        resolve("last")


def test_a_timm_name_wins_over_the_beginning_of_a_run_and_an_id_over_a_timm_name(runs_dir: Path) -> None:
    run = RunFolder(create_run(runs_dir, kind="finetune", recipe={}).path.rename(runs_dir / "resnet18-mine"))
    assert resolve("resnet18", download=True, is_timm_name=lambda name: True).kind == "timm"
    assert resolve("resnet18", download=True, is_timm_name=lambda name: False).run == run
    assert resolve("resnet18-mine", download=True, is_timm_name=lambda name: True).run == run


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "name a learngene, a model or a run"),
        ("fashion-mnst", "Did you mean 'fashion-mnist'"),
        ("no/where", "there is no file no/where"),
        ("hf-hub:timm/resnet18.a1_in1k", "`hf download timm/resnet18.a1_in1k --local-dir FOLDER` fetches it"),
        ("gene.safetensor", "there is no file gene.safetensor. Did you mean 'gene.safetensors'"),
        ("x" * 300, "File name too long"),
        ("a\0b", "there is no file"),
        ("~nobody-of-this-name/x", "there is no such user"),
    ],
)
def test_nothing(runs_dir: Path, text: str, message: str) -> None:
    shutil.copy(shipped()["fashion-mnist"], "gene.safetensors")
    with pytest.raises(InputError, match=message):
        resolve(text)


def test_a_bare_file_of_weights_says_how_to_write_it(runs_dir: Path) -> None:
    Path("w.pth").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"write TIMM_NAME:w\.pth, such as resnet18:w\.pth"):
        expect(resolve("w.pth"), "folder", "weights")
    with pytest.raises(FileFormatError, match="not a learngene; `tleg import` makes one"):
        expect(resolve("w.pth"), "learngene")
