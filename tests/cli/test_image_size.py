"""`--image-size`: evaluate, preview, build, verify and finetune with inputs of another size than was learned."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import tleg
from tests.cli.test_train import FAST, MODEL_ARGUMENTS
from tests.conftest import CommandResult, make_learngene
from tests.export.test_from_folder import save_tuned
from tleg.export.manifest import read_manifest
from tleg.models.pretrained import open_folder

RunCli = Callable[..., CommandResult]


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, digits_folder: Path) -> Path:
    """A learngene of digits at 8 pixels, in patches of 4. Do not change it."""
    from tleg.cli.app import run

    root = tmp_path_factory.mktemp("learned")
    options = ["--epochs=1", "--sample-depths=2,4", "--evaluate-depths=2,4", f"--runs-dir={root / 'runs'}", *FAST]
    data = [f"--data={digits_folder}", f"--output={root / 'gene.safetensors'}"]
    assert run(["learn", "--architecture=vit_tiny_patch16_224", *MODEL_ARGUMENTS, *options, *data]) == 0
    return root / "gene.safetensors"


def test_figures_at_a_size_are_recorded_and_the_budget_picks_by_them(
    learned: Path, digits_folder: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    path = tmp_path / "gene.safetensors"
    shutil.copyfile(learned, path)
    own = tleg.read_header(path)
    height, width = own.image_size
    size = f"{2 * height}x{2 * width}"
    done = run_cli("evaluate", path, "--data", digits_folder, "--depths", "2,4", "--image-size", size, "--record", "--json")
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["image_size"] == [2 * height, 2 * width]
    header = tleg.read_header(path)
    assert header.reached == own.reached
    (there,) = header.further
    assert there.image_size == (2 * height, 2 * width)
    assert dict(there.top1) == {row["depth"]: round(row["top1"], 2) for row in document["results"]}
    # Its own figures and those of the other size, side by side.
    sizes = f"{height},{size}"
    told = json.loads(
        run_cli("preview", path, "--depths", "2,4", "--image-size", sizes, "--max-macs", "1G", "--json").stdout
    )
    assert [(row["image_size"], row["depth"]) for row in told["depths"]] == [
        ([side, side], depth) for side in (height, 2 * height) for depth in (2, 4)
    ]
    assert own.reached is not None
    known = [*(own.reached.top1[depth] for depth in (2, 4)), *(there.top1[depth] for depth in (2, 4))]
    assert [row["top1"] for row in told["depths"]] == known
    best = max(told["depths"], key=lambda row: (row["top1"], row["macs"]))
    assert told["choice"] == {"depth": best["depth"], "image_size": best["image_size"]}
    picked = run_cli("preview", path, "--depths", "2,4", "--image-size", sizes, "--max-macs", "1G", "--pick").stdout
    assert picked == f"{best['depth']} {best['image_size'][0]}\n"
    # A larger input costs more, which is what a budget is about.
    least = min(row["macs"] for row in told["depths"])
    tight = run_cli("preview", path, "--depths", "2,4", "--image-size", sizes, "--max-macs", str(least), "--pick")
    assert tight.stdout == f"2 {height}\n"
    none = run_cli("preview", path, "--image-size", sizes, "--max-macs", str(least - 1), "--pick", "--depths", "2,4")
    assert none.code == 1
    assert f"no depth fits: depth 2 at {height} pixels takes" in none.stderr


def test_of_sizes_without_figures_the_largest_is_picked(run_cli: RunCli, learngene_file: Path) -> None:
    done = run_cli("preview", learngene_file, "--depths", "2,3", "--image-size", "16,64", "--max-params", "1G")
    assert done.code == 0
    assert "best that fits: depth 3 at 64 pixels (the largest, because no accuracy is known)" in done.stderr
    assert done.stdout.splitlines()[0].split()[:2] == ["pixels", "depth"]


@pytest.mark.parametrize("kind", ["onnx", "onnx-compact", "onnx-elastic", "pytorch"])
def test_exports_of_a_size_are_verified_then_and_later(
    run_cli: RunCli, learngene_file: Path, tmp_path: Path, kind: str
) -> None:
    depth = [] if kind == "onnx-elastic" else ["--depth", "2"]
    done = run_cli(
        "build", learngene_file, *depth, "--export", kind, "--image-size", "48x64", "--output", tmp_path, "--json"
    )
    assert done.code == 0, done.stderr
    (item,) = json.loads(done.stdout)["exports"]
    assert "48x64px" in Path(item["path"]).name
    assert item["verification"]["relative_error"] < 1e-5
    assert item["descendant"]["image_size"] == [48, 64]
    manifest = read_manifest(Path(item["manifest"]))
    assert manifest.learngene is not None
    assert manifest.learngene.sha256 == tleg.read_header(learngene_file).sha256
    again = run_cli("verify", item["path"], "--learngene", learngene_file, "--json")
    assert again.code == 0, again.stdout
    assert json.loads(again.stdout)["verification"]["relative_error"] < 1e-5
    refused = run_cli(
        "evaluate", item["path"], "--data", "digits", "--image-size", "32", *(["--depths", "2"] if not depth else [])
    )
    assert kind == "pytorch" or "takes images of one size" in refused.stderr


def test_the_learngenes_own_size_is_no_other(run_cli: RunCli, learngene_file: Path, tmp_path: Path) -> None:
    done = run_cli(
        "build", learngene_file, "--depth", "2", "--image-size", "32", "--output", tmp_path, "--json", "--no-verify"
    )
    (item,) = json.loads(done.stdout)["exports"]
    assert Path(item["path"]).name == "tiny-depth2"
    assert "image_size" not in item["descendant"]


def test_folders_are_resampled_as_timm_does_it(run_cli: RunCli, tmp_path: Path) -> None:
    folder = save_tuned(tmp_path / "tuned")
    options = ["--image-size", "64", "--output", tmp_path / "out"]
    done = run_cli("build", folder, "--export", "onnx", *options, "--json")
    assert done.code == 0, done.stderr
    (item,) = json.loads(done.stdout)["exports"]
    assert Path(item["path"]).name == "tuned-64px.onnx"
    assert item["folder"]["image_size"] == [64, 64]
    assert item["verification"]["relative_error"] < 1e-5
    assert run_cli("verify", item["path"], "--learngene", folder).code == 0
    half = run_cli("build", folder, "--export", "pytorch", "--dtype", "float16", *options, "--json")
    assert half.code == 0, half.stderr
    (item,) = json.loads(half.stdout)["exports"]
    assert open_folder(Path(item["path"])).input_size[1:] == (64, 64)
    assert item["verification"]["relative_error"] < 2e-2


def test_a_descendant_is_fine_tuned_at_another_size(
    learned: Path, digits_folder: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    done = run_cli(
        *("finetune", "--learngene", learned, "--depth", "3", "--image-size", "16", "--data", digits_folder),
        *("--epochs", "1", "--output", tmp_path / "tuned", "--runs-dir", tmp_path / "runs", *FAST),
    )
    assert done.code == 0, done.stderr
    record = json.loads((tmp_path / "tuned" / "training.json").read_text())
    assert record["lineage"]["image_size"] == [16, 16]
    assert open_folder(tmp_path / "tuned").input_size[1:] == (16, 16)
    assert run_cli("evaluate", tmp_path / "tuned", "--data", digits_folder).code == 0


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("preview", "FILE", "--image-size", "30"), "an image of 30 x 30 pixels does not divide into patches of 8 x 8"),
        (("preview", "FILE", "--image-size", "32,"), "'' is no size of images such as 160 or 128x256 (height x width)"),
        (("build", "FILE", "--depth", "2", "--image-size", "9999"), "an image has 1 to 4096 rows and columns, not 9999"),
        (("evaluate", "FILE", "--data", "x", "--image-size", "3x"), "'3x' is no size of images"),
    ],
)
def test_bad_sizes_are_one_line(run_cli: RunCli, learngene_file: Path, words: tuple[str, ...], says: str) -> None:
    done = run_cli(*(str(learngene_file) if word == "FILE" else word for word in words))
    assert done.code == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_from_python() -> None:
    learngene = make_learngene()
    assert learngene.at_image_size((32, 32)) is learngene
    model = tleg.expand(learngene, 2, image_size=(48, 64))
    assert model.patch_embed.img_size == (48, 64)
    rows = tleg.preview(learngene, [2], image_sizes=[32, "64", (64, 32)]).rows
    assert [row.image_size for row in rows] == [(32, 32), (64, 64), (64, 32)]
    assert rows[0].cost.macs < rows[2].cost.macs < rows[1].cost.macs
    with pytest.raises(tleg.TlegError, match="an image has 1 to 4096"):
        tleg.expand(learngene, 2, image_size=0)
