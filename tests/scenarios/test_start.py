"""`tleg learn --start` as real processes: begun, killed, resumed to the bit; the start is looked at again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.test_run import LEARN, MODEL_ARGUMENTS, MakeRun, finish, kill, learned, start, wait_for
from tests.scenarios.test_run import make_run as make_run
from tests.scenarios.test_run import started as started
from tleg.launch import resume_training
from tleg.learngene.container import read_header
from tleg.models.learngene import Learngene
from tleg.runs.inputs import ChangedInputsError, read_inputs


@pytest.fixture
def gene(tiny_learngene: Any, tmp_path: Path) -> Path:
    """A learngene of the digits' classes."""
    path = tmp_path / "gene.safetensors"
    made: Learngene = tiny_learngene(
        LEARN["architecture"], MODEL_ARGUMENTS, num_classes=10, classes=tuple("0123456789"), auxiliary_depth=4
    )
    made.save(path)
    return path


@pytest.mark.slow
def test_a_killed_learning_goes_on_from_its_checkpoint_and_not_from_its_start(
    make_run: MakeRun, gene: Path, started: list[Any]
) -> None:
    whole, anew = make_run("whole", start=str(gene)), make_run("anew")
    finish(whole)
    finish(anew)
    assert learned(whole) != learned(anew)
    killed = make_run("killed", start=str(gene))
    for step in (3, 12):
        process = start(killed)
        started.append(process)
        wait_for(killed, step, process)
        kill(process)
    finish(killed)
    assert learned(killed) == learned(whole)
    header = read_header(killed.exports / "learngene.safetensors")
    assert header.learned["start"]["sha256"] == read_header(gene).sha256
    inputs = read_inputs(killed)
    assert inputs is not None
    assert [(each.role, each.path) for each in inputs.models] == [("start", str(gene))]


@pytest.mark.slow
def test_a_start_that_changed_is_said_before_the_run_goes_on(
    make_run: MakeRun, gene: Path, started: list[Any], tiny_learngene: Any
) -> None:
    folder = make_run(start=str(gene))
    process = start(folder)
    started.append(process)
    wait_for(folder, 3, process)
    kill(process)
    other: Learngene = tiny_learngene(
        LEARN["architecture"], MODEL_ARGUMENTS, num_classes=10, classes=tuple("0123456789"), auxiliary_depth=4, seed=1
    )
    other.save(gene, overwrite=True)
    with pytest.raises(ChangedInputsError, match=r"the start .* has other weights"):
        resume_training(folder)
    gene.unlink()
    with pytest.raises(ChangedInputsError, match=r"the start .* is gone"):
        resume_training(folder, accept_changed=True)


@pytest.mark.slow
def test_a_dry_run_opens_the_start_and_names_both_widths(
    run_tleg: Callable[..., Any], gene: Path, digits_folder: Path
) -> None:
    words = ["learn", "--architecture", LEARN["architecture"], "--data", digits_folder, "--start", gene, "--dry-run"]
    done = run_tleg(*words, "--batch-size", 40, "--json")
    assert done.code == 0, done.stderr
    # Sizes that nobody gave are those of the start: of width 32, not timm's 192.
    found = json.loads(done.stdout)
    assert found["parameters"] < 200_000
    # So is the basis, where its layers are taken.
    assert found["basis"] == "linear, 2 terms"
    done = run_tleg(*words, "--batch-size", 40, "--start-layers", "initial")
    assert "basis       piecewise, 3 terms\n" in done.stdout
    done = run_tleg(*words, "--batch-size", 40, "--model-arg", "embed_dim=64")
    assert done.code == 2
    assert "has a width of 32 and 2 heads, and 'vit_tiny_patch16_224' has a width of 64 and 2 heads" in done.stderr
