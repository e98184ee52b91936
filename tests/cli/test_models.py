"""`tleg models`: timm's names, and which of them `tleg learn` takes."""

import json
from typing import Any

import pytest

from tests.scenarios.test_command_line import failure


def test_names_are_lines(run_cli: Any) -> None:
    done = run_cli("models", "deit_s")
    assert done.code == 0
    assert done.stdout.split() == ["deit_small_distilled_patch16_224", "deit_small_patch16_224"]
    assert run_cli("models", "deit_s", "--expandable").stdout.split() == ["deit_small_patch16_224"]
    assert run_cli("models", "deit_small*_224").stdout.split() == done.stdout.split()
    assert run_cli("models", "deit_small").stderr == ""


def test_json_says_what_is_expandable(run_cli: Any) -> None:
    found = {each["name"]: each["expandable"] for each in json.loads(run_cli("models", "--json").stdout)}
    assert len(found) > 500
    assert found["vit_tiny_patch16_224"] is True
    assert found["resnet18"] is False
    only = json.loads(run_cli("models", "--json", "--expandable").stdout)
    assert [each["name"] for each in only] == [name for name, expandable in found.items() if expandable]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["vit_tiny_patch16_225"], "timm has no model 'vit_tiny_patch16_225'. Did you mean 'vit_tiny_patch16_224'?"),
        (["resnet18", "--expandable"], "timm has no expandable model 'resnet18'."),
        (["["], "timm has no model '['."),
    ],
)
def test_no_match_is_bad_input(run_cli: Any, arguments: list[str], says: str) -> None:
    failure(run_cli("models", *arguments), 2, says)


def compare_with_built(pattern: str | None) -> int:
    """Every model that a name promises is taken, and no other; how many were built."""
    from tleg.cli.models import known_models
    from tleg.errors import ArchitectureError
    from tleg.models.architecture import describe

    names = list(known_models(pattern))
    for each in names:
        try:
            describe(each.name)
            built = True
        except ArchitectureError as error:
            built = "does not divide into patches" in str(error)  # Another size does.
        assert built is each.expandable, each.name
    return len(names)


@pytest.mark.parametrize("pattern", ["deit*", "vit_small*", "vitamin_s*", "eva02*tiny*", "beit*base*", "xcit_nano*"])
def test_what_is_called_expandable_is_taken(pattern: str) -> None:
    assert compare_with_built(pattern) > 0


@pytest.mark.slow
def test_what_is_called_expandable_is_taken_of_all_models() -> None:
    assert compare_with_built(None) > 1000
