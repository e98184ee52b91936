"""The contract of the command line: exit codes, one line for an error, data on stdout, talk on stderr."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tleg.errors import DepthError, ExportError, InputError, VerificationError, exit_code_of, explain


def failure(done: Any, code: int, says: str) -> None:
    """Assert that a command failed as it should: its code, nothing on stdout, one line on stderr that says so."""
    assert done.stdout == ""
    assert done.stderr.startswith("tleg: ")
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.code == code


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["prevew"], "No such command 'prevew'. Did you mean 'preview'?"),
        (["preview", "FILE", "--max-sise", "1MB"], "--max-size"),
        (["preview", "FILE", "--depths", "0"], "depth 0 is out of range: choose 1 to 1024"),
        (["preview", "FILE", "--depths", "-1"], "depths"),
        (["preview", "FILE", "--depths", "1000000000"], "1000000000"),
        (["preview", "FILE", "--depths", "999999999"], "out of range"),
        (["preview", "FILE", "--batch", "0"], "at least 1 image"),
        (["preview", "FILE", "--batch", "many"], "batch"),
        (["preview", "FILE", "--max-size", "large"], "'large' is not a size such as"),
        (["preview", "FILE", "--max-params", "20 MB"], "is not a count such as"),
        (["preview", "FILE", "--pick"], "--pick needs a budget"),
        (["preview", "nonsense"], "no shipped learngene and no run 'nonsense'"),
        (["preview", "x" * 300], "x" * 300),
        (["preview", "FOLDER"], "is a folder; name a file"),
        (["preview", "FOLDER/absent.safetensors"], "there is no file"),
        (["preview", "FOLDER/tinny.safetensors"], "Did you mean 'tiny.safetensors'?"),
        (["preview", "/dev/zero"], "is not a regular file"),
        (["inspect"], "Missing argument"),
        (["inspect", "FILE", "FILE"], "unexpected extra argument"),
        (["inspect", "CHECKPOINT"], "`tleg import` makes one of a checkpoint of the paper's own code"),
        (["import", "CHECKPOINT"], "Missing option '--output'"),
        (["import", "FILE", "--output", "FOLDER/new"], "is not a PyTorch checkpoint"),
        (["import", "FOLDER/absent.pth", "--output", "FOLDER/new"], "No such file"),
        (["import", "CHECKPOINT", "--output", "FOLDER/new"], "--heads"),
        (["import", "CHECKPOINT", "--output", "FILE"], "--force"),
    ],
)
def test_bad_input_is_one_line_and_code_2(run_cli: Any, learngene_file: Path, arguments: list[str], says: str) -> None:
    names = {
        "FILE": str(learngene_file),
        "FOLDER": str(learngene_file.parent),
        "CHECKPOINT": str(Path(__file__).parents[1] / "models/data/aux_checkpoint.pth"),
    }
    words = [names.get(word, word.replace("FOLDER/", f"{learngene_file.parent}/")) for word in arguments]
    before = learngene_file.read_bytes()
    failure(run_cli(*words), 2, says)
    assert learngene_file.read_bytes() == before
    assert not (learngene_file.parent / "new").exists()


def test_nothing_fits_is_code_1(run_cli: Any, learngene_file: Path) -> None:
    done = run_cli("preview", learngene_file, "--max-size", "1kB", "--pick")
    failure(done, 1, "no depth fits: depth 1 takes 155.0 kB against --max-size 1.0 kB")


def test_pick(run_cli: Any, learngene_file: Path) -> None:
    assert run_cli("preview", learngene_file, "--max-params", "0.2M", "--pick").stdout == "6\n"
    assert run_cli("preview", learngene_file, "--max-params", "0.2M", "--pick", "--json").stdout == "6\n"
    assert run_cli("preview", learngene_file, "--depths", "2,4", "--max-params", "0.2M", "--pick").stdout == "4\n"


def test_limits_are_inclusive_and_exact(run_cli: Any, learngene_file: Path) -> None:
    size = json.loads(run_cli("preview", learngene_file, "--depths", "5", "--json").stdout)["depths"][0]["size"]
    assert run_cli("preview", learngene_file, "--max-size", size, "--pick").stdout == "5\n"
    assert run_cli("preview", learngene_file, "--max-size", size - 1, "--pick").stdout == "4\n"


def test_debug_shows_the_traceback_wherever_it_stands(run_cli: Any) -> None:
    for words in (["--debug", "preview", "nonsense"], ["preview", "nonsense", "--debug"]):
        done = run_cli(*words)
        assert done.code == 2
        assert done.stderr.startswith("tleg: there is no file")
        assert "Traceback" in done.stderr


def test_version_and_help(run_cli: Any) -> None:
    import tleg

    assert run_cli("--version").stdout == f"tleg {tleg.__version__}\n"
    for words in (["-h"], ["--help"], ["preview", "-h"], ["inspect", "--help"]):
        done = run_cli(*words)
        assert (done.code, done.stderr) == (0, "")
        assert "Usage" in done.stdout
    assert run_cli().code == 2
    assert "preview" in run_cli().stdout
    assert "multiply-accumulates" in run_cli("preview", "--help").stdout


def test_commands_are_listed_in_the_order_of_their_use(run_cli: Any) -> None:
    run_cli("--version")
    help_text = run_cli("--help").stdout
    places = [help_text.index(f" {name} ") for name in ("preview", "inspect", "import", "doctor")]
    assert places == sorted(places)


def test_doctor(run_cli: Any) -> None:
    done = run_cli("doctor", "--json")
    assert (done.code, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert {library["name"]: library["state"] for library in report["required"]}["torch"] == "found"
    assert report["devices"][0]["name"] == "cpu"
    assert report["problems"] == []
    assert "ready" in run_cli("doctor").stdout


BROKEN = {
    # As onnx fails where protobuf is too old, or its compiled part is another version than its Python part.
    "import": "from google.protobuf import runtime_version",
    "descriptors": "raise TypeError('Descriptors cannot be created directly.\\nIf this call came from a _pb2.py file')",
    "library": "raise OSError('libonnx.so.1: cannot open shared object file')",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_library_is_named_with_what_to_do(kind: str, learngene_file: Path, tmp_path: Path, run_python: Any) -> None:
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "__init__.py").write_text("from onnx.onnx_pb2 import ModelProto\n")
    (tmp_path / "onnx" / "onnx_pb2.py").write_text(f"{BROKEN[kind]}\n")
    (tmp_path / "google" / "protobuf").mkdir(parents=True)
    (tmp_path / "google" / "protobuf" / "__init__.py").write_text("")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from tleg.cli.app import run\n"
        "options = ['--depth', '2', '--no-verify', '--output', f'{sys.argv[1]}/out']\n"
        "print(run(['build', sys.argv[2], '--export', 'pytorch', *options]))\n"
        "print(run(['build', sys.argv[2], '--export', 'onnx', *options]))\n"
        "open(f'{sys.argv[1]}/x.onnx', 'wb').close()\n"
        "print(run(['verify', f'{sys.argv[1]}/x.onnx']))\n"
    )
    done = run_python(code, tmp_path, learngene_file)
    assert done.code == 0, done.stderr
    assert done.stdout.splitlines()[0].endswith("tiny-depth2"), "what needs no onnx works"
    assert [line for line in done.stdout.splitlines() if line.isdigit()] == ["0", "1", "1"]
    sentences = done.stderr.splitlines()
    assert len(sentences) == 2
    for sentence in sentences:
        assert sentence.startswith("tleg: onnx ")
        assert "does not load (" in sentence
        assert "pip install --force-reinstall onnx" in sentence
        assert "tleg doctor" in sentence


def test_a_missing_library_is_named() -> None:
    for module, library in (("no_such_library.part", "no_such_library"), ("PIL.Image", "pillow")):
        assert explain(ModuleNotFoundError("No module", name=module)) == (
            f"{library} is not installed: pip install {library}; `tleg doctor` looks at every library"
        )
    assert explain(TypeError("unrelated")) is None


def test_doctor_says_what_to_do(run_cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tleg import doctor

    monkeypatch.setattr(doctor, "REQUIRED", {"no-such-library": "no_such_library", "pytest": "pytest.no_such_module"})
    done = run_cli("doctor", "--json")
    assert done.code == 1
    assert [library["state"] for library in json.loads(done.stdout)["required"]] == ["missing", "broken"]
    assert "tleg: no-such-library is not installed: pip install no-such-library" in done.stderr
    assert "pip install --force-reinstall pytest" in done.stderr


def test_exit_codes() -> None:
    assert exit_code_of(InputError("")) == exit_code_of(DepthError("")) == 2
    assert exit_code_of(ExportError("")) == exit_code_of(VerificationError("")) == 1
    assert exit_code_of(RuntimeError("")) == 1
    assert exit_code_of(KeyboardInterrupt()) == 130


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 1, "out of memory"),
        (OSError(28, "No space left on device", "/some/place"), 1, "No space left on device: /some/place"),
        (ZeroDivisionError("secret\nof two lines"), 1, "unexpected ZeroDivisionError: secret of two lines"),
        (InputError("one\n\x1b[31mtwo"), 2, "one \ufffd[31mtwo"),
    ],
)
def test_any_exception_is_one_line(
    run_cli: Any, monkeypatch: pytest.MonkeyPatch, learngene_file: Path, error: BaseException, code: int, says: str
) -> None:
    def fail(path: object) -> None:
        raise error

    monkeypatch.setattr("tleg.learngene.container.read_file", fail)
    failure(run_cli("preview", learngene_file), code, says)


def test_hostile_text_in_a_header_does_not_reach_the_terminal(run_cli: Any, tiny_learngene: Any, tmp_path: Path) -> None:
    path = tmp_path / "it.safetensors"
    tiny_learngene(learned={"note": "\x1b]0;title\x07\x1b[2J", "half": "\ud800"}, classes=("\x1b[31m", *"abcdef")).save(path)
    for options in ([], ["--json"]):
        done = run_cli("inspect", path, *options)
        assert done.code == 0
        assert "\x1b" not in done.stdout
        done.stdout.encode()


def test_as_a_process(run_tleg: Any, learngene_file: Path) -> None:
    done = run_tleg("preview", learngene_file, "--depths", "3")
    assert done.code == 0
    assert done.stdout.splitlines()[0].split() == ["depth", "params", "GMACs", "size", "inference", "training", "top-1"]
    failure(run_tleg("preview", "nonsense"), 2, "nonsense")


def test_a_closed_pipe_is_quiet(learngene_file: Path, child_environment: Any) -> None:
    command = f"{sys.executable} -m tleg.cli inspect {learngene_file} --json | true"
    done = subprocess.run(["bash", "-c", command], env=child_environment(), capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.parametrize(("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_styles_on_a_terminal_only(
    learngene_file: Path, child_environment: Any, environment: dict[str, str], coloured: bool
) -> None:
    master, slave = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as terminal:
        done = subprocess.run(
            [sys.executable, "-m", "tleg.cli", "preview", str(learngene_file), "--depths", "3-4", "--max-params", "0.1M"],
            env={**child_environment(TERM="xterm", NO_COLOR=""), **environment},
            stdout=slave,
            stderr=subprocess.PIPE,
            check=False,
        )
        os.close(slave)
        output = terminal.read(65536).decode()
    assert done.returncode == 0
    assert b"\x1b" not in done.stderr
    assert ("\x1b[" in output) == coloured
    assert "deepest" in output


def test_tables_fit_80_columns(run_cli: Any, tiny_learngene: Any, tmp_path: Path) -> None:
    from tleg.learngene.header import Reached

    path = tmp_path / "large.safetensors"
    arguments = {"img_size": 224, "patch_size": 16, "embed_dim": 768, "num_heads": 12}
    reached = Reached("some images", 10, {12: 81.75})
    tiny_learngene("deit_base_patch16_224", arguments, num_classes=1000, reached=reached).save(path)
    done = run_cli("preview", path, "--batch", "64", "--max-params", "86.6M")
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "auxiliary, deepest" in done.stdout
    assert max(map(len, run_cli("inspect", path).stdout.splitlines()[1:])) <= 80


@pytest.mark.parametrize("arguments", [["preview"], ["learn", "--preset", "example", "--dry-run"], ["doctor"], ["runs"]])
def test_a_working_folder_that_was_removed_is_one_line(
    arguments: list[str], run_cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    done = run_cli(*arguments)
    assert (done.code, done.stdout) == (2, "")
    assert done.stderr == "tleg: the folder that you are in was removed; go to one that exists, such as with `cd ~`\n"
    assert run_cli("--version").code == 0


def test_json_has_no_number_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    from tleg.terminal import write_json

    write_json({"a": float("nan"), "b": [1.5, float("-inf")], "c": {"d": (float("inf"), 2)}, "e": "NaN"})
    found = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found == {"a": None, "b": [1.5, None], "c": {"d": [None, 2]}, "e": "NaN"}
