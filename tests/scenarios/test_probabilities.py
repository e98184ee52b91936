"""Probabilities that can be trusted: a temperature or a policy is fitted, kept with a model, found in exports, and used."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import tleg
from tleg.learngene.calibration import calibration_in
from tleg.learngene.cascade import policies_in
from tleg.models.learngene import Learngene
from tleg.recipes.evaluation import Evaluation
from tleg.training.outputs import Outputs, collect_outputs

Cli = Callable[..., Any]
CLASSES = tuple(f"class {letter}" for letter in "abcdefg")
IMAGES = 160


@pytest.fixture(scope="module")
def model(tiny_learngene: Any) -> Learngene:
    learngene: Learngene = tiny_learngene(classes=CLASSES)
    return learngene


@pytest.fixture
def gene(model: Learngene, tmp_path: Path) -> Path:
    model.save(tmp_path / "gene.safetensors")
    return tmp_path / "gene.safetensors"


@pytest.fixture(scope="module")
def data(model: Learngene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of noise whose classes are mostly what depth 12 sees in them, and of a third what depth 3 does."""
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(3)
    gene = folder / "gene.safetensors"
    model.save(gene)
    for number in range(IMAGES):
        colour = generator.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        (folder / "all").mkdir(exist_ok=True)
        Image.fromarray(colour).resize((40, 40)).save(folder / "all" / f"{number:03}.png")
    for name in CLASSES:
        for part in ("train", "val"):
            (folder / "set" / part / name).mkdir(parents=True)
    shallow, deep = (tleg.predict(gene, folder / "all", depth) for depth in (3, 12))
    for number, (first, second) in enumerate(zip(shallow, deep, strict=True)):
        said = second if number % 3 else first
        name = said.classes[0].name if generator.random() < 0.7 else CLASSES[generator.integers(7)]
        Path(said.image).rename(folder / "set" / "val" / name / f"{number:03}.png")
    for name in CLASSES:
        for part in ("train", "val"):
            Image.new("RGB", (40, 40)).save(folder / "set" / part / name / "black.png")
    return folder / "set"


def outputs_of(gene: Path, data: Path, depths: str) -> Outputs:
    return collect_outputs(tleg.api.prepare_evaluation(gene, Evaluation(data=str(data), depths=depths)))


def test_a_temperature_is_fitted_on_one_half_and_shown_on_the_other(gene: Path, data: Path) -> None:
    result = tleg.calibrate(gene, data, [2, 3], each_depth=True, seed=5)
    seen = outputs_of(gene, data, "2,3")
    fit, rest = seen.halves(5)
    assert result.calibration.images == len(fit) == (IMAGES + 7) // 2
    assert result.images == len(rest)
    assert result.calibration.data.endswith("validation")
    for depth, each in result.depths.items():
        assert each.temperature == result.calibration.at(depth)
        for temperature, found in ((1.0, each.before), (each.temperature, each.after)):
            logits = rest.logits[depth].double() / temperature
            assert found.nll == pytest.approx(F.cross_entropy(logits, rest.labels).item())
            assert found.top1 == pytest.approx(100 * (logits.argmax(1) == rest.labels).double().mean().item())
    # On its own half each depth's temperature is the best of all, and that of all depths is best for them together.
    grid = torch.logspace(-1, 1, 81).tolist()

    def nll(depth: int, temperature: float) -> float:
        return F.cross_entropy(fit.logits[depth].double() / temperature, fit.labels).item()

    for depth in (2, 3):
        assert nll(depth, result.calibration.at(depth)) <= min(nll(depth, each) for each in grid) + 1e-7
    together = result.calibration.temperature
    assert sum(nll(depth, together) for depth in (2, 3)) <= min(nll(2, each) + nll(3, each) for each in grid) + 1e-7


def test_the_command_shows_and_keeps_it(gene: Path, data: Path, run_cli: Cli) -> None:
    words = ("evaluate", gene, "--data", data, "--depths", "2,3", "--calibrate")
    shown = run_cli(*words)
    assert shown.code == 0, shown.stderr
    assert shown.stdout.splitlines()[0].split() == [
        *("depth", "temperature", "top-1", "%", "ECE", "%", "after", "NLL", "after"),
    ]
    document = json.loads(run_cli(*words, "--json").stdout)
    result = tleg.calibrate(gene, data, [2, 3])
    for line, row, (depth, each) in zip(
        shown.stdout.splitlines()[1:], document["results"], result.depths.items(), strict=True
    ):
        assert row["depth"] == depth
        assert row["after"] == {"ece": each.after.ece, "nll": each.after.nll, "top1": each.after.top1}
        numbers = (each.temperature, each.before.top1, each.before.ece, each.after.ece, each.before.nll, each.after.nll)
        assert [float(text) for text in line.split()] == pytest.approx([depth, *numbers], abs=0.006)
    assert document["calibration"]["temperature"] == result.calibration.temperature
    assert calibration_in(tleg.read_header(gene).learned) is None

    before = tleg.load(gene)
    kept = run_cli(*words, "--save-temperature")
    assert kept.code == 0, kept.stderr
    after = tleg.load(gene)
    assert calibration_in(after.header.learned) == result.calibration
    assert after.header.sha256 == before.header.sha256
    # The same again is no change; another one needs --force.
    assert run_cli(*words, "--save-temperature").code == 0
    other = run_cli(*words, "--seed", 1, "--save-temperature")
    assert other.code == 2
    assert "keeps the temperature" in other.stderr
    assert "--force replaces it" in other.stderr
    assert calibration_in(tleg.read_header(gene).learned) == result.calibration
    assert run_cli(*words, "--seed", 1, "--save-temperature", "--force").code == 0
    inspected = run_cli("inspect", gene).stdout
    assert "Probabilities   temperature " in inspected
    assert "calibration:" not in inspected


def test_predictions_use_it_and_say_so_from_exports_too(gene: Path, data: Path, tmp_path: Path, run_cli: Cli) -> None:
    picture = next((data / "val").glob("*/0*.png"))
    raw = tleg.predict(gene, picture, 3, top=7)[0].classes
    result = tleg.calibrate(gene, data, [2, 3], each_depth=True, save=True)
    temperature = result.calibration.at(3)
    assert temperature != result.calibration.temperature
    expected = {each.name: each.probability ** (1 / temperature) for each in raw}
    total = sum(expected.values())
    built = tleg.build(gene, [3], ["onnx", "onnx-elastic", "pytorch"], tmp_path / "exports")
    plain, elastic, folder = (item.path for item in built)
    for path, depth in ((gene, 3), (plain, None), (elastic, 3), (folder, None)):
        (said,) = tleg.predict(path, picture, depth, top=7)
        for each in said.classes:
            assert each.probability == pytest.approx(expected[each.name] / total, abs=1e-5)
        (unscaled,) = tleg.predict(path, picture, depth, top=7, temperature=1)
        assert [each.name for each in unscaled.classes] == [each.name for each in raw]
        for one, two in zip(unscaled.classes, raw, strict=True):
            assert one.probability == pytest.approx(two.probability, abs=1e-5)
    told = run_cli("predict", plain, picture)
    assert f"outputs are divided by the temperature {temperature:g}, fitted to" in told.stderr
    document = json.loads(run_cli("predict", plain, picture, "--json").stdout)
    assert document["temperature"] == temperature
    # Without tleg: the metadata says it.
    texts = {path: onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map for path in (plain, elastic)}
    assert json.loads(texts[plain]["temperature"]) == temperature
    assert json.loads(texts[elastic]["temperature"]) == result.calibration.by_depth
    assert tleg.verify(plain, gene).passed


def test_another_head_size_or_layout_has_no_temperature(gene: Path, data: Path, tmp_path: Path) -> None:
    tleg.calibrate(gene, data, [2, 3], save=True)
    picture = next((data / "val").glob("*/0*.png"))
    others: tuple[dict[str, Any], ...] = ({"num_classes": 5}, {"layout": "official"}, {"image_size": 64})
    for number, options in enumerate(others):
        for item in tleg.build(gene, [3], ["onnx", "pytorch"], tmp_path / str(number), **options):
            one, two = (tleg.predict(item.path, picture, temperature=each) for each in (None, 1.0))
            assert one == two
        texts = onnxruntime.InferenceSession(next((tmp_path / str(number)).glob("*.onnx"))).get_modelmeta()
        assert "temperature" not in texts.custom_metadata_map


def test_folders_keep_it_in_their_record(gene: Path, data: Path, tmp_path: Path, run_cli: Cli) -> None:
    (built,) = tleg.build(gene, [3], ["pytorch"], tmp_path)
    refused = run_cli("evaluate", built.path, "--data", data, "--calibrate", "--save-temperature")
    assert refused.code == 2
    assert "its manifest holds the hash of every file" in refused.stderr
    # A folder as timm writes it.
    built.manifest_path.unlink()
    result = tleg.calibrate(built.path, data, save=True)
    record = json.loads((built.path / "training.json").read_text())
    assert list(record) == ["calibration"]
    (exported,) = tleg.build(built.path, exports=["onnx"], output=tmp_path / "onnx")
    metadata = onnxruntime.InferenceSession(exported.path).get_modelmeta().custom_metadata_map
    assert json.loads(metadata["temperature"]) == result.calibration.temperature
    assert result.depths.keys() == {3}
    assert tleg.verify(exported.path, built.path).passed


def test_a_cascade_is_chosen_kept_and_used(gene: Path, data: Path, tmp_path: Path, run_cli: Cli) -> None:
    words = ("evaluate", gene, "--data", data, "--cascade", "3,12", "--max-drop", 2)
    result = tleg.choose_cascade(gene, data, [3, 12], max_drop=2)
    fit, rest = outputs_of(gene, data, "3,12").halves(0)
    shown = run_cli(*words)
    assert shown.code == 0, shown.stderr
    chosen = next(line for line in shown.stdout.splitlines() if line.endswith("chosen"))
    assert float(chosen.split()[0]) == result.policy.threshold == result.chosen.threshold
    assert json.loads(run_cli(*words, "--json").stdout)["policy"]["threshold"] == result.policy.threshold
    assert 0 < result.chosen.early < 1
    # The cheapest of those that are good enough, on the first half.
    deepest = 100 * (fit.logits[12].argmax(1) == fit.labels).double().mean().item()
    cost = tleg.read_header(gene).cost

    def at(half: Any, threshold: float) -> tuple[float, float, float]:
        first, second = (half.logits[d].double() / t for d, t in zip((3, 12), result.policy.temperatures, strict=True))
        stops = first.softmax(1).amax(1) >= threshold
        right = torch.where(stops, first.argmax(1), second.argmax(1)) == half.labels
        macs = cost.at(3).macs + (~stops).double().mean().item() * cost.at(12).macs
        return 100 * right.double().mean().item(), macs, stops.double().mean().item()

    good = [row.threshold for row in result.rows if at(fit, row.threshold)[0] >= deepest - 2 - 1e-9]
    assert result.policy.threshold == min(good, key=lambda each: at(fit, each)[1])
    for row in result.rows:
        assert (row.top1, row.macs, row.early) == pytest.approx(at(rest, row.threshold))
        assert row.blocks == pytest.approx(3 + 12 * (1 - row.early))

    pictures = sorted((data / "val" / CLASSES[0]).glob("*.png")) + sorted((data / "val" / CLASSES[1]).glob("*.png"))
    missing = run_cli("predict", gene, *pictures, "--cascade", "3,12")
    assert missing.code == 2
    assert "keeps no policy for the cascade 3,12" in missing.stderr
    assert run_cli(*words, "--save-policy").code == 0
    assert policies_in(tleg.read_header(gene).learned) == (result.policy,)
    said = tleg.predict(gene, pictures, cascade=[3, 12], top=7)
    alone = {
        depth: tleg.predict(gene, pictures, depth, temperature=temperature, top=7)
        for depth, temperature in zip((3, 12), result.policy.temperatures, strict=True)
    }
    for index, each in enumerate(said):
        sure = alone[3][index].classes[0].probability >= result.policy.threshold
        assert each.depth == (3 if sure else 12)
        assert each.classes == alone[each.depth][index].classes
    assert {each.depth for each in said} == {3, 12}
    told = run_cli("predict", gene, *pictures, "--cascade", "3,12")
    assert f"a depth answers from a probability of {result.policy.threshold:g} on" in told.stderr
    assert "outputs are divided by the temperatures " in told.stderr
    assert f"depth {said[0].depth:>2}" in told.stdout.splitlines()[0]
    (elastic,) = tleg.build(gene, exports=["onnx-elastic"], output=tmp_path / "exports")
    again = tleg.predict(elastic.path, pictures, cascade=[3, 12], top=7)
    assert [each.depth for each in again] == [each.depth for each in said]
    # Such a file does not say what its depths cost: blocks are counted, and decide.
    there = tleg.choose_cascade(elastic.path, data, [3, 12], max_drop=2)
    assert (there.policy.threshold, there.chosen.blocks) == (result.policy.threshold, result.chosen.blocks)
    assert {row.macs for row in there.rows} == {None}
    # Asked for by hand: everything at depth 3, and nothing.
    assert {each.depth for each in tleg.predict(gene, pictures, cascade=[3, 12], threshold=0)} == {3}
    assert {each.depth for each in tleg.predict(gene, pictures, cascade=[3, 12], threshold=1)} == {12}


@pytest.mark.skipif(not Path("/usr/share/datasets/fashion-mnist").is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_the_shipped_learngene_is_less_sure_than_it_might_be() -> None:
    result = tleg.calibrate("fashion-mnist", "fashion-mnist", [3], limit=6000)
    found = result.depths[3]
    assert found.temperature == pytest.approx(0.72, abs=0.05)
    assert 5 < found.before.ece < 10
    assert found.after.ece < 4
    assert found.after.nll < found.before.nll - 0.03


def test_no_threshold_that_keeps_the_accuracy_is_told_with_the_best(
    gene: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tleg.training.cascade.THRESHOLDS", (0.0,))
    with pytest.raises(tleg.TlegError, match=r"no threshold keeps the cascade 2,3 within 0 points of depth 3 .* below"):
        tleg.choose_cascade(gene, data, [2, 3], max_drop=0)


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        (("--calibrate", "--record"), "conflict", "record"),
        (("--calibrate", "--cascade", "3,8"), "conflict", "cascade"),
        (("--calibrate", "--per-class"), "conflict", "per-class"),
        (("--calibrate", "--knn"), "conflict", "knn"),
        (("--cascade", "3,8", "--depths", "3,8"), "conflict", "depths"),
        (("--cascade", "8,3"), "malformed", "cascade"),
        (("--cascade", "3"), "malformed", "cascade"),
        (("--cascade", "3,8", "--max-drop", "-1"), "out-of-range", "max-drop"),
        (("--cascade", "3,8", "--save-temperature"), "conflict", "save-temperature"),
        (("--each-depth",), "conflict", "each-depth"),
        (("--max-drop", "2"), "conflict", "max-drop"),
        (("--calibrate", "--force"), "conflict", "force"),
        (("--calibrate", "--save-policy"), "conflict", "save-policy"),
    ],
)
def test_what_makes_no_sense_is_refused(
    gene: Path, data: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: str, field: str
) -> None:
    monkeypatch.setenv("TLEG_ERRORS", "json")
    done = run_cli("evaluate", gene, "--data", data, *words)
    told = json.loads(done.stderr.splitlines()[-1])
    assert (done.code, told["code"], told["field"]) == (2, code, field)


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        (("--cascade", "3,8", "--threshold", "1.5"), "out-of-range", "threshold"),
        (("--cascade", "3,8", "--depth", "3"), "conflict", "depth"),
        (("--cascade", "3,8", "--temperature", "2"), "conflict", "temperature"),
        (("--depth", "3", "--threshold", "0.5"), "conflict", "threshold"),
        (("--depth", "3", "--temperature", "0"), "out-of-range", "temperature"),
        (("--cascade", "8,3"), "malformed", "cascade"),
        (("--cascade", "3,8"), "missing", "threshold"),
    ],
)
def test_predictions_that_make_no_sense_are_refused(
    gene: Path, data: Path, run_cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: str, field: str
) -> None:
    monkeypatch.setenv("TLEG_ERRORS", "json")
    done = run_cli("predict", gene, data / "val" / CLASSES[0], *words)
    told = json.loads(done.stderr.splitlines()[-1])
    assert (done.code, told["code"], told["field"]) == (2, code, field)


def test_what_has_no_probabilities_is_refused(
    tiny_learngene: Any, gene: Path, data: Path, tmp_path: Path, run_cli: Cli
) -> None:
    headless = tmp_path / "headless.safetensors"
    tiny_learngene(num_classes=0).save(headless)
    unlabelled = f"unlabelled:{data / 'val'}"
    (tmp_path / "one" / "train" / "only").mkdir(parents=True)
    (tmp_path / "one" / "val" / "only").mkdir(parents=True)
    for number in range(4):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "one" / "val" / "only" / f"{number}.png")
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "one" / "train" / "only" / f"{number}.png")
    single = tmp_path / "single.safetensors"
    tiny_learngene(num_classes=1, classes=("only",)).save(single)
    for path, place, words in (
        (headless, data, "backbone without a classifier"),
        (gene, unlabelled, "has no labels to measure against"),
        (single, tmp_path / "one", "a model of one class is always sure of it"),
    ):
        for options in (("--calibrate", "--depths", "3"), ("--cascade", "3,8")):
            done = run_cli("evaluate", path, "--data", place, *options)
            assert done.code == 2, done.stderr
            assert words in done.stderr
    shipped = run_cli("evaluate", "fashion-mnist", "--data", "fashion-mnist", "--calibrate", "--save-temperature")
    assert shipped.code == 2
    assert "--save-temperature writes into a learngene file or a folder that timm loads" in shipped.stderr
    (built,) = tleg.build(gene, [3], ["onnx"], tmp_path)
    cascade = run_cli("evaluate", built.path, "--data", data, "--cascade", "3,8")
    assert cascade.code == 2
    assert "--cascade is for learngenes and elastic ONNX files" in cascade.stderr
