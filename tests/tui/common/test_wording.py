"""Messages in the words of the workbench: no options, no commands, nothing endless."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tleg.errors import InputError
from tleg_tui.common.wording import LONGEST, explained, noted, said, shortened
from tleg_tui.export.rows import NAMES


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        (
            "90 training images are too few for a batch of 128; lower --batch-size",
            "90 training images are too few for a batch of 128; lower batch-size",
        ),
        (
            "the checkpoint does not record how many heads: add --heads",
            "the checkpoint does not record how many heads: fill in heads",
        ),
        ("it is about accuracy: add --data DATA, or --limit", "it is about accuracy: fill in data, or limit"),
        ("a model-arg of drop_path_rate=0.1 is 2-3 times as slow", "a model-arg of drop_path_rate=0.1 is 2-3 times as slow"),
        ("onnx is too old; `tleg doctor` says more", "onnx is too old; `tleg doctor` says more"),  # Which no key does.
    ],
)
def test_options_and_commands_become_fields(sentence: str, shown: str) -> None:
    assert said(sentence) == shown


def test_dialogs_name_their_own_fields() -> None:
    names = {"heads": "attention heads", "force": "replace an existing file"}
    assert said("how many heads is not recorded: add --heads", names).endswith("fill in 'attention heads'")
    assert said("use --export onnx, or --dtype float16", NAMES) == "use formats onnx, or numbers float16"


def test_what_an_error_advises_on_a_command_line_is_said_in_a_dialog_s_own_words() -> None:
    exists = InputError("g exists already", code="exists", advice="--force replaces it")
    assert explained(exists, "tick 'replace' below") == "g exists already; tick 'replace' below"
    assert explained(exists) == "g exists already"
    assert explained(InputError("run a is running", advice="`tleg attach a` shows it")) == "run a is running"
    assert explained(InputError("run a is running"), "tick 'replace' below") == "run a is running"
    assert explained(OSError("no room")) == "no room"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the disk is full. `tleg resume a` goes on from the last checkpoint", "the disk is full"),
        ("the loss became nan; try a lower --lr", "the loss became nan; try a lower lr"),
        ("run a is finished; `tleg resume a --epochs N` makes it longer", "run a is finished"),
        ("stopped after step 3 of 9", "stopped after step 3 of 9"),
    ],
)
def test_what_a_run_wrote_down_names_no_commands(text: str, shown: str) -> None:
    assert noted(text) == shown


@given(st.text(max_size=4000))
def test_nothing_is_endless(text: str) -> None:
    for value in (text, f"epochs must be a number, not '{text}'", f"there is no file {text}"):
        assert len(said(value)) <= LONGEST
        assert not re.search(r"\s--[a-z][a-z-]*[a-z]\b", said(value))


def test_what_is_left_out_leaves_a_sign_and_both_ends_of_paths() -> None:
    found = shortened(f"validation-split must be a number, not '{'9' * 3000}'; such as 0.1")
    assert found == f"validation-split must be a number, not '{'9' * 47}…'; such as 0.1"
    path = f"/data/{'a' * 300}/last.png"
    found = shortened(f"there is no file {path}.")
    assert found.startswith("there is no file /data/aaa")
    assert "…" in found
    assert found.endswith("/last.png.")
    assert shortened("a " * 1000).endswith("…")
    assert shortened("as it is") == "as it is"
