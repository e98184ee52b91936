"""Which fields the form of a training has, in which order, and what it says of them: made from the recipe's own options."""

from collections.abc import Mapping
from typing import Final

from tleg.recipes import Kind
from tleg.recipes.fields import Option, options_of
from tleg.recipes.io import NONE, default_of
from tleg.recipes.presets import presets_of
from tleg.recipes.recipes import RECIPES
from tleg_tui.common.form_fields import NO, YES, FieldSpec
from tleg_tui.train.model import OUTPUT, PARTITION, REPLACE, SLURM, START, STARTS, TIME, is_shown, required_of

PRESET: Final = "preset"
# One line above the form.
HINTS: Final[Mapping[Kind, str]] = {
    "learn": "New here? → fills in an example, and F5 trains it in minutes.",
    "train": "Choose a model by timm's name and your data; the result can teach a learngene.",
    "finetune": "Choose a learngene, its depth and your data: F3 shows what there is.",
}
TITLES: Final[Mapping[Kind, str]] = {"learn": "learn a learngene", "train": "train a model", "finetune": "fine-tune"}
# What most people set; all else is folded away.
MAIN: Final[Mapping[Kind, tuple[str, ...]]] = {
    "learn": (
        *("data", "architecture", "model-arg", "teacher", "start", "auxiliary-depth", "sample-depths"),
        *("epochs", "batch-size", "devices", "precision"),
    ),
    "train": (
        *("model", "checkpoint", "model-arg", "data", "teacher"),
        *("epochs", "batch-size", "lr", "devices", "precision"),
    ),
    "finetune": (
        *("learngene", "depth", "checkpoint", "model", "model-arg", "data", "teacher"),
        *("epochs", "batch-size", "lr", "devices", "precision"),
    ),
}
_DEFAULTS: Final[Mapping[str, str]] = {
    "model-arg": "none; such as patch_size=7 embed_dim=64",
    "teacher": "none: learn from the labels alone",
    "freeze": "nothing",
    "init": "none",
    "start": "none: begin anew",
}
_BOX: Final = (NO, YES)


def main_fields(kind: Kind, *, slurm: bool) -> tuple[FieldSpec, ...]:
    """The fields in front: preset, what matters most, output and, where there is SLURM, the batch job."""
    options = {each.name: each for each in options_of(RECIPES[kind])}
    presets = (NONE, *(preset.name for preset in presets_of(kind)))
    job = (
        FieldSpec(SLURM, "Submit as a batch job instead of training on this machine.", NO, _BOX),
        FieldSpec(PARTITION, "Partition of the batch job.", "the cluster's default"),
        FieldSpec(
            TIME, "Time limit of the batch job, such as 24:00:00; before it is up the run saves.", "the cluster's default"
        ),
    )
    starts = STARTS[kind]
    start = [FieldSpec(START, "What the training starts from: ← → choose.", starts[0], starts)] if starts else []
    result = "a .safetensors file" if kind == "learn" else "a folder that timm loads"
    return (
        FieldSpec(PRESET, "", NONE, presets),
        *start,
        *(field_spec(options[name], kind) for name in MAIN[kind]),
        FieldSpec(OUTPUT, f"Where the result goes as well: {result}.", "the run's own folder"),
        FieldSpec(REPLACE, "Replace what is at the output already.", NO, _BOX),
        *(job if slurm else ()),
    )


def folded_fields(kind: Kind) -> dict[str, tuple[FieldSpec, ...]]:
    """All other fields by group, in the order of the recipe."""
    groups: dict[str, list[FieldSpec]] = {}
    for each in options_of(RECIPES[kind]):
        if each.name not in MAIN[kind]:
            groups.setdefault(each.group, []).append(field_spec(each, kind))
    return {group: tuple(specs) for group, specs in groups.items()}


def field_spec(each: Option, kind: Kind) -> FieldSpec:
    """What the form says of an option."""
    choices = _BOX if each.kind is bool else each.choices
    if choices and each.optional:
        choices = (NONE, *choices)
    required = any(
        is_shown(kind, each.name, {START: start}) and each.name in required_of(kind, {START: start})
        for start in STARTS[kind] or ("",)
    )
    return FieldSpec(each.name, _help(each), _default(each, kind, required), choices, required)


def preset_help(kind: Kind, name: str) -> str:
    """What a preset is."""
    about = {preset.name: preset.about for preset in presets_of(kind)}
    return f"{name}: {about[name]}." if name in about else "← → fill the form from a preset; F2 from a run."


def _default(each: Option, kind: Kind, required: bool) -> str:
    if required:
        return "to be filled in"
    default = default_of(each, kind)
    if each.kind is bool:
        return YES if default else NO
    if default not in (None, {}):
        return f"{default:g}" if isinstance(default, float) else str(default)
    if each.name in _DEFAULTS:
        return _DEFAULTS[each.name]
    _, separator, said = each.help.partition("Default: ")
    return said.rstrip(".") if separator else "none"


def _help(each: Option) -> str:
    if each.kind not in (int, float) or each.least is None or each.most is None:
        return each.help
    return f"{each.help} From {_number(each.least)} to {_number(each.most)}."


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
