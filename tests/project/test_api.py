"""docs/api.md describes what `tleg` exports: every name, with its arguments and defaults, by examples that run."""

import ast
import inspect
import re
import shutil
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import tleg
from tests.models.test_efficientnet_lite import Lite0
from tleg import errors

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text()
CHECKPOINT = ROOT / "tests" / "models" / "data" / "aux_checkpoint.pth"
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


@cache
def sections() -> dict[str, str]:
    """The text below each heading that is a public name."""
    found = re.split(r"^### `tleg\.(\w+)`$", PAGE, flags=re.MULTILINE)
    return dict(zip(found[1::2], found[2::2], strict=True))


def blocks(name: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", sections()[name], re.DOTALL | re.MULTILINE)


def declared(name: str) -> Any:
    """The first block of a section: the declaration of a function or a class."""
    (statement,) = ast.parse(blocks(name)[0]).body
    return statement


def test_every_public_name_is_described_and_no_other() -> None:
    assert sorted(sections()) == sorted(tleg.__all__)


def test_every_public_name_has_one_declaration_and_examples() -> None:
    for name in sections():
        assert declared(name).name == name
        assert len(blocks(name)) > 1


def assert_same_arguments(statement: ast.FunctionDef, function: Any) -> None:
    """Names, kinds and defaults of arguments are those of the function. Annotations are for people."""
    real = inspect.signature(inspect.unwrap(function))
    namespace: dict[str, Any] = {}
    statement.returns = None
    statement.decorator_list = []
    for argument in ast.walk(statement):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    exec(ast.unparse(statement), namespace)
    for (name, said), (real_name, found) in zip(
        inspect.signature(namespace[statement.name]).parameters.items(), real.parameters.items(), strict=True
    ):
        assert (name, said.kind) == (real_name, found.kind)
        default = str(found.default) if isinstance(found.default, Path) else found.default
        assert said.default == default, f"{statement.name}: {name}"


@pytest.mark.parametrize("name", [name for name in tleg.__all__ if name in sections()])
def test_declarations_are_those_of_the_code(name: str) -> None:
    statement, thing = declared(name), getattr(tleg, name)
    if isinstance(statement, ast.FunctionDef):
        assert_same_arguments(statement, thing)
        return
    members = {each.name for each in fields(thing)} if is_dataclass(thing) else set()
    for member in statement.body:
        if isinstance(member, ast.AnnAssign):
            assert isinstance(member.target, ast.Name)
            assert member.target.id in members or isinstance(inspect.getattr_static(thing, member.target.id), property)
        elif isinstance(member, ast.FunctionDef):
            real = inspect.getattr_static(thing, member.name)
            assert_same_arguments(member, real.__func__ if isinstance(real, classmethod) else real)


def test_every_error_is_in_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", sections()["TlegError"], re.MULTILINE)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TlegError)]
    assert sorted(rows) == sorted((kind.__name__, kind.__base__.__name__) for kind in kinds if kind.__base__ is not None)


def test_the_examples_run_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(CHECKPOINT, "checkpoint.pth")
    torch.save(Lite0(10).state_dict(), "lite0.pth")
    Image.effect_noise((60, 40), 80).save("picture.png")
    namespace: dict[str, Any] = {}
    for name in sections():
        if name not in tleg.__all__ or (name == "evaluate" and not FASHION_MNIST.is_dir()):
            continue
        for block in blocks(name)[1:]:
            exec(compile(block, f"docs/api.md, {name}", "exec"), namespace)
    assert (tmp_path / "imported.safetensors").is_file()
