"""The file of a family as a form writes it: one text for a document, and nothing of a person's file is lost."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.project.test_docs_family import FILES
from tleg.errors import FileFormatError, InputError
from tleg.family.document import first_comment, format_document, read_devices, write_document

DOCUMENT: dict[str, Any] = {
    "title": 'Clothes, "warm"',
    "learngene": "fashion-mnist",
    "data": "fashion-mnist",
    "license": "mit",
    "finetune": {"lr": 1e-4, "model-arg": {"depth": 3}},
    "devices": {"watch": {"max-size": "450KB", "top1": 88}, "a.b": {}, "server": {"depth": 12, "part": 0.5}},
}


def test_a_document_has_one_text() -> None:
    text = format_document(DOCUMENT)
    assert tomllib.loads(text) == DOCUMENT
    assert format_document(tomllib.loads(text)) == text
    assert '\n[devices.watch]\nmax-size = "450KB"\ntop1 = 88\n\n[devices."a.b"]\n' in text


def test_the_file_of_the_page_is_written_as_it_stands() -> None:
    assert format_document(tomllib.loads(FILES[0])) == FILES[0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('a = "# no"\n', None),
        ("a = '# no'\nb = 3 # yes  \n", (2, "# yes")),
        ('a = """\n# no\n"""\n# yes', (4, "# yes")),
        ("a = '''\n# no\n'''\n", None),
        ('a = "\\"# no"\n', None),
        ('"a#b" = 1\n', None),
    ],
)
def test_comments_are_told_from_texts(text: str, found: tuple[int, str] | None) -> None:
    tomllib.loads(text)
    assert first_comment(text) == found


def test_what_says_the_same_keeps_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    assert write_document(file, DOCUMENT)
    first = file.read_bytes()
    assert not write_document(file, DOCUMENT)
    assert file.read_bytes() == first
    written = "# mine\n" + format_document(DOCUMENT).replace(" = ", "=")
    file.write_text(written)
    assert not write_document(file, read_devices(file)[1], read=written)
    assert file.read_text() == written


def test_a_file_with_comments_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    written = format_document(DOCUMENT) + "\n# what the watch can hold\n"
    file.write_text(written)
    with pytest.raises(
        InputError, match=r"has comments, which would be lost \(line 20: # what the watch can hold\)"
    ) as caught:
        write_document(file, {**DOCUMENT, "title": "New"}, read=written)
    assert caught.value.code == "conflict"
    assert file.read_text() == written


def test_a_file_that_was_not_read_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    write_document(file, DOCUMENT)
    read = file.read_text()
    changed = {**DOCUMENT, "title": "New"}
    with pytest.raises(InputError, match="is there already"):
        write_document(file, changed)
    assert write_document(file, changed, read=read)
    with pytest.raises(InputError, match="was changed since it was read"):
        write_document(file, DOCUMENT, read=read)
    assert tomllib.loads(file.read_text()) == changed


def test_what_toml_holds_and_a_document_cannot_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "devices.toml"
    date = tomllib.loads("day = 1979-05-27")["day"]
    with pytest.raises(InputError, match="no numbers, texts, lists or tables"):
        write_document(file, {**DOCUMENT, "title": date})
    assert not file.exists()


@pytest.mark.parametrize("text", ["devices = 3", "[devices]\nphone = 3", 'learn = "x"'])
def test_tables_that_are_none_are_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "devices.toml"
    file.write_text(text)
    with pytest.raises(InputError, match="is a table, as in"):
        read_devices(file)
    file.write_text("= 3")
    with pytest.raises(FileFormatError):
        read_devices(file)
