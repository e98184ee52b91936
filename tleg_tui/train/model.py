"""The form of a training without its widgets: texts of fields, the values that they mean, the recipe, what is wrong where.

A text that is empty is a field that is not given, so that the default holds.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from tleg.errors import InputError
from tleg.launch import training_command
from tleg.recipes import Kind
from tleg.recipes.fields import Option, check_value, options_of
from tleg.recipes.io import NONE, argument_pairs, find_problems, from_values, parse_arguments, read_value, to_values
from tleg.recipes.recipes import RECIPES, TrainingRecipe
from tleg.runs.slurm import SlurmOptions
from tleg.runs.spec import RunSpec
from tleg_tui.common.form_fields import NO, YES
from tleg_tui.common.learngenes import resolve_path
from tleg_tui.common.wording import explained

# The choice among STARTS, where there is one. Of other kinds it is an option's name, of a text.
START: Final = "start"
# What each kind of training may start from; the first is the one that is meant when nothing is said.
STARTS: Final[Mapping[Kind, tuple[str, ...]]] = {
    "learn": (),
    "train": ("model", "checkpoint"),
    "finetune": ("learngene", "checkpoint", "model"),
}
# Fields that say where the result goes, and how the training is started.
OUTPUT, REPLACE, SLURM, PARTITION, TIME = "output", "replace", "slurm", "partition", "time"
# Those whose texts are, or may be, paths.
PLACES: Final = ("data", "teacher", "learngene", "checkpoint", "start", OUTPUT)

# Which of the starts of a training a field belongs to; the others are not shown, and do not count.
_BELONGS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("learngene", "depth", "drop-path"), ("learngene",)),
    "init": ("learngene", "checkpoint"),
    **dict.fromkeys(("checkpoint", "weights"), ("checkpoint",)),
    "model-arg": ("checkpoint", "model"),
    **dict.fromkeys(("model", "pretrained", "initial-matrices"), ("model",)),
}
# Options whose texts have a grammar of their own, which the recipe reads.
_OWN_GRAMMAR: Final = (
    *("basis", "expand", "auxiliary-depth", "sample-depths", "warmup-depth", "evaluate-depths"),
    *("device", "freeze", "depth", "pixel-range", "image-size", "sample-sizes"),
)
# The least that a recipe must have, with names that nothing has.
_LEAST: Final[Mapping[str, Mapping[str, Any]]] = {
    "learn": {"architecture": "?", "data": "?"},
    "train": {"data": "?", "checkpoint": "?"},
    "finetune": {"data": "?", "checkpoint": "?"},
}


@dataclass(frozen=True, slots=True)
class Reading:
    """What the texts of a form mean.

    recipe    None while something is wrong or missing
    values    option name -> value, of what is right
    problems  field -> what is wrong with it, as a sentence; '' is the whole form
    missing   fields that have to be filled in
    command   the words of the command line; None while something is wrong. Where something is missing, it says what
    """

    recipe: TrainingRecipe | None
    values: Mapping[str, Any]
    problems: Mapping[str, str]
    missing: tuple[str, ...]
    command: tuple[str, ...] | None
    output: str | None = None
    overwrite: bool = False
    slurm: SlurmOptions | None = None


def is_shown(kind: Kind, name: str, texts: Mapping[str, str]) -> bool:
    """Whether a field makes sense beside the others."""
    if name in (PARTITION, TIME):
        return texts.get(SLURM) == YES
    if STARTS[kind] and name in _BELONGS:
        return start_of(kind, texts) in _BELONGS[name]
    return True


def start_of(kind: Kind, texts: Mapping[str, str]) -> str:
    """What a training starts from: an option's name."""
    return texts.get(START) or STARTS[kind][0]


def required_of(kind: Kind, texts: Mapping[str, str]) -> tuple[str, ...]:
    """The fields that must be filled in."""
    if not STARTS[kind]:
        return tuple(each.name for each in options_of(RECIPES[kind]) if each.required)
    start = start_of(kind, texts)
    return (start, "depth", "data") if start == "learngene" else (start, "data")


def read_form(kind: Kind, texts: Mapping[str, str], more: Sequence[str] = ()) -> Reading:
    """Read all fields. `more` are further words of the command line, such as the folder of the runs."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for each in options_of(RECIPES[kind]):
        text = texts.get(each.name, "").strip()
        # What may be unset is unset by this word, unless it may be the name of something.
        not_chosen = each.optional and each.default is None and text == NONE and each.name not in PLACES
        if not text or not_chosen or not is_shown(kind, each.name, texts):
            continue
        try:
            values[each.name] = _read_alone(kind, each, text)
        except InputError as error:
            problems[each.name] = str(error)
    missing = tuple(name for name in required_of(kind, texts) if name not in values and name not in problems)
    job = _read_job(texts, problems)
    output = None
    try:
        output = _clean_place(texts.get(OUTPUT, "").strip()) or None
    except InputError as error:
        problems[OUTPUT] = str(error)
    overwrite = output is not None and texts.get(REPLACE) == YES
    recipe, command = None, None
    if not problems:
        recipe = _combine(kind, values, missing, problems)
    if recipe is not None:
        words = [*training_command(recipe, output), *(["--force"] if overwrite else []), *_job_words(job), *more]
        command = tuple(_with_gaps(kind, words, missing))
    return Reading(None if missing else recipe, values, problems, missing, command, output, overwrite, job)


def read_text(each: Option, text: str) -> Any:
    """Return the value that a text means. Raises InputError naming the option."""
    value: Any = text
    try:
        if each.kind is bool:
            value = {YES: True, NO: False}.get(text, text)
        elif each.kind in (int, float) and not (each.optional and text == "none"):
            value = each.kind(text)
        elif each.kind is dict:
            value = parse_arguments(shlex.split(text), each.name)
        elif each.name in PLACES:
            value = _clean_place(text)
    except ValueError as error:
        if each.kind is dict:
            problem = f"{each.name} has a quotation mark that is not closed"
            raise InputError(problem, field=each.name, code="malformed") from error
    value = read_value(each, value)
    check_value(each, value)
    return value


def text_of(each: Option, value: Any) -> str:
    """Return a value as it is typed; `read_text` reads it as the same."""
    if value is None:
        return "none"
    if each.kind is bool:
        return YES if value else NO
    if each.kind is dict:
        return shlex.join(argument_pairs(value))
    return str(value)


def texts_of(kind: Kind, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts of a recipe's values. Values that the form does not know are left out."""
    options = {each.name: each for each in options_of(RECIPES[kind])}
    texts = {name: text_of(options[name], value) for name, value in values.items() if name in options}
    if (start := next((name for name in STARTS[kind] if name in values), None)) is not None:
        texts[START] = start
    return texts


def texts_of_run(spec: RunSpec) -> dict[str, str]:
    """Return the texts of a run's recipe, without what is a default; relative paths start where the run works.

    Raises InputError for a recipe of another version. Looks whether paths exist.
    """
    kind = cast(Kind, spec.kind)
    texts = texts_of(kind, to_values(from_values(kind, spec.recipe), complete=False))
    for name in PLACES:
        # A word of the form may be called as an option of another kind is.
        if (
            name in texts
            and name in spec.recipe
            and not Path(texts[name]).exists()
            and (path := Path(spec.folder) / texts[name]).exists()
        ):
            texts[name] = str(path)
    return texts


@dataclass(slots=True)
class Overlay:
    """A preset laid over the texts of a form: taking it off again, or another one, brings back what it covered."""

    covered: dict[str, str] = field(default_factory=dict)
    laid: dict[str, str] = field(default_factory=dict)

    def replace(self, texts: dict[str, str], laid: Mapping[str, str]) -> None:
        """Take off what was laid over the texts, as far as nobody has changed it since, and lay something else over them."""
        for name, text in self.laid.items():
            if texts.get(name, "") == text:
                texts[name] = self.covered[name]
        self.laid = dict(laid)
        self.covered = {name: texts.get(name, "") for name in laid}
        texts.update(laid)


def _read_alone(kind: Kind, each: Option, text: str) -> Any:
    value = read_text(each, text)
    if each.name in _OWN_GRAMMAR:
        least = {"data": "?", "learngene": "?"} if each.name == "depth" else _LEAST[kind]
        from_values(kind, {**least, each.name: value})
    return value


def _combine(
    kind: Kind, values: Mapping[str, Any], missing: tuple[str, ...], problems: dict[str, str]
) -> TrainingRecipe | None:
    """The recipe, names standing for what is missing; or the contradictions, each at the field that it is about."""
    complete = {**values, **{name: "1" if name == "depth" else "?" for name in missing}}
    found = find_problems(kind, complete)
    problems.update({name: explained(error) for name, error in found.items()})
    return None if found else from_values(kind, complete)


def _with_gaps(kind: Kind, words: list[str], missing: tuple[str, ...]) -> list[str]:
    """The words with what is to be filled in, in capitals, where something is missing."""
    options = {each.name: each for each in options_of(RECIPES[kind])}
    for name in missing:
        words[words.index(f"--{name}") + 1] = options[name].metavar or "N"
    return words


def _read_job(texts: Mapping[str, str], problems: dict[str, str]) -> SlurmOptions | None:
    if texts.get(SLURM) != YES:
        return None
    asked: dict[str, str] = {}
    for name in (PARTITION, TIME):
        if text := texts.get(name, "").strip():
            try:
                SlurmOptions(**{name: text})  # type: ignore[arg-type]  # both are texts
                asked[name] = text
            except InputError as error:
                problems[name] = str(error)
    return SlurmOptions(**asked)  # type: ignore[arg-type]  # both are texts


def _job_words(job: SlurmOptions | None) -> list[str]:
    if job is None:
        return []
    words = ["--slurm"]
    for name, value in ((PARTITION, job.partition), (TIME, job.time)):
        words += [] if value is None else [f"--{name}", value]
    return words


def _clean_place(text: str) -> str:
    """A path as a shell would give it: without quotes, 'file://' and '~'."""
    if text.startswith(("~", "file://", "'", '"')):
        return str(resolve_path(text))
    return text
