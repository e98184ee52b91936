"""Errors of the operating system and of other libraries, provoked as users meet them, are sentences with what to do next."""

import errno
import os
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.data.fashion_files import fill_fashion_mnist
from tleg.errors import MEMORY, SHARED_MEMORY, ExitCode, TlegError, describe_os_error, explain, last_words
from tleg.training.worker import advice

Tleg = Callable[..., Any]


def caught(action: Callable[[], Any]) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def told(action: Callable[[], Any]) -> str:
    return advice(caught(action))


# As libraries raise them


def test_batch_norm_with_a_single_value() -> None:
    words = told(lambda: torch.nn.BatchNorm1d(3).train()(torch.zeros(1, 3)))
    assert words.startswith("batch norm cannot learn from one value")
    assert "--batch-size" in words


def test_memory_of_the_host() -> None:
    assert told(lambda: torch.empty(2**55)) == MEMORY
    assert told(lambda: bytearray(2**62)) == MEMORY


def test_weights_that_cannot_be_written_because_the_disk_is_full() -> None:
    from safetensors import SafetensorError

    error = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert advice(error).startswith("the disk is full: make room there")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("unable to write to file </torch_10855_440766846_0>: No space left on device (28)", SHARED_MEMORY),
        ("unable to allocate shared memory(shm) for file </torch_1_2_0>: No space left on device (28)", SHARED_MEMORY),
        (
            "DataLoader worker (pid 5) is killed by signal: Bus error. It is possible that dataloader's workers are",
            SHARED_MEMORY,
        ),
        ("can't start new thread", "no more processes or threads may be started"),
        ("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to", MEMORY),
        ("std::bad_alloc", MEMORY),
        ("CUDA error: no kernel image is available for execution on the device", "this torch holds no code for this GPU"),
        ("The NVIDIA driver on your system is too old (found version 11040)", "the driver of the GPU is older"),
        ("CUDA error: device-side assert triggered", "the GPU stopped at an error"),
        ("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", "a library of the GPU failed"),
        ("NCCL error in: ProcessGroupNCCL.cpp:2395, unhandled system error", "the GPUs cannot talk to each other"),
        ("The server socket has failed to listen on any local network address. EADDRINUSE", "the port at which"),
    ],
)
def test_texts_of_torch(text: str, words: str) -> None:
    assert (explain(RuntimeError(text)) or "").startswith(words)


def test_what_is_repeated_from_a_worker_is_its_last_line() -> None:
    text = (
        "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback (most recent call):\n  x\nValueError: odd\n"
    )
    assert last_words(ValueError(text)) == "odd"
    assert advice(ValueError(text)) == "unexpected ValueError: odd. The log has the place"


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.EFBIG, errno.EROFS, errno.ENOMEM, errno.EIO]
)
def test_errors_of_the_operating_system_say_what_to_do(number: int) -> None:
    words = describe_os_error(OSError(number, os.strerror(number)))
    assert words.startswith(f"{os.strerror(number)} (")
    assert advice(OSError(number, os.strerror(number), "/x")) not in ("", os.strerror(number))


def test_what_is_not_known_stays_as_it_is() -> None:
    for error in (RuntimeError("odd"), ValueError(), KeyError("x")):
        assert explain(error) is None
    assert advice(TlegError("No space left on device")) == "No space left on device", "that is a sentence already"


# As users meet them


def broken(name: str, folder: Path) -> dict[str, str]:
    """An environment in which a library does not load, as protobuf does not where onnx's files are of another version."""
    package = folder / "broken" / Path(*name.split("."))
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise TypeError('Descriptors cannot be created directly.\\nIf this call came')")
    engine = str(Path(__file__).resolve().parents[1] / "engine")
    return {"PYTHONPATH": os.pathsep.join((str(folder / "broken"), engine)), "TLEG_RUNS": str(folder / "runs")}


def test_a_broken_protobuf(run_tleg: Tleg, tmp_path: Path) -> None:
    environment = broken("google.protobuf", tmp_path)
    words = ("build", "fashion-mnist", "--depth", 2, "--export", "onnx", "--output", tmp_path / "exports")
    done = run_tleg(*words, environment=environment)
    assert done.code == ExitCode.FAILED
    assert done.stderr.startswith("tleg: onnx ")
    assert "does not load (Descriptors cannot be created directly.): pip install --force-reinstall onnx" in done.stderr
    assert done.stderr.endswith("`tleg doctor` looks at every library\n")
    assert "onnx" in run_tleg("doctor", environment=environment).stderr


def test_a_trainer_whose_libraries_do_not_load(run_tleg: Tleg, tmp_path: Path) -> None:
    done = run_tleg("learn", "--preset", "example", "--workers", 0, environment=broken("timm", tmp_path))
    assert done.code == ExitCode.FAILED
    assert re.search(
        r"timm [\d.]+ does not load \(Descriptors cannot be created directly\.\): pip install --force-reinstall timm;",
        done.stderr,
    )
    assert "without a word" not in done.stderr


def limited(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


def test_too_few_open_files_for_workers(run_tleg: Tleg, tmp_path: Path) -> None:
    data = fill_fashion_mnist(tmp_path, train=10, validation=10)
    words = ("evaluate", "fashion-mnist", "--data", data, "--depths", 2, "--workers", 6)
    done = run_tleg(*words, preexec=limited(resource.RLIMIT_NOFILE, 45))
    assert done.code == ExitCode.USAGE
    assert "only 45 files may be open at once, and 6 workers may need 152: raise the limit with `ulimit -n" in done.stderr


def test_a_soft_limit_of_open_files_is_raised(run_tleg: Tleg, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

    data = fill_fashion_mnist(tmp_path, train=10, validation=300)
    words = ("evaluate", "fashion-mnist", "--data", data, "--depths", 2, "--workers", 2)
    done = run_tleg(*words, preexec=limit)
    assert done.code == 0, done.stderr


def test_a_file_system_that_takes_no_more(run_tleg: Tleg, tmp_path: Path) -> None:
    words = ("build", "fashion-mnist", "--depth", 3, "--export", "onnx", "--output", tmp_path / "e", "--no-verify")
    done = run_tleg(*words, preexec=limited(resource.RLIMIT_FSIZE, 40_000))
    assert done.code == ExitCode.FAILED
    assert "File too large (`ulimit -f` or the file system allows no larger ones)" in done.stderr
    assert not list((tmp_path / "e").iterdir())
