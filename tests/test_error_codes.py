"""An error carries a code and the options that it is about, as a library raises it and as a program reads it."""

import ast
import copy
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tleg import errors
from tleg.data.decoding import UnreadableImageError, decode_image
from tleg.data.deep_images import PixelRanges, RangeError, to_eight_bits
from tleg.data.open import open_data
from tleg.errors import CODES, DataError, ExportError, InputError, TlegError, concerning, read_error
from tleg.export.verify import check_path
from tleg.files import new_file
from tleg.learngene.basis import check_depth, parse_basis
from tleg.learngene.container import read_file
from tleg.models.architecture import normalise_name
from tleg.models.classes import class_order
from tleg.models.learngene import load
from tleg.references import resolve
from tleg.runs.inputs import ChangedInputsError, InputChange, check_unchanged
from tleg.runs.launch import create_run
from tleg.runs.run import RunFolder
from tleg.runs.trackers import WeightsAndBiases
from tleg.training import distributed
from tleg.training.accuracy import Score, require_finite
from tleg.training.device import choose_placement
from tleg.training.distributed import LostProcessError
from tleg.training.init import init_from_checkpoint, init_from_learngene, init_from_timm
from tleg.training.observer import Observer, TrainingStoppedError, require_folder
from tleg.training.subjects import open_subject
from tleg.training.teacher import Teacher

ROOT = Path(__file__).resolve().parents[1]
ENGINE = sorted((ROOT / "engine" / "tleg").rglob("*.py"))
WORKBENCH = sorted((ROOT / "tleg_tui").rglob("*.py"))


def raised(action: Callable[[], Any]) -> TlegError:
    with pytest.raises(TlegError) as caught:
        action()
    return caught.value


# The class.


def test_an_error_is_its_sentence_and_says_more_to_programs() -> None:
    error = InputError("x exists already", field="output", code="exists", advice="--force replaces it")
    assert str(error) == "x exists already; --force replaces it"
    assert (error.message, error.advice, error.code, error.field) == (
        "x exists already",
        "--force replaces it",
        "exists",
        "output",
    )
    plain = TlegError("it failed")
    assert (str(plain), plain.code, plain.field, plain.fields) == ("it failed", "failed", None, ())
    several = InputError("a or b", field=("a", "b"))
    assert (several.field, several.fields) == ("a", ("a", "b"))
    with pytest.raises(ValueError, match="there is no code 'odd'"):
        TlegError("x", code="odd")


@pytest.mark.parametrize("error", [InputError("a", field="x", advice="b", code="missing"), DataError("d"), ExportError("e")])
def test_an_error_comes_through_a_process(error: TlegError) -> None:
    made = copy.copy(error)  # As a process makes it that another one sends it to.
    assert type(made) is type(error)
    assert (str(made), made.document) == (str(error), error.document)
    read = read_error(json.dumps(error.document))
    assert read is not None
    assert (str(read), read.document) == (str(error), error.document)


@pytest.mark.parametrize("line", ["", "tleg: a sentence", "[]", "{}", '{"message": "x"}', "3", "[" * 9999])
def test_another_line_is_no_error(line: str) -> None:
    assert read_error(line) is None


def test_an_error_of_an_unknown_code_is_not_read() -> None:
    assert read_error(json.dumps({**TlegError("x").document, "code": "of tomorrow"})) is None


def test_whoever_calls_names_the_option_unless_it_is_known() -> None:
    @concerning("outer")
    def refuse(field: str | None) -> None:
        raise InputError("no", field=field)

    assert raised(lambda: refuse(None)).field == "outer"
    assert raised(lambda: refuse("inner")).field == "inner"
    with pytest.raises(DataError) as caught, concerning("outer"):
        raise DataError("no images")
    assert caught.value.field == "data"


# Each code, as it comes about.


def at_work(folder: Path) -> RunFolder:
    return create_run(folder / "runs", kind="learn", recipe={"epochs": 3}, name="mine")


def changed_learngene(folder: Path, learngene: Path) -> Path:
    path = folder / "changed.safetensors"
    content = bytearray(learngene.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    return path


class Away(Observer):
    """A run whose folder is gone."""

    def may_write(self) -> bool:
        return False


def lose_a_process() -> None:
    with distributed._with_others():
        raise RuntimeError("Connection closed by peer")


def refuse_to_track() -> None:
    with WeightsAndBiases.errors_explained():
        raise ValueError("no key")


def two_of_a_name(folder: Path) -> None:
    run = at_work(folder)
    (folder / run.id).mkdir()
    resolve(run.id, folder / "runs")


def write_where_nothing_can_be() -> None:
    with new_file(Path("/proc/nowhere/x"), overwrite=False):
        pass


NOT_FINITE = {4: Score(images=10, top1=None, top5=None, loss=None, nonfinite=3, images_per_second=1.0, per_class=())}
# By class and by code: what raises it, and the option that it names.
SITUATIONS: dict[str, Callable[[Path, Path], Any]] = {
    "failed": lambda folder, gene: refuse_to_track(),
    "ambiguous": lambda folder, gene: two_of_a_name(folder),
    "bad-data": lambda folder, gene: open_data(str(folder)),
    "bad-file": lambda folder, gene: read_file(folder / "text.safetensors"),
    "changed": lambda folder, gene: check_unchanged(at_work(folder), [InputChange("a cat left", True)], accepted=False),
    "mismatch": lambda folder, gene: class_order(("cat", "dog"), ("cat", "eel")),
    "no-device": lambda folder, gene: choose_placement("cuda:999"),
    "not-finite": lambda folder, gene: require_finite(NOT_FINITE, "the model"),
    "out-of-range": lambda folder, gene: check_depth(0),
    "stopped": lambda folder, gene: require_folder(Away()),
    "lost-process": lambda folder, gene: lose_a_process(),
    "unsupported": lambda folder, gene: choose_placement("cpu", "float16"),
    "verification": lambda folder, gene: load(changed_learngene(folder, gene)),
    "system": lambda folder, gene: write_where_nothing_can_be(),
    "malformed": lambda folder, gene: parse_basis("polynomial:x"),
    "unknown-name": lambda folder, gene: normalise_name("vit_tini"),
}


@pytest.mark.parametrize("code", SITUATIONS)
def test_the_code_says_what_went_wrong(
    code: str, tmp_path: Path, learngene_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.safetensors").write_text("no learngene")
    assert raised(lambda: SITUATIONS[code](tmp_path, learngene_file)).code == code


CLASSES: dict[type[TlegError], Callable[[Path], Any]] = {
    errors.NotFoundError: lambda folder: resolve("nowhere", folder),
    errors.DepthError: lambda folder: check_depth("deep"),
    errors.BasisError: lambda folder: parse_basis("fourier"),
    errors.ArchitectureError: lambda folder: normalise_name("vit_tini"),
    errors.DataError: lambda folder: open_data(str(folder)),
    errors.TeacherError: lambda folder: Teacher.open("no/such/folder", ("a", "b")),
    errors.ExportError: lambda folder: write_where_nothing_can_be(),
    errors.FileFormatError: lambda folder: read_file(folder / "text.safetensors"),
    UnreadableImageError: lambda folder: decode_image(folder / "text.safetensors", "text.safetensors"),
    ChangedInputsError: lambda folder: SITUATIONS["changed"](folder, folder),
    TrainingStoppedError: lambda folder: require_folder(Away()),
    LostProcessError: lambda folder: lose_a_process(),
    InputError: lambda folder: class_order(("cat",), ("dog",)),
    TlegError: lambda folder: refuse_to_track(),
}


@pytest.mark.parametrize("kind", CLASSES)
def test_each_class_is_raised_with_a_code(kind: type[TlegError], tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no learngene")
    error = raised(lambda: CLASSES[kind](tmp_path))
    assert type(error) is kind
    assert error.code in CODES


# As a program reads it of a command.

LEARN = ("learn", "--architecture", "vit_tiny_patch16_224", "--data", "fashion-mnist")
TRAIN = ("train", "--model", "resnet10t", "--data", "fashion-mnist")


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        (("preview", "--nope"), "usage", "nope"),
        (("no-such-command",), "usage", None),
        (("import",), "missing", "checkpoint"),
        (("import", "x.pth"), "missing", "output"),
        (("learn", "--data", "x"), "missing", "architecture"),
        (("preview", "--pick"), "missing", "pick"),
        (("build",), "missing", "depth"),
        (("preview", "--batch", "x"), "malformed", "batch"),
        (("preview", "--depths", "4-x"), "malformed", "depths"),
        (("preview", "--max-params", "many"), "malformed", "max-params"),
        (("preview", "--max-memory", "many"), "malformed", "max-memory"),
        ((*TRAIN, "--freeze", "legs"), "malformed", "freeze"),
        ((*TRAIN, "--model-arg", "patch"), "malformed", "model-arg"),
        ((*TRAIN, "--slurm", "--time", "soon"), "malformed", "time"),
        ((*TRAIN, "--threads", "many"), "malformed", "threads"),
        (("preview", "--depths", "0"), "out-of-range", "depths"),
        (("preview", "--batch", 0), "out-of-range", "batch"),
        (("preview", "--max-params", 1, "--pick"), "out-of-range", "max-params"),
        (("build", "--depth", 0), "out-of-range", "depth"),
        ((*LEARN, "--epochs", 0), "out-of-range", "epochs"),
        ((*LEARN, "--evaluate-depths", "0-3"), "out-of-range", "evaluate-depths"),
        ((*LEARN, "--auxiliary-depth", 0), "out-of-range", "auxiliary-depth"),
        ((*LEARN, "--accumulate", 3), "out-of-range", "batch-size"),
        ((*LEARN, "--schedule", "cosin"), "unknown-name", "schedule"),
        ((*LEARN, "--device", "gpu"), "unknown-name", "device"),
        ((*LEARN, "--preset", "quik"), "unknown-name", "preset"),
        (("build", "--depth", 1, "--export", "tflite"), "unknown-name", "export"),
        (("build", "--depth", 1, "--dtype", "int7"), "unknown-name", "dtype"),
        (("evaluate", "x", "--data", "y", "--record", "--limit", 5), "conflict", "limit"),
        (("evaluate", "x", "--data", "y", "--force"), "conflict", "force"),
        ((*LEARN, "--print"), "conflict", "print"),
        ((*LEARN, "--partition", "gpu"), "conflict", "partition"),
        ((*LEARN, "--slurm", "--max-restarts", 2), "conflict", "max-restarts"),
        (("preview", "nowhere"), "not-found", "learngene"),
        (("inspect", "nowhere"), "not-found", "file"),
        (("verify", "nowhere"), "not-found", "path"),
        (("stop", "none"), "not-found", "run"),
        (("resume", "none"), "not-found", "run"),
        ((*LEARN, "--teacher", "no/such/folder"), "not-found", "teacher"),
        ((*TRAIN[:1], "--checkpoint", "no/such/folder", *TRAIN[3:]), "not-found", "checkpoint"),
        (("preview", "."), "wrong-kind", "learngene"),
        (("import", "text.safetensors", "--output", ".", "--force"), "wrong-kind", "output"),
        (("import", "text.safetensors", "--output", "text.safetensors"), "exists", "output"),
        (("build", "--depth", 1, "--output", "text.safetensors"), "wrong-kind", "output"),
        (("import", "text.safetensors", "--output", "text.safetensors/x"), "system", "output"),
        (("import", "text.safetensors", "--output", "new"), "bad-file", "checkpoint"),
        (("inspect", "text.safetensors"), "bad-file", "file"),
        (("evaluate", "fashion-mnist", "--data", "."), "bad-data", "data"),
        (("track", "mine", "--to", "aim"), "unknown-name", "to"),
        (("track", "mine", "--to", "trackio"), "not-installed", "to"),
        (("rm", "mine"), "missing", "yes"),
        (("logs", "mine"), "not-found", "run"),
        (("resume", "mine", "--max-restarts", 2, "--slurm"), "conflict", "max-restarts"),
    ],
)
def test_a_program_reads_code_and_field(
    words: tuple[object, ...],
    code: str,
    field: str | None,
    run_cli: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TLEG_RUNS", str(tmp_path / "runs"))
    monkeypatch.setitem(__import__("sys").modules, "trackio", None)
    (tmp_path / "text.safetensors").write_text("no learngene")
    run = at_work(tmp_path)
    words = tuple(run.id if word == "mine" else word for word in words)
    sentence = run_cli(*words)
    monkeypatch.setenv("TLEG_ERRORS", "json")
    done = run_cli(*words)
    error = read_error(done.stderr)
    assert error is not None, done
    assert (error.code, error.field) == (code, field), str(error)
    assert (done.code, done.stdout, f"tleg: {error}\n") == (sentence.code, sentence.stdout, sentence.stderr)


@pytest.mark.parametrize(
    ("error", "code"), [(KeyError("odd"), "unexpected"), (KeyboardInterrupt(), "interrupted"), (MemoryError(), "system")]
)
def test_what_nobody_foresaw_has_a_code(
    error: BaseException, code: str, run_cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("tleg.learngene.container.read_file", fail)
    monkeypatch.setenv("TLEG_ERRORS", "json")
    read = read_error(run_cli("preview").stderr)
    assert read is not None
    assert read.code == code


# All of the source.


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Where a module makes an error of tleg's, and of which class."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
            yield node, node.func.id


def subclasses(kind: type[TlegError] = TlegError) -> Iterator[type[TlegError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from subclasses(each)


KINDS = {each.__name__: each for each in subclasses() if each.__module__.startswith("tleg.")}


def test_every_class_of_the_engine_is_known_here() -> None:
    defined = {
        node.name
        for path in ENGINE
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.ClassDef) and any(isinstance(base, ast.Name) and base.id in KINDS for base in node.bases)
    }
    assert defined == set(KINDS) - {"TlegError"}
    raised_elsewhere = {RangeError, errors.VerificationError}  # Above, by their codes; and below.
    assert set(KINDS.values()) == set(CLASSES) | raised_elsewhere


def test_a_deep_image_of_no_known_range_names_its_option() -> None:
    from PIL import Image

    error = raised(lambda: to_eight_bits(Image.new("I", (2, 2), 70000), PixelRanges()))
    assert type(error) is RangeError
    assert error.field == "pixel-range"


def test_every_code_is_used_and_every_error_of_the_engine_has_one_of_its_own() -> None:
    used: set[str] = {each.default_code for each in KINDS.values()} | {"usage"}
    for path in ENGINE:
        for call, kind in calls(path) if path.name != "errors.py" else ():
            code = next((each.value for each in call.keywords if each.arg == "code"), None)
            if code is None:
                passes_on = any(each.arg is None for each in call.keywords)
                default = KINDS[kind].default_code
                assert passes_on or default != "unusable", f"{path}:{call.lineno} says nothing of what kind it is"
                continue
            chosen = [code.body, code.orelse] if isinstance(code, ast.IfExp) else [code]
            found = {each.value for each in chosen if isinstance(each, ast.Constant) and isinstance(each.value, str)}
            assert found <= set(CODES), f"{path}:{call.lineno}"
            used |= found
    assert used == set(CODES)


def test_every_code_is_explained() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8").partition("## Codes")[2]
    rows = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", page, re.MULTILINE))
    assert rows == dict(CODES)


def test_every_code_has_a_situation() -> None:
    marks: Any = test_a_program_reads_code_and_field
    of_commands = {case[1] for mark in marks.pytestmark if mark.name == "parametrize" for case in mark.args[1]}
    elsewhere = {"unexpected", "interrupted", "unusable", "wrong-state"}
    assert {*SITUATIONS, *of_commands, *elsewhere} == set(CODES)


@pytest.mark.parametrize(
    ("make", "field", "code"),
    [
        (lambda: init_from_timm("vit_tini", {}), "model", "unknown-name"),
        (lambda: init_from_learngene("no/such/file.safetensors", 4), "learngene", "not-found"),
        (lambda: init_from_checkpoint("no/such/folder"), "checkpoint", "not-found"),
        (lambda: open_subject("no/such/folder", choose_placement("cpu"), None), "path", "not-found"),
        (lambda: check_path("no/such/file.onnx"), "path", "not-found"),
    ],
)
def test_what_is_opened_by_name_names_its_option(make: Callable[[], Any], field: str, code: str) -> None:
    error = raised(make)
    assert (error.field, error.code) == (field, code), str(error)


def test_a_run_at_work_is_in_the_wrong_state(tmp_path: Path) -> None:
    from tleg.launch import resume_training
    from tleg.runs.lock import RunLock
    from tleg.runs.state import RunState, write_state

    run = at_work(tmp_path)
    write_state(run, RunState(state="running"))
    with RunLock(run):
        error = raised(lambda: resume_training(run))
    assert error.code == "wrong-state"
    assert "tleg" not in error.message


# The workbench reads codes and fields.


def sentences_that_are_searched(tree: ast.Module) -> Iterator[ast.expr]:
    """Where a module looks into the sentence of an error that it caught, or that a command ended with."""
    caught = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler)} - {None}

    def is_error(node: ast.expr) -> bool:
        return (isinstance(node, ast.Name) and node.id in caught) or (
            isinstance(node, ast.Attribute) and node.attr == "error"
        )

    def is_sentence(node: ast.AST) -> bool:
        if isinstance(node, ast.Attribute):
            return node.attr in ("message", "advice", "args") and is_error(node.value)
        named = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("str", "repr")
        return named and any(map(is_error, node.args))  # type: ignore[attr-defined]  # a call, as it is named

    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            yield from (each for each in (node.left, *node.comparators) if is_sentence(each))
        elif (
            isinstance(node, ast.Attribute) and node.attr != "split" and is_sentence(node.value)
        ):  # Which makes it one line.
            yield node
        elif isinstance(node, ast.Subscript) and is_sentence(node.value):
            yield node
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SEARCHES:
            yield from (each for each in node.args if is_sentence(each))


_SEARCHES = {"search", "match", "fullmatch", "findall", "finditer", "sub", "split"}


@pytest.mark.parametrize("path", WORKBENCH, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_of_the_workbench_searches_a_sentence(path: Path) -> None:
    found = [f"{path}:{each.lineno}" for each in sentences_that_are_searched(ast.parse(path.read_text("utf-8")))]
    assert found == []


@pytest.mark.parametrize(
    "line",
    ["'x' in str(e)", "str(e) == 'x'", "str(e).replace('a', 'b')", "re.search('x', str(e))", "e.message.startswith('x')"],
)
def test_a_sentence_that_is_searched_is_found(line: str) -> None:
    tree = ast.parse(f"try:\n    pass\nexcept OSError as e:\n    {line}\n")
    assert list(sentences_that_are_searched(tree))
