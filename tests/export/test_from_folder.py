"""`tleg build FOLDER`: models that timm loads, fine-tuned descendants above all, as ONNX with their weights as they are."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.conftest import CommandResult, make_learngene
from tests.export.conftest import relative_error
from tleg.errors import FileFormatError, InputError
from tleg.export.build import build_exports
from tleg.export.manifest import read_manifest
from tleg.export.onnx.runtime import open_onnx
from tleg.export.plan import BuildRequest
from tleg.export.verify import check_path
from tleg.learngene.architecture import Architecture, Layout
from tleg.learngene.header import Preprocessing
from tleg.learngene.structure import official_layout_name
from tleg.models.timm_folder import load_timm_folder, save_timm_folder
from tleg.runs.launch import create_run
from tleg.runs.run import MODEL
from tleg_tui.export.model import open_source

Cli = Callable[..., CommandResult]
CLASSES = ("shirt", "shoe", "bag", "coat", "dress", "boot", "hat")
TRAINING: Mapping[str, Any] = {
    "lineage": {"checkpoint": "earlier", "head": "kept", "from": {"learngene": "tiny", "sha256": "ab" * 32, "depth": 3}},
    "data": "fashion-mnist",
    "steps": 90,
    "reached": {"top1": 91.25},
}


def save_tuned(folder: Path, layout: Layout = "auxiliary", arguments: Mapping[str, Any] | None = None) -> Path:
    """A folder as `tleg finetune` leaves it: weights that no expansion gives, and the record of a training."""
    learngene = make_learngene(arguments=arguments)
    random = np.random.default_rng(7)
    tensors = {
        name: values + random.normal(0, 0.02, values.shape).astype(np.float32)
        for name, values in learngene.expand_tensors(3).items()
    }
    if layout == "official":
        tensors = {official_layout_name(name): values for name, values in tensors.items()}
    folder.mkdir(parents=True)
    header = learngene.header
    save_timm_folder(
        folder, tensors, header.architecture, 3, preprocessing=header.preprocessing, layout=layout, classes=CLASSES
    )
    (folder / "training.json").write_text(json.dumps(TRAINING))
    return folder


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fine-tuned descendant. Do not change it."""
    return save_tuned(tmp_path_factory.mktemp("models") / "tuned")


@pytest.fixture(scope="module")
def resnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small convolutional model with batch norm, whose running statistics are not the initial ones. Do not change it."""
    import timm
    import torch

    torch.manual_seed(0)
    arguments: dict[str, Any] = {"channels": [8, 8, 16, 16], "stem_width": 8, "in_chans": 1}
    model = timm.create_model("resnet10t", num_classes=7, **arguments)
    with torch.inference_mode():
        model.train()(torch.randn(8, 1, 32, 32))
    folder = tmp_path_factory.mktemp("models") / "convolutional"
    folder.mkdir()
    save_timm_folder(
        folder,
        {name: value.numpy() for name, value in model.state_dict().items()},
        Architecture("resnet10t", arguments, 7, (1, 32, 32)),
        None,
        preprocessing=Preprocessing((0.3,), (0.35,), crop_pct=1.0),
        classes=CLASSES,
    )
    return folder


@pytest.fixture(scope="module")
def traced(resnet: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That model as ONNX, which takes seconds. Do not change it."""
    (item,) = build_exports(BuildRequest(resnet, ("onnx",), output=tmp_path_factory.mktemp("traced")))
    return item.path


def timm_logits(folder: Path, images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    import torch

    with torch.inference_mode():
        logits: np.ndarray[Any, Any] = load_timm_folder(folder).float()(torch.from_numpy(images)).numpy()
    return logits


def images_for(path: Path, batch: int = 3) -> np.ndarray[Any, Any]:
    return np.random.default_rng(batch).standard_normal((batch, *open_onnx(path).input_size), dtype=np.float32)


def test_fine_tuned_descendant(tuned: Path, tmp_path: Path, run_cli: Cli) -> None:
    done = run_cli("build", tuned, "--export", "onnx", "--output", tmp_path, "--json")
    assert done.code == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["learngene"], document["folder"]) == ("tiny", "tuned")
    (item,) = document["exports"]
    path = tmp_path / "tuned.onnx"
    assert (item["path"], item["depth"], item["folder"]["depth"]) == (str(path), 3, 3)
    assert item["verification"]["relative_error"] < 1e-5
    images = images_for(path)
    assert relative_error(open_onnx(path).run(images), timm_logits(tuned, images)) < 1e-5
    assert sorted(file.name for file in tmp_path.iterdir()) == ["tuned.onnx", "tuned.onnx.manifest.json"]
    # The graph writer's own file: weights by timm's names, to the bit.
    weights = {item.name: numpy_helper.to_array(item) for item in onnx.load(path).graph.initializer}
    state = load_timm_folder(tuned).state_dict()
    assert np.array_equal(weights["blocks.2.mlp.fc1.weight"].T, state["blocks.2.mlp.fc1.weight"].numpy())


def test_a_model_in_the_folder_of_its_run_is_called_by_the_run(tuned: Path, tmp_path: Path) -> None:
    run = create_run(tmp_path / "runs", kind="finetune", recipe={}, name="tiny", ending="depth3")
    folder = shutil.copytree(tuned, run.exports / MODEL)
    (item,) = build_exports(BuildRequest(folder, ("onnx",), output=tmp_path / "exports", verify=False))
    assert item.path.name == f"{run.id}.onnx"
    assert open_source(str(folder)).name == run.id  # So the workbench calls it.


def test_manifest_and_metadata_say_where_it_comes_from(tuned: Path, tmp_path: Path) -> None:
    import hashlib

    (item,) = build_exports(BuildRequest(tuned, ("onnx",), output=tmp_path))
    manifest = read_manifest(item.manifest_path)
    assert manifest == item.manifest
    assert manifest.descendant is None
    assert manifest.folder is not None
    assert manifest.folder.name == "tuned"
    assert manifest.folder.architecture == "deit_tiny_patch16_224"
    assert manifest.folder.sha256 == hashlib.sha256((tuned / "model.safetensors").read_bytes()).hexdigest()
    assert manifest.folder.training == TRAINING
    assert manifest.learngene is not None
    assert (manifest.learngene.name, manifest.learngene.sha256) == ("tiny", "ab" * 32)
    assert manifest.verification is not None
    assert [(entry.depth, entry.batch) for entry in manifest.verification.comparisons] == [(3, 1), (3, 2), (3, 5)]
    assert {"torch", "timm", "onnx", "onnxruntime"} <= set(manifest.versions)
    assert str(tuned.parent) not in item.manifest_path.read_text()
    assert open_onnx(item.path).lineage == manifest.lineage
    texts = {entry.key: entry.value for entry in onnx.load(item.path).metadata_props}
    assert json.loads(texts["preprocessing"])["mean"] == [0.485, 0.456, 0.406]
    assert json.loads(texts["classes"]) == list(CLASSES)
    assert texts["depth"] == "3"
    assert "layout" not in texts
    assert "descendant" not in texts


@pytest.mark.parametrize(
    "arguments",
    [
        {"class_token": True, "reg_tokens": 2, "init_values": 0.5, "no_embed_class": True},
        {"img_size": (16, 32), "in_chans": 1},
    ],
)
def test_other_plain_vits_need_no_tracing(
    arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tleg.export.onnx.traced.write_torch", None)
    (item,) = build_exports(BuildRequest(save_tuned(tmp_path / "m", arguments=arguments), ("onnx",), output=tmp_path))
    assert item.manifest.verification is not None
    assert item.manifest.verification.relative_error < 1e-5


def test_official_layout_needs_no_tracing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tleg.export.onnx.traced.write_torch", None)
    folder = save_tuned(tmp_path / "official", "official")
    (item,) = build_exports(BuildRequest(folder, ("onnx",), output=tmp_path / "out"))
    assert item.manifest.verification is not None
    assert item.manifest.verification.relative_error < 1e-5
    assert "fc_norm.weight" in {entry.name for entry in onnx.load(item.path).graph.initializer}


def test_a_vit_that_only_timm_knows_is_traced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trace(
        path: Path,
        model: Any,
        input_size: tuple[int, int, int],
        outputs: tuple[str, ...],
        *,
        metadata: Mapping[str, str],
        interface: None,
    ) -> None:
        path.write_text(f"{type(model).__name__} {input_size} {outputs} {metadata['depth']}")

    # Only whether it is called: tracing itself takes seconds, and the convolutional model below goes through it.
    monkeypatch.setattr("tleg.export.onnx.traced.write_torch", trace)
    folder = save_tuned(tmp_path / "odd", arguments={"qk_norm": True})
    (item,) = build_exports(BuildRequest(folder, ("onnx",), output=tmp_path, verify=False))
    assert item.path.read_text() == "VisionTransformer (3, 32, 32) ('logits',) 3"


def test_batch_norm(resnet: Path, traced: Path, run_cli: Cli) -> None:
    path = traced
    assert path.name == "convolutional.onnx"
    export = open_onnx(path)
    assert (export.depth, export.format.every_depth, export.num_classes, export.input_size) == (None, False, 7, (1, 32, 32))
    for batch in (1, 4, 7):
        images = images_for(path, batch)
        assert relative_error(export.run(images), timm_logits(resnet, images)) < 1e-5
    manifest = read_manifest(path.with_name(path.name + ".manifest.json"))
    assert manifest.learngene is None
    assert manifest.ancestry is None
    assert manifest.folder is not None
    assert manifest.folder.training is None
    done = run_cli("verify", path, "--learngene", resnet)
    assert done.code == 0
    assert "passed       reference" in done.stdout


def test_float16(tuned: Path, resnet: Path, tmp_path: Path, run_cli: Cli) -> None:
    done = run_cli("build", resnet, "--export", "onnx", "--dtype", "float16", "--output", tmp_path)
    assert done.code == 0, done.stderr
    assert done.stderr == "", "torch's exporter must be silent"
    assert done.stdout.startswith(f"{tmp_path / 'convolutional-float16.onnx'}\n  ")
    assert "depth" not in done.stdout
    for folder, kinds in ((tuned, ("onnx", "pytorch")), (resnet, ("pytorch",))):
        exports = [word for kind in kinds for word in ("--export", kind)]
        done = run_cli("build", folder, *exports, "--dtype", "float16", "--output", tmp_path, "--json")
        assert done.code == 0, done.stderr
        items = json.loads(done.stdout)["exports"]
        names = {"onnx": f"{folder.name}-float16.onnx", "pytorch": f"{folder.name}-float16"}
        assert [Path(item["path"]).name for item in items] == [names[kind] for kind in kinds]
        for item in items:
            assert 0 < item["verification"]["relative_error"] < 1e-2
            assert run_cli("verify", item["path"], "--learngene", folder).code == 0
    half, whole = tmp_path / "tuned-float16", tuned
    assert (half / "model.safetensors").stat().st_size < 0.6 * (whole / "model.safetensors").stat().st_size
    assert (half / "training.json").read_bytes() == (whole / "training.json").read_bytes()
    # What was exported is a folder that timm loads as well.
    done = run_cli("build", half, "--export", "onnx", "--output", tmp_path / "again", "--json")
    assert done.code == 0, done.stderr
    assert json.loads(done.stdout)["learngene"] == "tiny"


def test_an_earlier_export_keeps_its_lineage(learngene_file: Path, tmp_path: Path) -> None:
    build_exports(BuildRequest(learngene_file, ("pytorch",), (2,), tmp_path, verify=False))
    folder = tmp_path / "tiny-depth2"
    (item,) = build_exports(BuildRequest(folder, ("onnx",), output=tmp_path, verify=False))
    assert item.manifest.ancestry == {"model": "deit_tiny_patch16_224", "top1": 91.5}
    assert item.manifest.learngene is not None
    assert item.manifest.learngene.file == "tiny.safetensors"
    # Other weights under the same manifest are not that learngene's any more.
    other = save_tuned(tmp_path / "other")
    shutil.copy(other / "model.safetensors", folder)
    shutil.copy(other / "config.json", folder)
    (item,) = build_exports(BuildRequest(folder, ("onnx",), output=tmp_path, overwrite=True, verify=False))
    assert item.manifest.learngene is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--export", "onnx-compact"], "needs a learngene"),
        (["--export", "onnx-elastic"], "needs a learngene"),
        ([], "timm loads already"),
        (["--export", "onnx", "--depth", "3"], "--depth is for learngenes"),
        (["--export", "onnx", "--layout", "auxiliary"], "--layout is for learngenes"),
        (["--export", "onnx", "--num-classes", "7"], "--num-classes is for learngenes"),
    ],
)
def test_refusals_write_nothing(arguments: list[str], words: str, tuned: Path, tmp_path: Path, run_cli: Cli) -> None:
    done = run_cli("build", tuned, *arguments, "--output", tmp_path / "new")
    assert done.code == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_bad_folders(tuned: Path, tmp_path: Path, run_cli: Cli) -> None:
    def refused(*arguments: object) -> str:
        done = run_cli("build", *arguments, "--export", "onnx", "--output", tmp_path / "new")
        assert done.code == 2, done.stdout
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "new").exists()
        return done.stderr

    assert "not a folder that timm loads" in refused(tmp_path)
    for name, content, words in (
        ("training.json", "{", "it is not JSON"),
        ("training.json", '{"loss": NaN}', "it is not JSON"),
        ("training.json", "[]", "no record of a training"),
        ("config.json", "{", "cannot read"),
        (
            "config.json",
            json.dumps({**json.loads((tuned / "config.json").read_text()), "label_names": ["a"]}),
            "label_names",
        ),
        ("model.safetensors", "x", "timm cannot load"),
    ):
        broken = shutil.copytree(tuned, tmp_path / "broken")
        (broken / name).write_text(content)
        assert words in refused(broken)
        shutil.rmtree(broken)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = save_tuned(tmp_path / "tuned")
    state = load_file(folder / "model.safetensors")
    state["blocks.1.norm1.bias"][3] = np.nan
    save_file(state, folder / "model.safetensors")
    with pytest.raises(FileFormatError, match=r"blocks\.1\.norm1\.bias"):
        build_exports(BuildRequest(folder, ("onnx",), output=tmp_path, verify=False))


def test_failed_verification_leaves_nothing(
    tuned: Path, tmp_path: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tleg.export.onnx.plain as module
    from tleg.export.onnx.vit import as_stored

    monkeypatch.setattr(module, "as_stored", lambda values: as_stored(values) * np.float32(1.01))
    done = run_cli("build", tuned, "--export", "onnx", "--output", tmp_path)
    assert done.code == 1
    assert "differs from its reference at depth 3" in done.stderr
    assert not list(tmp_path.iterdir())


def outcomes(path: Path, origin: Path | None = None) -> dict[str, str]:
    return {check.name: check.outcome for check in check_path(path, origin).checks}


def test_verify(tuned: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tuned, tmp_path / "tuned")
    (item,) = build_exports(BuildRequest(folder, ("onnx",), output=tmp_path / "exports", verify=False))
    passed = {"bytes": "passed", "graph": "passed", "runs": "passed", "lineage": "passed", "reference": "passed"}
    assert outcomes(item.path) == passed
    other = save_tuned(tmp_path / "other", arguments={"qkv_bias": False})
    with pytest.raises(InputError, match="another hash"):
        check_path(item.path, other)
    with pytest.raises(InputError, match="made from the folder tuned"):
        check_path(item.path, item.path)
    # Elsewhere, it says what it could not check.
    shutil.copytree(item.path.parent, tmp_path / "far" / "away" / "exports")
    away = tmp_path / "far" / "away" / "exports" / "tuned.onnx"
    assert outcomes(away) == {**passed, "reference": "not checked"}
    assert outcomes(away, tuned) == passed
    # Weights that were changed are noticed with the manifest, and without it when the folder is at hand.
    model = onnx.load(item.path)
    weight = next(entry for entry in model.graph.initializer if entry.name == "blocks.1.mlp.fc1.weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1.02), weight.name))
    onnx.save(model, item.path)
    assert outcomes(item.path) == {**passed, "bytes": "failed", "reference": "failed"}
    item.manifest_path.unlink()
    assert outcomes(item.path)["reference"] == "failed"


@pytest.mark.parametrize("change", ["neither", "both", "no learngene"])
def test_manifests_that_contradict_themselves(change: str, tuned: Path, learngene_file: Path, tmp_path: Path) -> None:
    (ours,) = build_exports(BuildRequest(tuned, ("onnx",), output=tmp_path, verify=False))
    (theirs,) = build_exports(BuildRequest(learngene_file, ("onnx",), (2,), tmp_path, verify=False))
    document = json.loads(theirs.manifest_path.read_text())
    if change == "both":
        document["folder"] = json.loads(ours.manifest_path.read_text())["folder"]
    else:
        document["descendant" if change == "neither" else "learngene"] = None
    theirs.manifest_path.write_text(json.dumps(document))
    with pytest.raises(FileFormatError, match="manifest"):
        read_manifest(theirs.manifest_path)


def test_evaluated_like_any_export(tuned: Path, resnet: Path, traced: Path, tmp_path: Path) -> None:
    import torch

    from tleg.training.device import choose_placement
    from tleg.training.subjects import open_subject

    placement = choose_placement("cpu")
    (item,) = build_exports(BuildRequest(tuned, ("onnx",), output=tmp_path, verify=False))
    for path, folder, depth in ((item.path, tuned, 3), (traced, resnet, None)):
        subject = open_subject(str(path), placement, None)
        assert (subject.kind, list(subject.predictors), subject.classes) == ("onnx", [depth], CLASSES)
        pixels = torch.rand(2, *subject.input_size)
        preprocessing = subject.preprocessing
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (preprocessing.mean, preprocessing.std))
        found = subject.predictors[depth](pixels).numpy()
        assert relative_error(found, timm_logits(folder, ((pixels - mean) / std).numpy())) < 1e-5
        with pytest.raises(InputError, match="depth 3" if depth else "one model"):
            open_subject(str(path), placement, [2])


def test_fine_tuning_hands_the_lineage_on(learngene_file: Path, tmp_path: Path) -> None:
    from tleg.data.datasets import Data
    from tleg.training.init import init_from_checkpoint, init_from_learngene

    data: Any = Data("few", CLASSES, cast(Any, ()), cast(Any, ()))
    ancestry = {"model": "deit_tiny_patch16_224", "top1": 91.5}
    lineage = init_from_learngene(str(learngene_file), 2)(data).lineage
    build_exports(BuildRequest(learngene_file, ("pytorch",), (2,), tmp_path, verify=False))
    later = init_from_checkpoint(str(tmp_path / "tiny-depth2"))(data).lineage
    assert lineage["ancestry"] == later["from"]["ancestry"] == ancestry
    assert lineage["sha256"] == later["from"]["sha256"]
    for index, known in enumerate((lineage, later)):
        folder = save_tuned(tmp_path / f"tuned{index}")
        (folder / "training.json").write_text(json.dumps({"lineage": known}))
        (item,) = build_exports(BuildRequest(folder, ("onnx",), output=tmp_path, verify=False))
        assert item.manifest.ancestry == ancestry
        assert item.manifest.learngene is not None
        assert (item.manifest.learngene.name, item.manifest.learngene.sha256) == ("tiny", lineage["sha256"])
