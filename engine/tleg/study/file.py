"""The file of a study: arms, each a recipe in part, and over what they are compared. Standard library alone.

All of it is checked when it is read: every recipe that the study will train is made once.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tleg.errors import InputError, did_you_mean
from tleg.recipes import KINDS, Kind
from tleg.recipes.fields import options_of
from tleg.recipes.initial_weights import changes_to_depth
from tleg.recipes.io import default_of, read_toml
from tleg.recipes.recipes import RECIPES
from tleg.serialize import decode
from tleg.study.budget import Budget, read_budget

# What an option names to mean the result of another arm.
ARM: Final = "arm:"
_KEYS: Final = ("title", "seeds", "depths", "epochs", "budget", "data", "common", "arms", "tuning-seeds")
_ARM_KEYS: Final = ("kind", "about", "start", "start-depth", "teacher-depth", "tune")
# What the study decides for every training.
_DECIDED: Final = ("seed", "depth", "evaluate-depths")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to come to models of several depths.

    kind           'learn': one training has every depth. 'train', 'finetune': one training a depth
    about          what it is, in words
    values         option name -> value, those of [common] included
    own            the options that the arm itself gives
    start          the arm whose result it begins with, or None: for 'finetune' a learngene whose descendants are trained, or
                   where it `prunes` one of an arm's models;
                   for 'learn' a learngene or a model; a file is an option like others
    start_depth    which of its models, where every depth of it is one
    teacher        the arm whose model teaches, or None; a teacher of another kind is an option like others
    teacher_depth  which of its models; None where a learngene's arm is trained at every depth alike
    tune           option name -> the values to choose among
    """

    name: str
    kind: Kind
    about: str
    values: Mapping[str, Any]
    own: Mapping[str, Any]
    start: str | None = None
    start_depth: int | None = None
    teacher: str | None = None
    teacher_depth: int | None = None
    tune: Mapping[str, tuple[Any, ...]]

    @property
    def by_depth(self) -> bool:
        """Whether every depth is a training of its own."""
        return self.kind != "learn"

    @property
    def prunes(self) -> bool:
        """Whether its models are made of a trained one, each with the depth that is asked for."""
        return self.kind == "finetune" and changes_to_depth(self.values.get("init"))

    @property
    def needs(self) -> tuple[str, ...]:
        """The arms that are trained before this one."""
        return tuple(each for each in (self.start, self.teacher) if each is not None)

    def choices(self) -> Iterator[dict[str, Any]]:
        """Yield every combination of the values to tune; one that is empty when there is nothing to tune."""
        for values in itertools.product(*self.tune.values()):
            yield dict(zip(self.tune, values, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is compared.

    text          of the file
    seeds         of the trainings that are compared
    tuning_seeds  of those that choose among values, none of `seeds`: what is reported was not selected by
    depths        at which every arm is measured
    data          name -> options about the images
    budget        of every arm that has no epochs of its own; None is what the arms' options say
    """

    title: str
    text: str
    seeds: tuple[int, ...]
    tuning_seeds: tuple[int, ...]
    depths: tuple[int, ...]
    data: Mapping[str, Mapping[str, Any]]
    arms: Mapping[str, Arm]
    budget: Budget | None = None

    @property
    def epochs(self) -> dict[str, Any]:
        """The epochs of each arm; with a budget, of those that have epochs of their own."""
        default = {
            kind: default_of(each, kind) for kind in KINDS for each in options_of(RECIPES[kind]) if each.name == "epochs"
        }
        given = {
            name: arm.values.get("epochs", None if self.budget else default[arm.kind]) for name, arm in self.arms.items()
        }
        return {name: epochs for name, epochs in given.items() if epochs is not None}

    @property
    def budget_document(self) -> dict[str, Any]:
        """The budget as results say it: {"epochs": {ARM: N}}, or {"images": 360000, "of": "family"} and "own" epochs."""
        if self.budget is None:
            return {"epochs": self.epochs}
        return {**self.budget.document, **({"own": self.epochs} if self.epochs else {})}


def read_study(path: Path) -> Study:
    """Read and check the file of a study. Raises FileFormatError for what is no TOML, InputError for what is wrong in it."""
    text, document = read_toml(path, "study")
    return make_study(document, text)


def make_study(document: Mapping[str, Any], text: str = "") -> Study:
    """Return the study of a document. Raises InputError naming what is unknown, missing or wrong."""
    _known(document, _KEYS, "a study")
    seeds = _numbers(document, "seeds", (0,))
    tuning = _numbers(document, "tuning-seeds", (1000,))
    if both := sorted({*seeds} & {*tuning}):
        raise _wrong("tuning-seeds", f"seed {both[0]} is one of seeds as well; what chooses a value must not report it")
    depths = _numbers(document, "depths", None)
    if 0 in depths:
        raise _wrong("depths", "a depth is at least 1")
    common = _table(document, "common")
    of_kinds = {kind: _table(common, kind) for kind in KINDS if kind in common}
    shared = {name: value for name, value in common.items() if name not in of_kinds}
    budget = read_budget(_table(document, "budget")) if "budget" in document else None
    if budget is not None and {"epochs"} & {*document, *shared}:
        raise InputError("give epochs or a [budget], not both", field="study", code="conflict")
    if "epochs" in document:
        shared["epochs"] = document["epochs"]
    known = {each.name for kind in KINDS for each in options_of(RECIPES[kind])}
    _known(shared, known, "[common]")
    arms = {name: _arm(name, _table(_table(document, "arms"), name), shared, of_kinds) for name in _table(document, "arms")}
    data = {name: _table(_table(document, "data"), name) for name in _table(document, "data")}
    title = document.get("title", "A study")
    if not isinstance(title, str):
        raise _wrong("title", "it must be a text")
    if not arms or not data:
        raise _wrong("arms" if not arms else "data", "a study needs at least one, as in [arms.NAME] and [data.NAME]")
    study = Study(
        title=title,
        text=text,
        seeds=seeds,
        tuning_seeds=tuning,
        depths=tuple(sorted(depths)),
        data=data,
        arms=arms,
        budget=budget,
    )
    _check_needs(study)
    return study


def _arm(name: str, own: Mapping[str, Any], shared: Mapping[str, Any], of_kinds: Mapping[Kind, Mapping[str, Any]]) -> Arm:
    where = f"[arms.{name}]"
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise _wrong("arms", f"an arm is called by letters, digits, '-', '_' and '.', not '{name}'")
    kind = own.get("kind")
    if kind not in KINDS:
        raise _wrong("arms", f'{where} needs kind = "learn", "train" or "finetune"')
    options = {each.name for each in options_of(RECIPES[kind])}
    _known(own, (*_ARM_KEYS, *options), where)
    if decided := next((each for each in _DECIDED if each in own), None):
        raise _wrong("arms", f"{where} has {decided}; the study decides it for every training")
    if "start" in own and (other := next((each for each in ("learngene", "checkpoint") if each in own), None)):
        raise _wrong("arms", f"{where} has a start and a {other}; it begins with that of an arm or with that of a file")
    tune = {key: tuple(values) for key, values in _table(own, "tune").items() if isinstance(values, list) and values}
    if left := {*_table(own, "tune")} - {*tune}:
        raise _wrong("arms", f"{where} tunes {min(left)}: give a list of values")
    _known(tune, options, f"{where} tune")
    # What a learning begins with is an option of it, unless it says that it is an arm.
    start = own.get("start")
    arm_keys = set(_ARM_KEYS)
    if "start" in options and not str(start).startswith(ARM):
        arm_keys -= {"start"}
        start = None
    given = {key: value for key, value in own.items() if key not in arm_keys}
    values = {key: value for key, value in shared.items() if key in options}
    for more in (of_kinds.get(kind, {}), given):
        values |= more
    teacher = str(values.get("teacher", ""))
    about = own.get("about", "")
    return Arm(
        name=name,
        kind=kind,
        about=about if isinstance(about, str) else "",
        values=values,
        own=given,
        start=start.removeprefix(ARM) if isinstance(start, str) else None,
        start_depth=own.get("start-depth"),
        teacher=teacher.removeprefix(ARM) if teacher.startswith(ARM) else None,
        teacher_depth=own.get("teacher-depth"),
        tune=tune,
    )


def _check_needs(study: Study) -> None:
    """Arms that another is made from are there, of the right kind, and never in a circle."""
    for name, arm in study.arms.items():
        where = f"[arms.{name}]"
        for other in arm.needs:
            if other not in study.arms:
                raise _wrong(
                    "arms", f"{where} names the arm '{other}', which is not there.{did_you_mean(other, study.arms)}"
                )
        if arm.start is not None:
            by_depth = study.arms[arm.start].by_depth
            if arm.kind == "train" or (arm.kind == "finetune" and by_depth != arm.prunes):
                raise _wrong(
                    "arms",
                    f"{where} has a start: a 'finetune' arm starts from a 'learn' arm, or with init = \"prune\" from a "
                    "model of another; a 'train' arm starts from none",
                )
            if by_depth and arm.start_depth not in study.depths:
                raise _wrong("arms", f"{where} needs start-depth, one of the study's depths: which model of '{arm.start}'")
            deepest = max(study.depths)
            if arm.prunes and arm.start_depth != deepest:
                raise _wrong(
                    "arms",
                    f"{where} makes no depth {deepest} of a model of depth {arm.start_depth}: give start-depth = {deepest}",
                )
        if arm.teacher is not None and study.arms[arm.teacher].by_depth and arm.teacher_depth not in study.depths:
            raise _wrong("arms", f"{where} needs teacher-depth, one of the study's depths: which model of '{arm.teacher}'")
        seen, left = set[str](), list(arm.needs)
        while left:
            each = left.pop()
            if each == name:
                raise _wrong("arms", f"{where} is made from itself")
            if each not in seen:
                seen.add(each)
                left += study.arms[each].needs


def _known(values: Mapping[str, Any], known: Any, where: str) -> None:
    for name in values:
        if name not in known:
            raise InputError(
                f"{where} has an unknown key '{name}'.{did_you_mean(name, known)}", field="study", code="unknown-name"
            )


def _numbers(document: Mapping[str, Any], name: str, default: tuple[int, ...] | None) -> tuple[int, ...]:
    if name not in document:
        if default is None:
            raise InputError(f"a study needs {name}, as in {name} = [3, 6, 12]", field="study", code="missing")
        return default
    numbers = decode(tuple[int, ...], document[name], name)
    if not numbers or len(set(numbers)) != len(numbers) or min(numbers) < 0:
        raise _wrong(name, "give each number once, none below 0")
    return numbers


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = document.get(name, {})
    if not isinstance(table, Mapping):
        raise _wrong(name, "it must be a table")
    return table


def _wrong(name: str, text: str) -> InputError:
    return InputError(f"{name}: {text}", field="study", code="malformed")
