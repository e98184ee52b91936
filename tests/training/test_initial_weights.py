"""All initial weights: what they make can be trained and is recorded; and one more, which is registered here alone."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.project.test_imports import HEAVY
from tests.training.conftest import PLAIN, VIT, finetune_job, first_images
from tleg.data.datasets import Data
from tleg.errors import InputError
from tleg.learngene.expansion import Expandable
from tleg.models.descendant import expand
from tleg.recipes.finetuning import FinetuneRecipe
from tleg.recipes.initial_weights import INITIAL_WEIGHTS, InitialWeights, baselines, register
from tleg.recipes.io import from_values
from tleg.recipes.training import Recipe
from tleg.training.device import Placement
from tleg.training.finetune import finetune
from tleg.training.init import init_from_learngene, initial_model_of, initial_weights_of

ROOT = Path(__file__).resolve().parents[2]
ARGUMENTS = {"img_size": 8, "patch_size": 2, "embed_dim": 32, "num_heads": 2, "in_chans": 1}
DEPTH = 2


def halved(learngene: Expandable, depth: int, *, num_classes: int, drop_path: float = 0.0) -> Any:
    """The expansion with every weight halved."""
    model = expand(learngene, depth, num_classes=num_classes, drop_path=drop_path)
    with torch.no_grad():
        for value in model.parameters():
            value.mul_(0.5)
    return model


HALVED = InitialWeights(
    name="halved",
    origin="learngene",
    about="the expansion with every weight halved",
    baseline=True,
    maker="tests.training.test_initial_weights:halved",
)


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    register(HALVED)
    yield
    del INITIAL_WEIGHTS[HALVED.name]


@pytest.fixture(scope="module")
def gene(tiny_learngene: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A learngene of digits."""
    path = tmp_path_factory.mktemp("gene") / "gene.safetensors"
    tiny_learngene(VIT, ARGUMENTS, num_classes=10, classes=tuple("0123456789")).save(path)
    return path


@pytest.fixture(scope="module")
def few(digits: Data) -> Data:
    """Digits for one step."""
    images: Any = digits.train
    part = first_images(images, 32)
    return replace(digits, train=part, validation=part)


def values_of(weights: InitialWeights, gene: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The options that choose some initial weights."""
    import timm

    if weights.origin == "learngene":
        return {"learngene": str(gene), "depth": DEPTH} | ({"init": weights.name} if weights.baseline else {})
    # Of three channels, as timm's own weights are.
    arguments: dict[str, Any] = {**ARGUMENTS, "in_chans": 3, "depth": DEPTH + 2 * weights.baseline}
    model = timm.create_model(VIT, num_classes=10, **arguments)
    save_file(model.state_dict(), place / "weights.safetensors")
    if weights.origin == "checkpoint":
        values = {"checkpoint": f"{VIT}:{place / 'weights.safetensors'}", "model-arg": arguments}
        return values | ({"init": f"{weights.name}:{DEPTH}"} if weights.baseline else {})
    if weights.name == "pretrained":
        create = timm.create_model

        def without_download(name: str, **options: Any) -> Any:
            assert options["pretrained"]
            return create(name, **options, pretrained_cfg_overlay={"file": str(place / "weights.safetensors")})

        monkeypatch.setattr(timm, "create_model", without_download)
    return {"model": VIT, "model-arg": arguments, "pretrained": weights.name == "pretrained"}


every = pytest.mark.parametrize("weights", [*INITIAL_WEIGHTS.values(), HALVED], ids=lambda weights: weights.name)


@every
def test_a_model_is_made_trained_and_recorded(
    weights: InitialWeights,
    gene: Path,
    few: Data,
    placement: Placement,
    recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What --init takes is settled when the options are defined; what it is built from is not.
    monkeypatch.setattr("tleg.recipes.finetuning.check_fields", lambda _: None)
    values = values_of(weights, gene, tmp_path, monkeypatch)
    built = from_values("finetune", {"data": "digits", **{key: value for key, value in values.items() if key != "init"}})
    assert isinstance(built, FinetuneRecipe)
    built = replace(built, init=values.get("init"))
    assert initial_weights_of(built) is weights
    torch.manual_seed(1)
    made = initial_model_of(built)(few)
    assert made.model.num_classes == 10
    assert len(list(made.model.get_submodule("blocks").children())) == DEPTH
    assert all(value.isfinite().all() for value in made.model.state_dict().values())
    job = finetune_job(few, initial_model_of(built), recipe=recipe(epochs=1, batch_size=32, augmentation=PLAIN))
    finetune(job, placement, tmp_path / "out")
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["steps"] == 1
    lineage = record["lineage"]
    assert lineage == dict(made.lineage)
    if weights.origin == "learngene":
        assert (lineage["learngene"], lineage["depth"]) == ("gene", DEPTH)
        assert lineage.get("init") == (weights.name if weights.baseline else None)
        assert lineage["head"] == ("kept" if weights.keeps_head else "new")
    elif weights.origin == "model":
        assert lineage == {"model": VIT, "pretrained": weights.name == "pretrained"}
    else:
        assert lineage["checkpoint"] == "weights.safetensors"


def test_they_differ(gene: Path, few: Data) -> None:
    found = set()
    known = [each.name for each in INITIAL_WEIGHTS.values() if each.baseline and each.origin == "learngene"]
    for init in (None, *known):
        torch.manual_seed(0)
        # A depth that does not divide the auxiliary model's: --init layer-skip takes the expansion's layers where it does.
        model: Any = init_from_learngene(str(gene), 5, init=init)(few).model
        found.add(tuple(model.blocks[1].attn.qkv.weight.detach()[0, :4].tolist()))
    assert len(found) == 1 + len(known)


def test_an_unknown_one_is_refused_with_all_that_are_known(gene: Path) -> None:
    with pytest.raises(InputError) as caught:
        init_from_learngene(str(gene), 3, init="halvd")
    known = "scratch, mimetic, share, layer-skip, tied, prune:KEEP, halved"
    assert str(caught.value) == f"unknown init 'halvd': choose {known}. Did you mean 'halved'?"


def test_help_offers_every_baseline(run_python: Any) -> None:
    code = (
        "import tleg.recipes.initial_weights as table\n"
        "table.register(table.InitialWeights(name='halved', origin='learngene', about='', baseline=True))\n"
        "from tleg.cli.app import run; run(['finetune', '--help'])"
    )
    done = run_python(code, cwd=ROOT)
    text = " ".join("".join(character for character in done.stdout if character not in "│").split())
    assert "One of scratch, mimetic, share, layer-skip, tied, prune:KEEP, halved." in text


def test_the_documentation_describes_all_of_them() -> None:
    text = (ROOT / "docs" / "models.md").read_text()
    described = [each for each in INITIAL_WEIGHTS.values() if each is not HALVED]
    assert [each.name for each in described if f"| {each.about} |" not in text] == []
    assert [
        name for name in baselines() if name != HALVED.name and f"--init {INITIAL_WEIGHTS[name].typed}`" not in text
    ] == []


def test_the_table_is_light(run_python: Any) -> None:
    code = f"import sys, tleg.recipes.initial_weights; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    assert run_python(code).stdout.strip() == ""
    with pytest.raises(ValueError, match="halved"):
        register(HALVED)
