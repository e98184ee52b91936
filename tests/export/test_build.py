"""`tleg build` and `tleg verify`: what they write, what they refuse, and what is left when they fail."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from tests.conftest import CommandResult, clean_environment
from tests.export.conftest import VARIANTS, noise, relative_error
from tleg.errors import DepthError, InputError
from tleg.export.build import BuildStep, build_exports
from tleg.export.manifest import read_manifest
from tleg.export.onnx.runtime import open_onnx
from tleg.export.plan import BuildRequest
from tleg.models.learngene import load
from tleg.runs.launch import create_run
from tleg.runs.run import LEARNGENE
from tleg_tui.export.model import open_source

Cli = Callable[..., CommandResult]
ALL_KINDS = ("--export", "onnx", "--export", "onnx-compact", "--export", "onnx-elastic", "--export", "pytorch")


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file under a folder, hidden ones included, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_kinds_verified_with_manifests(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    done = run_cli("build", learngene_file, "--depth", 4, "--depth", 2, *ALL_KINDS, "--output", tmp_path, "--json")
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    names = [Path(item["path"]).name for item in document["exports"]]
    assert names == [
        "tiny-depth4.onnx",
        "tiny-depth2.onnx",
        "tiny-depth4.compact.onnx",
        "tiny-depth2.compact.onnx",
        "tiny.elastic.onnx",
        "tiny-depth4",
        "tiny-depth2",
    ]
    learngene = load(learngene_file)
    for item in document["exports"]:
        verification = item["verification"]
        assert verification["relative_error"] < 1e-5
        assert verification["argmax_agreement"] == 1
        manifest = read_manifest(Path(item["manifest"]))
        assert manifest.learngene is not None
        assert manifest.learngene.sha256 == learngene.header.sha256
        assert manifest.ancestry == {"model": "deit_tiny_patch16_224", "top1": 91.5}
        assert manifest.file.bytes == item["bytes"]
        assert manifest.descendant is not None
        assert manifest.descendant.depth == item["depth"]
        assert manifest.verification is not None
        batches = {(entry.depth, entry.batch) for entry in manifest.verification.comparisons}
        depths = {1, 2, 4, 12} if item["depth"] is None else {item["depth"]}
        assert batches == {(depth, batch) for depth in depths for batch in (1, 2, 5)}
        assert str(tmp_path) not in Path(item["manifest"]).read_text()
        assert run_cli("verify", item["path"], "--learngene", learngene_file).code == 0
    assert not list(tmp_path.rglob(".*"))


def test_metadata_runs_the_model_without_tleg(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    assert run_cli("build", learngene_file, "--depth", 2, "--export", "onnx", "--output", tmp_path, "--no-verify").code == 0
    model = onnx.load(tmp_path / "tiny-depth2.onnx")
    texts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(texts["classes"])[0] == "shirt"
    assert json.loads(texts["preprocessing"])["input_size"] == [3, 32, 32]
    assert json.loads(texts["preprocessing"])["mean"] == [0.485, 0.456, 0.406]
    assert (texts["depth"], texts["layout"], texts["dtype"], texts["opset"]) == ("2", "auxiliary", "float32", "20")
    assert json.loads(texts["learngene"])["learned"]["ancestry"]["model"] == "deit_tiny_patch16_224"


def test_opened_exports_run(learngene_file: Path, tmp_path: Path, torch_logits: Any) -> None:
    learngene = load(learngene_file)
    request = BuildRequest(learngene_file, ("onnx", "onnx-elastic"), (3,), tmp_path, verify=False)
    fixed, elastic = (open_onnx(item.path) for item in build_exports(request))
    images = noise(learngene)
    expected = torch_logits(learngene, 3, images)
    assert relative_error(fixed.run(images), expected) < 1e-5
    assert relative_error(elastic.run(images, 3), expected) < 1e-5
    assert (fixed.depth, fixed.format.every_depth, elastic.depth, elastic.format.every_depth) == (3, False, None, True)
    assert fixed.classes == learngene.header.classes
    assert (fixed.input_size, fixed.num_classes) == ((3, 32, 32), 7)
    assert fixed.preprocessing == learngene.header.preprocessing
    for depth in (0, -1, 1025, None):
        with pytest.raises(DepthError, match="depth"):
            elastic.run(images, depth)


def test_elastic_alone_needs_no_depth(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    done = run_cli("build", learngene_file, "--export", "onnx-elastic", "--output", tmp_path, "--no-verify")
    assert done.code == 0
    assert done.stdout.startswith(str(tmp_path / "tiny.elastic.onnx"))
    assert done.stderr == ""


def test_new_head_is_the_same_everywhere_and_drops_class_names(
    learngene_file: Path, tmp_path: Path, torch_logits: Any
) -> None:
    request = BuildRequest(
        learngene_file, ("onnx", "onnx-compact", "onnx-elastic", "pytorch"), (2,), tmp_path, num_classes=11, seed=5
    )
    for item in build_exports(request):
        assert item.manifest.descendant is not None
        assert item.manifest.descendant.head == "new"
        assert item.manifest.descendant.head_seed == 5
        assert item.manifest.verification is not None
        assert item.manifest.verification.relative_error < 1e-5
    assert open_onnx(tmp_path / "tiny-depth2.onnx").classes == ()
    learngene = load(learngene_file)
    images = noise(learngene)
    expected = torch_logits(learngene, 2, images, num_classes=11, seed=5)
    assert relative_error(open_onnx(tmp_path / "tiny-depth2.onnx").run(images), expected) < 1e-5


def test_variants_are_named(learngene_file: Path, tmp_path: Path) -> None:
    request = BuildRequest(learngene_file, ("onnx", "pytorch"), (2,), tmp_path, precision="float16", layout="official")
    items = build_exports(request)
    assert [item.path.name for item in items] == ["tiny-depth2-official-float16.onnx", "tiny-depth2-official-float16"]
    assert all(item.manifest.verification and 0 < item.manifest.verification.relative_error < 1e-2 for item in items)


def test_the_results_of_two_runs_have_exports_of_their_own(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    runs = [create_run(tmp_path / "runs", kind="learn", recipe={}, name="vit_tiny") for _ in range(2)]
    for run in runs:
        shutil.copy(learngene_file, run.exports / LEARNGENE)
        words = ("--depth", 2, "--export", "onnx", "--output", tmp_path / "exports", "--no-verify", "--json")
        done = run_cli("build", run.exports / LEARNGENE, *words)
        assert done.code == 0, done.stderr
        assert json.loads(done.stdout)["learngene"] == run.id
        assert open_source(str(run.exports / LEARNGENE)).name == run.id  # So the workbench calls it.
    made = {path.name for path in (tmp_path / "exports").glob("*.onnx")}
    assert made == {f"{run.id}-depth2.onnx" for run in runs}


def test_an_architecture_that_only_timm_builds(tiny_learngene: Any, tmp_path: Path, run_cli: Cli) -> None:
    learngene = tiny_learngene(arguments={"qk_norm": True})
    assert learngene.header.architecture.structure is None
    learngene.save(tmp_path / "odd.safetensors")
    done = run_cli("build", tmp_path / "odd.safetensors", "--depth", 2, "--export", "onnx", "--output", tmp_path)
    assert done.code == 0, done.stderr
    assert done.stderr == "", "torch's exporter must be silent"
    assert run_cli("verify", tmp_path / "odd-depth2.onnx").code == 0
    done = run_cli("build", tmp_path / "odd.safetensors", "--export", "onnx-elastic", "--output", tmp_path)
    assert done.code == 2
    assert "not a plain ViT, and --export onnx-elastic takes no other: it holds one graph for a layer" in done.stderr


def test_progress(learngene_file: Path, tmp_path: Path) -> None:
    steps: list[BuildStep] = []
    build_exports(BuildRequest(learngene_file, ("onnx",), (1, 2), tmp_path, verify=False), steps.append)
    assert [(step.stage, step.index, step.count) for step in steps] == [
        ("loading", 0, 2),
        ("writing", 0, 2),
        ("done", 0, 2),
        ("writing", 1, 2),
        ("done", 1, 2),
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--depth", "0"], "depth 0 is out of range"),
        (["--depth", "-1"], "depth -1 is out of range"),
        (["--depth", "1000000000"], "out of range"),
        (["--depth", "8", "--depth", "0"], "depth 0 is out of range"),
        (["--depth", "x"], "cannot read 'x' as a depth"),
        ([], "no depth was given"),
        (["--depth", "2", "--export", "onx"], "Did you mean 'onnx'?"),
        (["--depth", "2", "--dtype", "flaot16"], "Did you mean 'float16'?"),
        (["--depth", "2", "--layout", "oficial"], "Did you mean 'official'?"),
        (["--depth", "2", "--num-classes", "0"], "classes, not 0"),
        (["--depth", "2", "--num-classes", "100000000000"], "classes, not"),
    ],
)
def test_bad_input_writes_nothing(
    arguments: list[str], words: str, learngene_file: Path, tmp_path: Path, run_cli: Cli
) -> None:
    done = run_cli("build", learngene_file, *arguments, "--output", tmp_path / "new")
    assert done.code == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_one_existing_target_stops_everything(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    arguments = ("build", learngene_file, "--export", "onnx", "--output", tmp_path, "--no-verify")
    assert run_cli(*arguments, "--depth", 2).code == 0
    before = files_of(tmp_path)
    done = run_cli(*arguments, "--depth", 1, "--depth", 2)
    assert done.code == 2
    assert "--force" in done.stderr
    assert files_of(tmp_path) == before
    assert run_cli(*arguments, "--depth", 1, "--depth", 2, "--force").code == 0
    assert set(files_of(tmp_path)) - set(before) == {"tiny-depth1.onnx", "tiny-depth1.onnx.manifest.json"}


def test_force_replaces_a_folder(learngene_file: Path, tmp_path: Path) -> None:
    request = BuildRequest(learngene_file, ("pytorch",), (1,), tmp_path, verify=False)
    build_exports(request)
    (tmp_path / "tiny-depth1" / "config.json").write_text("old")
    with pytest.raises(InputError, match="--force"):
        build_exports(request)
    build_exports(BuildRequest(learngene_file, ("pytorch",), (1,), tmp_path, overwrite=True))
    assert (tmp_path / "tiny-depth1" / "model.safetensors").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    current = os.umask(0o022)
    os.umask(current)
    return current


def test_targets_of_the_wrong_type(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    (tmp_path / "file").write_text("kept")
    done = run_cli("build", learngene_file, "--depth", 1, "--export", "onnx", "--output", tmp_path / "file" / "below")
    assert done.code == 2
    assert "is a file; --output names a folder" in done.stderr
    (tmp_path / "tiny-depth1.onnx").mkdir()
    (tmp_path / "tiny-depth1").write_text("kept")
    for kind in ("onnx", "pytorch"):
        done = run_cli("build", learngene_file, "--depth", 1, "--export", kind, "--output", tmp_path, "--force")
        assert done.code == 2
        assert "move it away" in done.stderr


def test_a_folder_is_no_learngene(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    build_exports(BuildRequest(learngene_file, ("pytorch",), (1,), tmp_path, verify=False))
    done = run_cli("build", tmp_path / "tiny-depth1", "--depth", 2, "--export", "onnx-compact", "--output", tmp_path / "o")
    assert done.code == 2
    assert "needs a learngene" in done.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("kind", ["onnx", "pytorch"])
def test_no_permission(
    kind: str, learngene_file: Path, tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*known: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    # Not by chmod: root, as whom tests run in containers, may write everywhere.
    monkeypatch.setattr(Path, "touch", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    done = run_cli("build", learngene_file, "--depth", 1, "--export", kind, "--output", tmp_path, "--no-verify")
    assert done.code == 1
    assert "Permission denied" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", ["onnx", "pytorch"])
def test_a_name_that_no_file_can_have(kind: str, learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    file = shutil.copy(learngene_file, tmp_path / f"{'g' * 240}.safetensors")
    done = run_cli("build", file, "--depth", 1, "--export", kind, "--output", tmp_path / "o", "--no-verify")
    assert done.code == 1
    assert "File name too long" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("kind", ["onnx", "pytorch"])
def test_failed_verification_leaves_nothing(
    kind: str, learngene_file: Path, tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tleg.export.onnx.plain
    import tleg.export.sources
    import tleg.learngene.expansion

    expand_parameter, expand_tensors = tleg.learngene.expansion.expand_parameter, tleg.learngene.expansion.expand_tensors
    monkeypatch.setattr(tleg.export.onnx.plain, "expand_parameter", lambda *known: expand_parameter(*known) * 1.01)
    monkeypatch.setattr(
        tleg.export.sources,
        "expand_tensors",
        lambda *known: {name: values * np.float32(1.01) for name, values in expand_tensors(*known).items()},
    )
    done = run_cli("build", learngene_file, "--depth", 2, "--export", kind, "--output", tmp_path)
    assert done.code == 1
    assert "differs from its reference at depth 2" in done.stderr
    assert ".tmp" not in done.stderr
    assert not list(tmp_path.iterdir())
    # With an older export in place, that one stays.
    assert run_cli("build", learngene_file, "--depth", 2, "--export", kind, "--output", tmp_path, "--no-verify").code == 0
    before = files_of(tmp_path)
    assert run_cli("build", learngene_file, "--depth", 2, "--export", kind, "--output", tmp_path, "--force").code == 1
    assert files_of(tmp_path) == before


@pytest.mark.parametrize("kind", ["onnx", "pytorch"])
def test_full_disk(kind: str, learngene_file: Path, tmp_path: Path, run_tleg: Cli) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    known = ("build", learngene_file, "--depth", 6, "--export", kind, "--output", tmp_path, "--no-verify")
    done = run_tleg(*known, preexec=limit)
    assert done.code == 1
    assert "File too large" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_killed_while_replacing(learngene_file: Path, tmp_path: Path) -> None:
    build_exports(BuildRequest(learngene_file, ("onnx",), (2,), tmp_path, verify=False))
    before = files_of(tmp_path)
    code = (
        "import os, signal, sys\n"
        "from tleg.cli.app import run\n"
        "import tleg.export.build as build\n"
        "build.describe_file = lambda *known: os.kill(os.getpid(), signal.SIGKILL)\n"
        "run(['build', *sys.argv[1:]])"
    )
    known = [learngene_file, "--depth", "2", "--export", "onnx", "--output", tmp_path, "--no-verify", "--force"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, known)], env=clean_environment(), capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    left = files_of(tmp_path)
    assert {name: left[name] for name in before} == before


def test_what_killed_builds_left_is_removed_after_a_day(learngene_file: Path, tmp_path: Path) -> None:
    ours, day = (".tiny-depth2.onnx.abcd1234.tmp", ".tiny-depth2.onnx.manifest.json.abcd_234.tmp"), 24 * 3600
    others = (".tiny-depth2.onnx.abcd1234.old", ".tiny-depth2.onnx.notes.tmp", ".tiny-depth1.onnx.abcd1234.tmp", "x.tmp")
    for name in (*ours, *others, ".tiny-depth2.onnx.younger1.tmp"):
        (tmp_path / name).write_text("left")
    (tmp_path / ".tiny-depth2.folder12.tmp").mkdir()
    for path in tmp_path.iterdir():
        if "younger" not in path.name:
            os.utime(path, (path.stat().st_mtime - day - 60,) * 2)
    build_exports(BuildRequest(learngene_file, ("onnx", "pytorch"), (2,), tmp_path, verify=False))
    left = {path.name for path in tmp_path.iterdir() if path.name.endswith((".tmp", ".old"))}
    assert left == {*others, ".tiny-depth2.onnx.younger1.tmp"}


def test_killed_between_file_and_manifest_is_noticed(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    build_exports(BuildRequest(learngene_file, ("onnx",), (2,), tmp_path, verify=False))
    build_exports(BuildRequest(learngene_file, ("onnx",), (2,), tmp_path / "new", num_classes=3, verify=False))
    # What a kill between the two renames leaves: the new file and the old manifest.
    shutil.copy(tmp_path / "new" / "tiny-depth2.onnx", tmp_path / "tiny-depth2.onnx")
    done = run_cli("verify", tmp_path / "tiny-depth2.onnx", "--json")
    assert done.code == 1
    outcomes = {check["name"]: check["outcome"] for check in json.loads(done.stdout)["checks"]}
    assert (outcomes["bytes"], outcomes["lineage"]) == ("failed", "failed")


def test_every_variant_verifies(tiny_learngene: Any, tmp_path: Path) -> None:
    tiny_learngene(arguments=VARIANTS["dinov2"], seed=3).save(tmp_path / "dino.safetensors")
    request = BuildRequest(
        tmp_path / "dino.safetensors", ("onnx", "onnx-compact", "onnx-elastic", "pytorch"), (3,), tmp_path
    )
    for item in build_exports(request):
        assert item.manifest.verification is not None
        assert item.manifest.verification.relative_error < 1e-5
