"""Which learngenes are offered, and what is known of their accuracy."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_learngene
from tleg.errors import InputError
from tleg.learngene.container import LearngeneFile, read_file
from tleg.tuned import Place
from tleg_tui.common import learngenes
from tleg_tui.common.learngenes import Learngenes, first_choice, open_entry, resolve_path, tuned_by_data
from tleg_tui.run_list import RunList
from tleg_tui.runs.watching import RunsWatch


def test_each_file_is_offered_once_and_in_order(finished_runs: Path) -> None:
    make_learngene().save("b.safetensors")
    make_learngene(seed=3).save("a.safetensors")
    Path("linked.safetensors").symlink_to("a.safetensors")
    runs = RunsWatch().look([finished_runs])
    found = Learngenes().find([str(Path("b.safetensors").absolute()), "gone.safetensors"], Path.cwd(), runs)
    assert [(entry.name, entry.origin) for entry in found] == [
        ("fashion-mnist", "shipped"),
        ("characters", "shipped"),
        ("b.safetensors", "opened"),
        ("gone.safetensors", "opened"),
        ("a.safetensors", "folder"),
        (runs.rows[0].id[14:], "run"),
    ]
    assert found[3].file is None
    assert "cannot read gone.safetensors" in str(found[3].error)
    assert found[4].argument == "a.safetensors"
    assert found[0].argument == "fashion-mnist"


def test_a_header_is_read_again_when_its_file_changed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    make_learngene().save("a.safetensors")
    reads: list[Path] = []

    def read(path: Path) -> LearngeneFile:
        reads.append(path)
        return read_file(path)

    monkeypatch.setattr(learngenes, "read_file", read)
    known = Learngenes()
    first = known.find([], Path.cwd(), RunList())
    assert known.find([], Path.cwd(), RunList()) == first
    assert reads.count(Path("a.safetensors").absolute()) == 1
    make_learngene(seed=5).save("a.safetensors", overwrite=True)
    os.utime("a.safetensors", ns=(1, 1))
    second = known.find([], Path.cwd(), RunList())
    assert second != first
    assert reads.count(Path("a.safetensors").absolute()) == 2


def test_the_choice_of_the_last_time_comes_first() -> None:
    make_learngene().save("a.safetensors")
    found = Learngenes().find([], Path.cwd(), RunList())
    assert first_choice(found, None) == found[0]
    assert first_choice(found, str(found[1].path)) == found[1]
    assert first_choice(found, "fashion-mnist") == found[0]
    assert first_choice(found, "gone") == found[0]
    assert first_choice((), None) is None
    broken = open_entry(Path("nowhere"))
    assert first_choice((broken, found[1]), None) == found[1]


def test_what_fine_tuning_reached_is_found_by_learngene_and_depth(
    start_run: Any, finished_runs: Path, runs_dir: Path, digits_folder: Path
) -> None:
    from tleg.runs.events import EventWriter

    shutil.copytree(next(finished_runs.iterdir()), runs_dir / "learned", symlinks=True)
    result = next((runs_dir / "learned" / "exports").glob("*.safetensors"))
    given: list[tuple[str, int, float, dict[str, Any]]] = [
        ("fashion-mnist", 4, 80.0, {}),
        ("fashion-mnist", 4, 85.0, {}),
        ("fashion-mnist", 4, 99.0, {"init": "scratch"}),  # No accuracy of the learngene's.
        ("fashion-mnist", 8, 70.0, {}),
        ("fashion-mnist", 8, 40.0, {"image_size": "14"}),  # Of the same images, smaller: another descendant.
        (str(runs_dir / "learned"), 3, 60.0, {}),
        ("fashion-mnist", 4, 97.0, {"data": "fashion-mnist"}),  # Of other images: not to be compared.
        ("fashion-mnist", 8, 95.0, {"validation_split": 0.5}),
    ]
    for learngene, depth, top1, more in given:
        folder = start_run("finetune", learngene=learngene, depth=depth, begin=False, **more)
        with EventWriter(folder) as events:
            scores = [{"depth": None, "top1": top1, "images": 10}]
            events.write("evaluation", {"step": 1, "epoch": 2, "weights": "model", "scores": scores})
    runs = RunsWatch().look([runs_dir])
    shipped = first_choice(Learngenes().find([], Path.cwd(), RunList()), None)
    assert shipped is not None
    by_data = {
        data: {(place.depth, place.image_size): each.top1 for place, each in found.items()}
        for data, found in tuned_by_data(shipped, runs).items()
    }
    name = digits_folder.name
    assert by_data == {
        "fashion-mnist": {(4, (28, 28)): 97.0},
        f"{name} split 0.5": {(8, (28, 28)): 95.0},
        name: {(4, (28, 28)): 85.0, (8, (28, 28)): 70.0, (8, (14, 14)): 40.0},
    }
    assert next(iter(by_data)) == "fashion-mnist"  # On which the learngene itself was measured.
    assert all(each.data == data for data, found in tuned_by_data(shipped, runs).items() for each in found.values())
    (learned,) = tuned_by_data(open_entry(result), runs).values()
    assert [(place.depth, tuned.top1, tuned.epoch) for place, tuned in learned.items()] == [(3, 60.0, 2)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b.safetensors", "a b.safetensors"),
        ("'/tmp/a b.pth'", "/tmp/a b.pth"),
        ('"x"', "x"),
        ("/tmp/a\\ b", "/tmp/a b"),
        ("file:///tmp/a%20b", "/tmp/a b"),
        (" ~/x ", os.path.expanduser("~/x")),
    ],
)
def test_paths_as_terminals_paste_them(text: str, expected: str) -> None:
    assert resolve_path(text) == Path(expected)


def test_nothing_is_no_path() -> None:
    for text in ("", "  ", "''"):
        with pytest.raises(InputError, match="name a file"):
            resolve_path(text)


def test_data_sets_of_one_name_are_told_apart(start_run: Any, runs_dir: Path, tmp_path: Path, digits_folder: Path) -> None:
    from tleg.runs.events import EventWriter

    for place, top1 in (("one", 50.0), ("two", 60.0)):
        shutil.copytree(digits_folder, tmp_path / place / "digits")
        folder = start_run(
            "finetune", learngene="fashion-mnist", depth=4, begin=False, data=str(tmp_path / place / "digits")
        )
        with EventWriter(folder) as events:
            scores = [{"depth": None, "top1": top1, "images": 10}]
            events.write("evaluation", {"step": 1, "epoch": 2, "weights": "model", "scores": scores})
    shipped = first_choice(Learngenes().find([], Path.cwd(), RunList()), None)
    assert shipped is not None
    found = tuned_by_data(shipped, RunsWatch().look([runs_dir]))
    assert {data: each[Place((28, 28), 4)].top1 for data, each in found.items()} == {
        str(tmp_path / "one" / "digits"): 50.0,
        str(tmp_path / "two" / "digits"): 60.0,
    }
