"""The fields of the form."""

from tleg.recipes.fields import options_of
from tleg.recipes.recipes import RECIPES
from tleg_tui.train.field_specs import PRESET, folded_fields, main_fields
from tleg_tui.train.model import START, STARTS


def test_every_option_has_one_field() -> None:
    for kind in RECIPES:
        front = [spec.name for spec in main_fields(kind, slurm=True)]
        folded = [spec.name for specs in folded_fields(kind).values() for spec in specs]
        own = {"preset", *([START] if STARTS[kind] else []), "output", "replace", "slurm", "partition", "time"}
        assert sorted({*front, *folded} - own) == sorted(each.name for each in options_of(RECIPES[kind]))
        assert len(front) + len(folded) == len({*front, *folded})
        specs = {spec.name: spec for spec in main_fields(kind, slurm=False)}
        assert "slurm" not in specs
        assert specs[PRESET].choices[:2] == ("none", {"learn": "example", "train": "quick", "finetune": "paper-des-s"}[kind])
        assert specs["data"].required
        assert specs["epochs"].default == ("30" if kind == "learn" else "10")
        assert specs["epochs"].help == "Passes over the training images. From 1 to 100,000."
