"""Every export format through everything that has to do with formats; and two more, which are registered here alone."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.conftest import CommandResult
from tests.export.dummy_format import NPZ, NPZ_FOLDER
from tests.project.test_imports import HEAVY
from tleg.errors import InputError
from tleg.export.build import build_exports
from tleg.export.formats import FORMATS, Format, find_format, format_of_path, register
from tleg.export.manifest import read_manifest
from tleg.export.plan import BuildRequest
from tleg.models.learngene import load

Cli = Callable[..., CommandResult]
LARGEST_ERRORS = {"float32": 1e-5, "float16": 2e-2, "int8": 0.1, "int8-dynamic": 0.1, "int8-terms": 1e-5, "int4-terms": 1e-5}
ROOT = Path(__file__).resolve().parents[2]
OURS, DUMMIES = tuple(FORMATS.values()), (NPZ, NPZ_FOLDER)
EVERY = (*OURS, *DUMMIES)
SLOW = ("executorch",)  # It lowers the smallest model for many seconds.
each_format = pytest.mark.parametrize(
    "entry",
    [
        pytest.param(
            each,
            marks=[
                pytest.mark.skipif(not each.is_installed, reason=f"tleg[{each.extra}] is not installed"),
                *([pytest.mark.slow] if each.name in SLOW else []),
            ],
        )
        for each in EVERY
    ],
    ids=lambda entry: entry.name,
)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    for entry in DUMMIES:
        register(entry)
    yield
    for entry in DUMMIES:
        del FORMATS[entry.name]


@pytest.fixture(scope="module")
def images(learngene_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image for each class of the learngene."""
    folder = tmp_path_factory.mktemp("images")
    for index, name in enumerate(load(learngene_file).header.classes):
        (folder / "val" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32), (30 * index, 90, 200 - 20 * index)).save(folder / "val" / name / "it.png")
    return folder


def words(entry: Format, *, source: str = "learngene") -> list[str]:
    depth = ["--depth", "2"] if source == "learngene" and not entry.every_depth else []
    return ["--export", entry.name, *depth]


@each_format
def test_from_a_learngene_to_figures(
    entry: Format, learngene_file: Path, images: Path, tmp_path: Path, run_cli: Cli
) -> None:
    for precision in entry.dtypes["learngene"]:
        # Of one image a class any rounding may change the accuracy by many points.
        needed = ["--calibration", images, "--max-drop", "100"] if precision == "int8" else []
        build = ("build", learngene_file, *words(entry), "--dtype", precision, *needed, "--output", tmp_path)
        done = run_cli(*build, "--json")
        assert done.code == 0, done.stderr
        (made,) = json.loads(done.stdout)["exports"]
        path, depth = Path(made["path"]), None if entry.every_depth else 2
        assert path == tmp_path / entry.file_name("tiny", depth, precision)
        assert path.is_dir() == entry.is_folder
        assert format_of_path(path.name, is_folder=path.is_dir()) is entry
        assert (made["kind"], made["depth"]) == (entry.name, depth)
        assert made["verification"]["relative_error"] < LARGEST_ERRORS[precision]
        manifest = read_manifest(Path(made["manifest"]))
        assert manifest.file.kind == entry.name
        assert {*entry.libraries, *entry.runtime} <= set(manifest.versions)
        # Again, and changed.
        assert run_cli(*build).code == 2
        assert run_cli(*build, "--force", "--no-verify").code == 0
        checked = run_cli("verify", path, "--learngene", learngene_file, "--json")
        assert checked.code == 0, checked.stdout
        report = json.loads(checked.stdout)
        assert report["kind"] == entry.name
        assert {check["outcome"] for check in report["checks"]} == {"passed"}
        alone = run_cli("verify", path, "--json")  # Without its learngene; float16 is run by whatever can without it.
        assert alone.code == 0, alone.stdout
        assert {"bytes", "runs", "reference"} <= {check["name"] for check in json.loads(alone.stdout)["checks"]}
        depths = ["--depths", "2"] if entry.every_depth else []
        figures = run_cli("evaluate", path, "--data", images, "--device", "cpu", *depths, "--json")
        assert figures.code == 0, figures.stderr
        assert [(result["depth"], result["images"]) for result in json.loads(figures.stdout)["results"]] == [(2, 7)]
        file = next(each for each in path.iterdir() if each.name != "manifest.json") if entry.is_folder else path
        file = file if file.is_file() else next(each for each in file.rglob("*") if each.is_file())
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        if entry.is_folder:  # What nobody's manifest lists is somebody's.
            (path / "notes.txt").touch()
            refused = run_cli(*build, "--force", "--no-verify")
            assert (refused.code, "holds notes.txt, which tleg did not make" in refused.stderr) == (2, True)
        assert "is not what the manifest describes" in run_cli("verify", path).stdout


@each_format
def test_evaluation_sees_the_same_figures_as_the_learngene(
    entry: Format, learngene_file: Path, images: Path, tmp_path: Path, run_cli: Cli
) -> None:
    (made,) = build_exports(BuildRequest(learngene_file, (entry.name,), (2,), tmp_path, verify=False))
    depths = ("--depths", "2")
    found = []
    for path, known in ((learngene_file, depths), (made.path, depths if entry.every_depth else ())):
        done = run_cli("evaluate", path, "--data", images, "--device", "cpu", *known, "--json")
        (result,) = json.loads(done.stdout)["results"]
        found.append((result["top1"], pytest.approx(result["loss"], rel=1e-4)))
    assert found[0] == found[1]


@each_format
def test_from_a_folder_or_why_not(entry: Format, learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    (made,) = build_exports(BuildRequest(learngene_file, ("pytorch",), (2,), tmp_path / "from", verify=False))
    made.manifest_path.unlink()
    for precision in ("float32", "float16"):
        output = tmp_path / precision
        done = run_cli("build", made.path, *words(entry, source="folder"), "--dtype", precision, "--output", output)
        if not entry.takes("folder", precision):
            assert done.code == 2
            assert str(made.path) in done.stderr
            assert not output.exists()
            continue
        assert done.code == 0, done.stderr
        path = output / entry.file_name("tiny-depth2", None, precision)
        assert run_cli("verify", path, "--learngene", made.path).code == 0


@each_format
def test_what_is_no_plain_vit(entry: Format, tiny_learngene: Any, tmp_path: Path, run_cli: Cli) -> None:
    tiny_learngene(arguments={"qk_norm": True}).save(tmp_path / "odd.safetensors")
    done = run_cli("build", tmp_path / "odd.safetensors", *words(entry), "--output", tmp_path / "out", "--no-verify")
    if entry.plain:
        assert done.code == 2
        assert f"--export {entry.name} takes no other: {entry.plain}" in done.stderr
        others = ", ".join(each.name for each in sorted(EVERY[:-1], key=lambda each: each.is_folder) if not each.plain)
        assert f"--export {others} and npz-folder can write it" in done.stderr
    else:
        assert done.code == 0 or entry in DUMMIES, done.stderr


def test_refusals_name_all_formats(learngene_file: Path, tmp_path: Path, run_cli: Cli) -> None:
    done = run_cli("build", learngene_file, "--depth", 2, "--export", "npzz", "--output", tmp_path / "out")
    assert done.code == 2
    every = ", ".join(each.name for each in EVERY)
    assert f"choose one of {every}. Did you mean 'npz'?" in done.stderr
    done = run_cli("build", learngene_file, "--export", "npz", "--output", tmp_path / "out")
    assert "only onnx-elastic holds every depth" in done.stderr
    every = f"{', '.join(each.name for each in EVERY[:-1])} or npz-folder"
    with pytest.raises(InputError, match=f"choose --export {every}"):
        build_exports(BuildRequest(learngene_file, ()))


def test_help_describes_every_format(run_python: Any) -> None:
    code = (
        "from tleg.export.formats import register; from tests.export.dummy_format import NPZ, NPZ_FOLDER\n"
        "register(NPZ); register(NPZ_FOLDER)\n"
        "from tleg.cli.app import run; run(['build', '--help'])"
    )
    done = run_python(code, cwd=ROOT)
    assert done.code == 0, done.stderr
    text = " ".join("".join(character for character in done.stdout if character not in "│╭╮╰╯─").split())
    every = f"{', '.join(each.name for each in EVERY[:-1])} or npz-folder"
    assert f"{every}; may be given several times" in text
    for entry in EVERY:
        assert f"{entry.name}: {entry.about}." in text


def test_the_documentation_names_every_format() -> None:
    text = "".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")))
    assert [each.name for each in OURS if f"`{each.name}`" not in text] == []


def test_a_format_is_registered_once() -> None:
    with pytest.raises(ValueError, match="taken"):
        register(NPZ)
    assert find_format("npz") is NPZ


def test_the_table_is_light(run_python: Any) -> None:
    code = f"import sys, tleg.export.formats; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert run_python(code).stdout.strip() == ""
    assert sys.modules["tleg.export.formats"].FORMATS is FORMATS
