"""A cluster of one machine: stand-ins for SLURM's programs that start jobs when those before them ended well."""

import os
import sys
from pathlib import Path

import pytest

# Each job is a folder JOBS/N with 'command' (the words of sbatch) and, once it ended, 'code'. A cluster that is 'held'
# starts nothing: its jobs wait.
_SBATCH = """
import os, pathlib, subprocess, sys
jobs = pathlib.Path(os.environ["JOBS"])
if (jobs / "refuse").exists():
    sys.exit("sbatch: error: no partition of that name")
number = 100 + len(list(jobs.glob("*/command")))
job = jobs / str(number)
job.mkdir()
(job / "command").write_text(" ".join(sys.argv[1:]))
if not (jobs / "held").exists():
    subprocess.Popen([sys.executable, str(pathlib.Path(__file__).with_name("job.py")), str(job), *sys.argv[1:]],
                     stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
print(number)
"""
_JOB = """
import os, pathlib, subprocess, sys, time
job, jobs = pathlib.Path(sys.argv[1]), pathlib.Path(os.environ["JOBS"])
after = [each.split(":")[1:] for each in sys.argv if each.startswith("--dependency=afterok:")]
for other in (after[0] if after else []):
    while not (jobs / other / "code").exists():
        time.sleep(0.05)
        if (job / "code").exists():
            sys.exit()
    if (jobs / other / "code").read_text() != "0":
        (job / "code").write_text("dependency")
        sys.exit()
variables = {"SLURM_JOB_ID": job.name, "SLURM_JOB_NODELIST": "here", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1",
             "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
done = subprocess.run(["bash", sys.argv[-1]], env={**os.environ, **variables})
(job / "code").write_text(str(done.returncode))
"""
_SQUEUE = """
import os, pathlib
for job in sorted(pathlib.Path(os.environ["JOBS"]).glob("*/command")):
    if not job.with_name("code").exists():
        print(job.parent.name)
"""
_SCANCEL = """
import os, pathlib, sys
job = pathlib.Path(os.environ["JOBS"], sys.argv[1])
if (job / "code").exists():
    sys.exit("scancel: error: Invalid job id specified")
(job / "code").write_text("cancelled")
"""
_SCONTROL = 'print("here")'
_SRUN = """
import os, sys
words = sys.argv[1:]
while words[0].startswith("--"):
    words.pop(0)
os.execvp(words[0], words)
"""
PROGRAMS = {"sbatch": _SBATCH, "squeue": _SQUEUE, "scancel": _SCANCEL, "scontrol": _SCONTROL, "srun": _SRUN}


class Cluster:
    """The jobs of a cluster."""

    def __init__(self, folder: Path) -> None:
        self.jobs = folder / "jobs"
        self.jobs.mkdir()

    def commands(self) -> dict[str, str]:
        """The words of sbatch by job, without the script."""
        found = sorted(self.jobs.glob("*/command"))
        return {file.parent.name: file.read_text().rpartition(" ")[0].removeprefix("--parsable").strip() for file in found}

    def script(self, job: str) -> str:
        """The script of a job."""
        return Path((self.jobs / job / "command").read_text().rpartition(" ")[2]).read_text()

    def end(self, job: str, code: str = "0") -> None:
        """Let a job be over."""
        (self.jobs / job / "code").write_text(code)

    def ended(self) -> dict[str, str]:
        """How jobs ended."""
        return {file.parent.name: file.read_text() for file in sorted(self.jobs.glob("*/code"))}

    def hold(self) -> None:
        """Start no job from now on."""
        (self.jobs / "held").touch()


def make_cluster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Put the programs in front of PATH."""
    programs = folder / "programs"
    programs.mkdir()
    (programs / "job.py").write_text(_JOB)
    for name, text in PROGRAMS.items():
        (programs / name).write_text(f"#!{sys.executable} -S\n{text}")
        (programs / name).chmod(0o755)
    cluster = Cluster(folder)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JOBS", str(cluster.jobs))
    return cluster
