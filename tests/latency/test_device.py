"""Device profiles: what is measured counts, what follows is a line where that holds, and nothing else is believed."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import tleg
from tleg.errors import FileFormatError, InputError
from tleg.latency.measuring import profile_of
from tleg.learngene.device import DeviceProfile, read_profile
from tleg.serialize import decode, encode, to_json

ABOUT = {"export": "onnx", "dtype": "float32", "image_size": [28, 28], "learngene": "ab" * 32}
RUNTIME = {"name": "onnxruntime", "version": "1.32.0", "provider": "CPUExecutionProvider"}


def point(depth: int | None, median: float) -> dict[str, Any]:
    return {"depth": depth, "runs": 10, "median": median, "p90": median, "p95": median, "p99": median, "jitter": 0.0}


def profile(**medians: float) -> DeviceProfile:
    points = [point(int(name.removeprefix("d")), median) for name, median in medians.items()]
    return decode(DeviceProfile, profile_of(points, ABOUT, RUNTIME, 1, 1), "it")


def test_a_line_says_the_depths_between() -> None:
    known = profile(d2=0.010, d7=0.0352, d12=0.060)
    assert known.affine
    assert known.check is not None
    assert known.check.error == pytest.approx(0.0002 / 0.0352)
    assert known.latency(7) == 0.0352  # As measured, and not as the line has it.
    assert known.latency(4) == pytest.approx(0.020)
    assert known.latency(24) == pytest.approx(0.120)
    assert known.latency((2, 2, 6, 2)) is None


def test_what_is_no_line_is_read_between_the_measured() -> None:
    known = profile(d2=0.010, d6=0.050, d12=0.060)
    assert not known.affine
    assert known.latency(4) == pytest.approx(0.030)
    assert known.latency(9) == pytest.approx(0.055)
    assert known.latency(15) == pytest.approx(0.065)
    assert known.latency(1) == pytest.approx(0.0)


def test_one_depth_says_nothing_of_others() -> None:
    known = profile(d5=0.010)
    assert (known.latency(5), known.latency(6), known.line) == (0.010, None, None)


@given(st.lists(st.integers(1, 64), min_size=3, max_size=6, unique=True), st.floats(1e-6, 1.0), st.floats(1e-6, 1.0))
def test_a_true_line_is_found_exactly(depths: list[int], base: float, layer: float) -> None:
    known = profile(**{f"d{depth}": base + depth * layer for depth in depths})
    assert known.affine
    for depth in range(1, 65):
        assert known.latency(depth) == pytest.approx(base + depth * layer, rel=1e-6)


def test_files_come_back_and_others_are_refused(tmp_path: Path) -> None:
    known = profile(d2=0.010, d7=0.035, d12=0.060)
    path = tmp_path / "profile.json"
    path.write_text(to_json(encode(known)))
    assert read_profile(path) == known
    for content, says in (("{", "it is not JSON"), ("{}", "is no device profile"), ("[]", "is no device profile")):
        path.write_text(content)
        with pytest.raises(FileFormatError, match=says):
            read_profile(path)
    document = json.loads(to_json(encode(known)))
    path.write_text(json.dumps({**document, "points": []}))
    with pytest.raises(FileFormatError, match="without measurements"):
        read_profile(path)
    path.write_text(json.dumps({**document, "points": [point(2, -1.0)]}))
    with pytest.raises(FileFormatError, match="no positive number of seconds"):
        read_profile(path)
    with pytest.raises(InputError, match="cannot read the device profile"):
        read_profile(tmp_path / "absent.json")


def test_another_learngene_or_size_is_refused() -> None:
    known = profile(d2=0.010, d12=0.060)
    known.require("ab" * 32, (28, 28))
    with pytest.raises(InputError, match="of another learngene"):
        known.require("cd" * 32, (28, 28))
    with pytest.raises(InputError, match="of inputs of 28 x 28 and not 32 x 32 pixels"):
        known.require("ab" * 32, (32, 32))


def test_a_preview_shows_latencies_and_picks_by_them(learngene_file: Path, tmp_path: Path, run_cli: Any) -> None:
    header = tleg.read_header(learngene_file)
    about = {**ABOUT, "learngene": header.sha256, "image_size": list(header.image_size)}
    points = [point(depth, 0.001 + 0.002 * depth) for depth in (2, 7, 12)]
    path = tmp_path / "profile.json"
    path.write_text(to_json(profile_of(points, about, RUNTIME, 1, 1)))
    words = ("preview", learngene_file, "--depths", "1-12", "--profile", path)
    picked = run_cli(*words, "--max-latency", "11.5ms", "--pick")
    assert (picked.code, picked.stdout) == (0, "5\n")  # 1 + 2 * 5 = 11 ms.
    table = run_cli(*words, "--max-latency", "11.5ms")
    assert "deepest that fits: 5" in table.stderr
    assert "11.000 ms" in table.stdout.splitlines()[5]
    assert table.stdout.splitlines()[6].endswith("over")
    rows = json.loads(run_cli(*words, "--json").stdout)["depths"]
    assert [row["latency"] for row in rows] == pytest.approx([0.001 + 0.002 * depth for depth in range(1, 13)])
    assert tleg.preview(learngene_file, [4], profile=path).rows[0].latency == pytest.approx(0.009)
    none = run_cli(*words, "--max-latency", "300us", "--pick")
    assert none.code == 1
    assert "depth 1 takes 3.000 ms against --max-latency 0.300 ms" in none.stderr
    for more, says in (
        (("--batch", "4"), "the device was measured with a batch of 1, and the preview is for 4"),
        (("--max-latency", "20"), "'20' is not a time such as 20ms, 0.5s or 300us"),
    ):
        refused = run_cli(*words, *more)
        assert refused.code == 2
        assert says in refused.stderr
    alone = run_cli("preview", learngene_file, "--max-latency", "20ms")
    assert alone.code == 2
    assert "--max-latency needs a device" in alone.stderr
