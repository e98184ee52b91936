"""How many threads a process takes: of the cores that are there and that it may use, shared with the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import clean_environment
from tleg.errors import InputError
from tleg.threads import GIVEN, available_cores, choose_threads, launched_environment, parse_threads

NONE: dict[str, str] = {}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with 8 cores of two processors each, of which this process may use the first twelve processors."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(12)))
    for number in range(16):
        place = tmp_path / f"sys/devices/system/cpu/cpu{number}/topology"
        place.mkdir(parents=True)
        (place / "thread_siblings_list").write_text(f"{number % 8},{number % 8 + 8}\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/pod/box\n")
    (tmp_path / "sys/fs/cgroup/pod/box").mkdir(parents=True)
    return tmp_path


def test_processors_that_share_a_core_are_one(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert available_cores(NONE, machine) == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 8, 1})
    assert available_cores(NONE, machine) == 2
    # Where the system does not say, each is a core.
    assert available_cores(NONE, machine / "nothing") == 3


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"pod/box/cpu.max": "400000 100000"}, 4),
        ({"pod/cpu.max": "250000 100000", "pod/box/cpu.max": "max 100000"}, 2),
        ({"pod/box/cpu.max": "50000 100000"}, 1),
        ({"pod/box/cpu.max": "99900000 100000"}, 8),
        ({"cpu.max": "300000 100000"}, 3),
        ({"pod/box/cpu.max": "nonsense"}, 8),
        ({"pod/box/cpu.max": "100000 0"}, 8),
    ],
)
def test_the_share_of_a_container(machine: Path, files: dict[str, str], cores: int) -> None:
    for name, text in files.items():
        (machine / "sys/fs/cgroup" / name).write_text(f"{text}\n")
    assert available_cores(NONE, machine) == cores


def test_the_share_of_an_older_container(machine: Path) -> None:
    (machine / "proc/self/cgroup").write_text("4:memory:/pod\n3:cpuset:/pod\n1:cpu,cpuacct:/pod\n0::/\n")
    place = machine / "sys/fs/cgroup/cpu,cpuacct/pod"
    place.mkdir(parents=True)
    (place / "cpu.cfs_quota_us").write_text("300000\n")
    (place / "cpu.cfs_period_us").write_text("100000\n")
    assert available_cores(NONE, machine) == 3
    (place / "cpu.cfs_quota_us").write_text("-1\n")
    assert available_cores(NONE, machine) == 8


@given(st.integers(1, 256), st.integers(1, 64), st.integers(0, 64))
def test_cores_are_divided_among_processes_less_their_workers(cores: int, processes: int, workers: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tleg.threads.available_cores", lambda _environment: cores)
        count = choose_threads(processes=processes, workers=workers, environment=NONE).count
    assert count == max(1, cores // processes - workers)
    assert count == 1 or processes * (count + workers) <= cores


def test_what_counts_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tleg.threads.available_cores", lambda _environment: 16)
    user = {"OMP_NUM_THREADS": "5"}
    assert choose_threads("3", environment=user, recorded=7).count == 3
    assert choose_threads(environment=user, recorded=7).count == 7
    assert choose_threads(environment=user).count == 5
    assert choose_threads(environment=user).reason == "OMP_NUM_THREADS says so"
    assert choose_threads(environment={"OMP_NUM_THREADS": "4,2"}).count == 4
    assert choose_threads(environment=NONE, processes=2, workers=3).reason == "16 cores, 2 processes, 3 workers each"
    for nothing in ("", "0", "-1", "many", "100000"):
        assert choose_threads(environment={"OMP_NUM_THREADS": nothing}).count == 16


def test_each_task_of_a_job_has_processors_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tleg.threads.available_cores", lambda _environment: 16)
    job = {"SLURM_CPUS_PER_TASK": "6", "SLURM_PROCID": "1"}
    assert choose_threads(environment=job, processes=4, workers=2).count == 4
    assert choose_threads(environment={"SLURM_CPUS_PER_TASK": "6"}, processes=4, workers=2).count == 2, "of a shell there"


def test_what_a_launcher_says_is_not_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tleg.threads.available_cores", lambda _environment: 16)
    assert choose_threads(environment=launched_environment(NONE)).count == 16
    user = launched_environment({"OMP_NUM_THREADS": "3"})
    assert (user["OMP_NUM_THREADS"], user[GIVEN], choose_threads(environment=user).count) == ("3", "3", 3)
    assert launched_environment(launched_environment(NONE)) == launched_environment(NONE)
    # torchrun, when a person starts it, sets 1 where the user said nothing.
    monkeypatch.setattr("tleg.threads._launcher_had_it", lambda: False)
    torchrun = {"OMP_NUM_THREADS": "1", "TORCHELASTIC_RUN_ID": "x"}
    assert choose_threads(environment=torchrun).count == 16
    monkeypatch.setattr("tleg.threads._launcher_had_it", lambda: True)
    assert choose_threads(environment=torchrun).count == 1


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "many", "AUTO", "1025", "99999", "٣"])
def test_what_is_no_number_of_threads(text: str) -> None:
    with pytest.raises(InputError, match=f"threads must be auto, or a whole number from 1 to 1024, not '{text}'"):
        parse_threads(text)


def test_torch_takes_them_and_its_threads_sleep_while_they_wait() -> None:
    code = (
        "from tleg.threads import choose_threads, use_threads; use_threads(choose_threads('1').count); "
        "import os, torch; print(torch.get_num_threads(), os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {**clean_environment(), "OMP_NUM_THREADS": "2"}
    environment.pop("OMP_WAIT_POLICY", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "PASSIVE"]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "OMP_WAIT_POLICY": "ACTIVE"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "ACTIVE"], "what the user says stays"
