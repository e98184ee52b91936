"""Reading files that may hold anything: a header, or one clear error, and never anything else."""

import contextlib
import json
import os
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.conftest import make_learngene
from tleg.errors import FileFormatError, InputError, TlegError, VerificationError
from tleg.learngene.container import MAX_HEADER_BYTES, read_file, read_header
from tleg.learngene.header import LearngeneHeader
from tleg.models.learngene import load


def split(content: bytes) -> tuple[dict[str, Any], bytes]:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join(document: Any, data: bytes) -> bytes:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return struct.pack("<Q", len(text)) + text + data


def with_metadata(content: bytes, **changes: Any) -> bytes:
    document, data = split(content)
    document["__metadata__"].update(changes)
    return join({**document, "__metadata__": {k: v for k, v in document["__metadata__"].items() if v is not None}}, data)


def refused(path: Path, content: bytes | None = None) -> str:
    """The message that a file is refused with; it is one line, and names the file."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_header(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "some.safetensors"


@given(content=st.binary(max_size=300))
@example(content=b"")
@example(content=struct.pack("<Q", 2) + b"{}")
@example(content=struct.pack("<Q", 2) + b"[]")
@example(content=struct.pack("<Q", 4) + b"null")
@example(content=struct.pack("<Q", 40) + b"[" * 40)
def test_any_bytes_are_refused_in_one_line(target: Path, content: bytes) -> None:
    refused(target, content)


@given(text=st.text(max_size=60), data=st.binary(max_size=20))
def test_any_header_text_is_refused(target: Path, text: str, data: bytes) -> None:
    refused(target, join(text.encode("utf-8", "replace"), data))


@given(data=st.data())
def test_flipped_bytes_are_found(target: Path, learngene_file: Path, data: st.DataObject) -> None:
    content = bytearray(learngene_file.read_bytes())
    start = 8 + struct.unpack("<Q", content[:8])[0]
    place = data.draw(st.integers(0, start - 1) | st.integers(start, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    target.write_bytes(content)
    original = read_header(learngene_file)
    try:
        again = load(target)
    except (FileFormatError, VerificationError):
        return
    # Some bytes of the header are free-form (a name, a figure); the tensors never are.
    assert place < start
    assert isinstance(again.header, LearngeneHeader)
    assert again.header.sha256 == original.sha256


@given(data=st.data())
def test_truncated_and_extended_files_are_refused(target: Path, learngene_file: Path, data: st.DataObject) -> None:
    content = learngene_file.read_bytes()
    refused(target, content[: data.draw(st.integers(0, len(content) - 1))])
    refused(target, content + data.draw(st.binary(min_size=1, max_size=100)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(data=st.data(), value=json_values)
def test_edited_entries_are_read_or_refused(target: Path, learngene_file: Path, data: st.DataObject, value: Any) -> None:
    document, rest = split(learngene_file.read_bytes())
    name = data.draw(st.sampled_from(sorted(document)))
    field = data.draw(st.sampled_from([None, *sorted(document[name])]))
    if field is None:
        document[name] = value
    elif name == "__metadata__" and data.draw(st.booleans()):
        document[name][field] = json.dumps(value)
    else:
        document[name][field] = value
    target.write_bytes(join(document, rest))
    with contextlib.suppress(TlegError):
        assert isinstance(load(target).header, LearngeneHeader)


@pytest.mark.parametrize("length", [MAX_HEADER_BYTES + 1, 2**40, 2**63, 2**64 - 1])
def test_a_huge_header_length_is_refused(target: Path, learngene_file: Path, length: int) -> None:
    assert "truncated" in refused(target, struct.pack("<Q", length) + learngene_file.read_bytes()[8:])


def test_a_huge_header_is_refused_without_being_read(target: Path) -> None:
    with target.open("wb") as file:
        file.write(struct.pack("<Q", 2**32))
        file.truncate(2**33)  # A hole: takes no room on the disk.
    assert "larger than" in refused(target)


def test_names_that_occur_twice_are_refused(target: Path, learngene_file: Path) -> None:
    document, rest = split(learngene_file.read_bytes())
    entry = json.dumps(document["head.bias"])
    text = json.dumps(document)[:-1] + f', "head.bias": {entry}}}'
    assert "not JSON" in refused(target, join(text.encode(), rest))


def test_deep_nesting_is_refused(target: Path, learngene_file: Path) -> None:
    refused(target, join(b"[" * 100_000 + b"]" * 100_000, b""))
    refused(target, with_metadata(learngene_file.read_bytes(), learned="[" * 100_000 + "]" * 100_000))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"version": "5"}, "format version 5; this tleg reads versions 1 to 4"),
        ({"version": "x"}, "states no format version"),
        ({"version": None}, "states no format version"),
        ({"version": "9" * 5000}, "states no format version"),
        ({"format": "pt"}, "without a learngene's header"),
        ({"basis": None}, "lacks the field 'basis'"),
        ({"basis": "{"}, "'basis' is not JSON"),
        ({"basis": '{"name": "linaer"}'}, "must be one of linear"),
        ({"surprise": "1"}, "unknown field 'surprise'"),
        ({"learned": "NaN"}, "'learned' is not JSON"),
        ({"learned": '{"a": [1, -1e999]}'}, "'learned' is not JSON"),
        ({"auxiliary": '{"depth": 0}'}, "depth of an auxiliary model"),
        ({"classes": '["a"]'}, "1 class names for 7 classes"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(
    target: Path, learngene_file: Path, changes: dict[str, Any], says: str
) -> None:
    assert says in refused(target, with_metadata(learngene_file.read_bytes(), **changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"dtype": "F64"}, "of type F64"),
        ({"dtype": "BF16"}, "of type BF16"),
        ({"dtype": 3}, "malformed"),
        ({"dtype": []}, "malformed"),
        ({"shape": [8]}, "does not fill"),
        ({"shape": [7.0]}, "malformed"),
        ({"shape": [-7]}, "malformed"),
        ({"shape": [True] * 7}, "malformed"),
        ({"data_offsets": [0, 28]}, "overlap or leave gaps"),
        ({"data_offsets": [28, 0]}, "does not fill"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(target: Path, learngene_file: Path, changes: dict[str, Any], says: str) -> None:
    document, rest = split(learngene_file.read_bytes())
    document["head.bias"].update(changes)
    assert says in refused(target, join(document, rest))


def test_a_safetensors_file_that_is_no_learngene_is_refused(target: Path) -> None:
    assert "without a learngene's header" in refused(Path(__file__).parents[1] / "models/data/vectors.safetensors")
    assert "no learngene" in refused(target, join({}, b"")) or "without" in refused(target)


def test_a_pickled_checkpoint_is_refused_with_the_way_in(target: Path) -> None:
    assert "tleg import" in refused(Path(__file__).parents[1] / "models/data/aux_checkpoint.pth")
    assert "tleg import" in refused(target, b"\x80\x04" + b"." * 30)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)
    assert "No such file" in refused(tmp_path / "absent")
    assert "is not a regular file" in refused(Path("/dev/zero"))
    os.mkfifo(tmp_path / "fifo")
    assert "is not a regular file" in refused(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused(tmp_path / "loop")


def test_paths_that_no_system_takes_are_refused() -> None:
    with pytest.raises(InputError):
        read_header("a\0b")
    with pytest.raises(InputError):
        read_header("x" * 5000)


def test_a_file_without_permission_is_refused(target: Path, learngene_file: Path, run_python: Any) -> None:
    shutil.copy(learngene_file, target)
    target.chmod(0)
    for folder in (target.parent, *target.parent.parents[:3]):
        if folder.owner() == target.owner() and folder != Path("/tmp"):
            folder.chmod(0o755)
    # Root reads everything, so the reader becomes nobody first; what it needs is imported while it may.
    code = (
        "import difflib, os, sys\n"
        "from tleg.errors import InputError\n"
        "from tleg.learngene.container import read_header\n"
        "os.getuid() == 0 and os.setuid(65534)\n"
        "try: read_header(sys.argv[1])\n"
        "except InputError as error: print(error)"
    )
    assert "Permission denied" in run_python(code, target).stdout


def test_reads_back_what_was_written(learngene_file: Path) -> None:
    file = read_file(learngene_file)
    assert file.size == learngene_file.stat().st_size
    assert file.parameters == load(learngene_file).parameters == file.header.cost.parameters.at(2)
    assert read_header(os.fspath(learngene_file)) == file.header
    assert sys.getsizeof(file.header.sha256)


@pytest.mark.parametrize("padding", range(0, 264, 8))
def test_any_length_of_the_header_can_be_read_back(padding: int, tmp_path: Path) -> None:
    # The first byte of the length takes every value, also those that begin a pickle or an archive.
    learngene = make_learngene(learned={"note": "x" * padding})
    learngene.save(tmp_path / "gene.safetensors")
    assert read_header(tmp_path / "gene.safetensors").learned == {"note": "x" * padding}
