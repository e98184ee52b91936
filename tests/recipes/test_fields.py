"""Options of every command come from one definition, which says their range: nothing outside of it is computed with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from tleg.cli.app import UsageProblem, app, register_commands
from tleg.cli.build import BuildOptions
from tleg.cli.control import ResumeOptions, StopOptions
from tleg.cli.family import FamilyOptions
from tleg.cli.imports import ImportOptions
from tleg.cli.options import takes_options
from tleg.cli.preview import PreviewOptions
from tleg.cli.runs import LogsOptions
from tleg.cli.study import StudyOptions
from tleg.errors import InputError
from tleg.recipes.analysis import Analysis
from tleg.recipes.benchmark import Benchmark
from tleg.recipes.building import build_options
from tleg.recipes.compression import CompressOptions
from tleg.recipes.evaluation import Evaluation
from tleg.recipes.fields import Option, option, options_of
from tleg.recipes.finetuning import FinetuneRecipe, TrainRecipe
from tleg.recipes.fitting import Fitting
from tleg.recipes.learning import LearnRecipe
from tleg.recipes.precision import PrecisionOptions
from tleg.recipes.prediction import Prediction

DEFINITIONS: dict[str, type | tuple[type, ...]] = {
    "benchmark": Benchmark,
    "build": (BuildOptions, PrecisionOptions),
    "analyze": Analysis,
    "compress": CompressOptions,
    "evaluate": Evaluation,
    "family": FamilyOptions,
    "finetune": FinetuneRecipe,
    "fit": Fitting,
    "import": ImportOptions,
    "learn": LearnRecipe,
    "logs": LogsOptions,
    "predict": Prediction,
    "preview": PreviewOptions,
    "resume": ResumeOptions,
    "stop": StopOptions,
    "study": StudyOptions,
    "train": TrainRecipe,
}
# Depths have a check of their own, which also says why.
DEPTHS = {"depth", "auxiliary-depth", "warmup-depth"}


def number_options() -> Iterator[tuple[str, Any]]:
    """Every option of every command that takes a number."""
    register_commands()
    commands: Any = typer.main.get_command(app)
    for name, command in commands.commands.items():
        for parameter in command.params:
            if parameter.param_type_name == "option" and parameter.type.name.startswith(("int", "float")):
                yield name, parameter


def test_every_number_comes_from_a_definition_that_says_its_range() -> None:
    seen = 0
    for command, parameter in number_options():
        definitions = DEFINITIONS[command]
        kinds = definitions if isinstance(definitions, tuple) else (definitions,)
        known = {f"--{each.name}": each for kind in kinds for each in options_of(kind)}
        each = known[next(name for name in parameter.opts if name.startswith("--"))]
        seen += 1
        if each.name not in DEPTHS:
            assert each.least is not None, f"{command} --{each.name} has no least"
            assert each.most is not None, f"{command} --{each.name} has no most"
    assert seen > 60


def numbers_of(kind: type) -> list[Option]:
    return [each for each in options_of(kind) if (each.item or each.kind) in (int, float) and each.least is not None]


@given(data=st.data())
def test_what_is_out_of_range_is_refused_by_name(data: st.DataObject) -> None:
    kinds = (Analysis, Evaluation, Fitting, BuildOptions, ImportOptions, LogsOptions, PreviewOptions, StopOptions)
    kind = data.draw(st.sampled_from(kinds))
    each = data.draw(st.sampled_from(numbers_of(kind)))
    assert each.least is not None
    assert each.most is not None
    number = each.item or each.kind
    outside: list[Any] = [number(each.least) - 1, number(each.most) + 1, 10**400, -(10**400)]
    if number is float:
        outside += [float("nan"), float("inf"), float("-inf")]
    value = data.draw(st.sampled_from(outside))
    needed = {other.name: "x" for other in options_of(kind) if other.required}
    with pytest.raises(InputError, match=f"^{each.name}(: | must be )") as error:
        build_options(kind, {**needed, each.name: (value,) if each.kind is list else value})
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    "words",
    [
        "--validation-split 2",
        "--validation-split 0",
        "--validation-split -1",
        "--validation-split nan",
        "--validation-split inf",
        "--validation-split 1e-9",
        "--seed -1",
        "--seed 99999999999",
        "--limit 0",
        "--limit -5",
        "--batch-size 0",
        "--batch-size 99999999999",
        "--workers -1",
        "--workers 100000",
        "--precision float64",
        "--device tpu",
        "--device cuda:\N{SUPERSCRIPT TWO}",
        "--depths 0",
        "--depths 3-2000",
        "--limit 5 --record",
        "--force",
    ],
)
def test_evaluate_refuses_before_it_opens_anything(run_cli: Any, words: str) -> None:
    done = run_cli("evaluate", "absent.safetensors", "--data", "absent", *words.split())
    assert done.code == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert words.split()[0].strip("-").removesuffix("s") in done.stderr
    assert "absent" not in done.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("build fashion-mnist --depth 0", "depth 0 is out of range: choose 1 to 1024"),
        ("build x --depth 4 --num-classes 0", "num-classes: a model has 1 to 10,000,000 classes, not 0"),
        ("build x --depth 4 --num-classes -3", "num-classes: a model has 1 to 10,000,000 classes, not -3"),
        ("preview fashion-mnist --batch 0", "batch: a batch has at least 1 image and at most 1,000,000, not 0"),
        (f"preview fashion-mnist --batch 1{'0' * 400}", "batch: a batch has at least 1 image"),
        ("stop x --kill-after nan", "kill-after must be from 0"),
        ("stop x --kill-after inf", "kill-after must be from 0"),
        ("stop x --kill-after -1", "kill-after must be from 0"),
        ("logs x --lines -1", "lines must be from 0"),
        (f"logs x --lines 1{'0' * 30}", "lines must be from 0"),
        ("import x.pth --output y --heads 0", "heads must be from 1"),
        ("import x.pth --output y --auxiliary-depth 5000", "auxiliary-depth must be from 1 to 1024"),
        ("resume x --epochs 0", "epochs must be from 1"),
        ("resume x --workers 100000", "workers must be from 0"),
        (
            f"learn --architecture vit_tiny_patch16_224 --data x --epochs 1{'0' * 400} --print-recipe",
            "epochs must be from 1",
        ),
        ("finetune --model vit_tiny_patch16_224 --data x --model-arg drop_rate=NaN --print-recipe", "model-arg drop_rate"),
        ("finetune --model vit_tiny_patch16_224 --data x --model-arg a=[1,1e999] --print-recipe", "finite numbers"),
        ("finetune --model vit_tiny_patch16_224 --data x --lr inf --print-recipe", "lr must be from"),
    ],
)
def test_other_commands_refuse_as_well(run_cli: Any, words: str, says: str) -> None:
    done = run_cli(*words.split())
    assert done.code == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert says in done.stderr


def test_help_promises_no_more_than_is_true(run_cli: Any) -> None:
    shown = " ".join(run_cli("learn", "--help").stdout.replace("│", " ").split())
    assert "nearly the same result (batch norm and dropout see parts)" in shown
    assert ", the same result" not in shown


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Options of their own."""

    upright: bool | None = option(None, help="Or as it lies.")


@dataclass(frozen=True, kw_only=True)
class Outer:
    """One of each kind."""

    place: str = option(help="Where.")
    count: int = option(3, help="How many.", least=1, most=9, letter="c")
    loud: bool = option(False, help="Say more.")
    parts: tuple[int, ...] = option((), help="Some.", least=1, most=9)
    words: Mapping[str, Any] = option({}, help="KEY=VALUE.", name="word")
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--place x", Outer(place="x")),
        ("--place x -c 4 --loud --no-upright", Outer(place="x", count=4, loud=True, inner=Inner(upright=False))),
        ("--place x --parts 2 --parts 9 --upright", Outer(place="x", parts=(2, 9), inner=Inner(upright=True))),
        ("--place x --word a=1 --word b=y", Outer(place="x", words={"a": 1, "b": "y"})),
        ("", "Missing option '--place'"),
        ("--place x --count 10", "count must be from 1 to 9, not 10"),
        ("--place x --parts 2 --parts 0", "parts must be from 1 to 9, not 0"),
        ("--place x --no-loud", "No such option"),
    ],
)
def test_a_command_gets_the_options_of_any_definition(words: str, expected: Any) -> None:
    own = typer.Typer(add_completion=False)
    seen: list[Outer] = []

    @own.command()
    @takes_options
    def command(options: Outer) -> None:
        """Take note."""
        seen.append(options)

    if isinstance(expected, str):
        with pytest.raises((UsageProblem, InputError)) as error:
            own(words.split(), standalone_mode=False)
        assert expected in getattr(error.value, "format_message", error.value.__str__)()
    else:
        own(words.split(), standalone_mode=False)
        assert seen == [expected]
