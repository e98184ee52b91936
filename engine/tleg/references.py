"""What a name means: the one answer, for every command and for the workbench. No torch.

A text names, in this order,

1. what lies at a path: a file, a folder that timm loads, the folder of a run;
2. `TIMM_NAME:FILE`, a timm model with the weights of a file; `local-dir:FOLDER`, as timm writes it;
3. a learngene that ships with tleg;
4. a run: its id, `last` for the newest, or the beginning of exactly one id;
5. where a model may be downloaded, a model of timm.

A text that is a path and the id of a run at once is refused, with how to write either. What reads runs is loaded where a run
may be meant: a preview of a file needs none of it.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from tleg.errors import FileFormatError, InputError, NotFoundError, describe_os_error, did_you_mean
from tleg.learngene.container import is_foreign
from tleg.paths import runs_folder
from tleg.runs.run import LAST, LEARNGENE, MODEL, RunFolder

DEFAULT_LEARNGENE: Final = "fashion-mnist"
SUFFIX: Final = ".safetensors"
# Of the manifest that lies beside every file that `tleg build` writes.
MANIFEST_SUFFIX: Final = ".manifest.json"

# Of exports that need no manifest beside them to be known as such.
_EXPORT_SUFFIXES: Final = (".onnx", ".pt2", ".pte")


def shipped_folder() -> Path:
    """The folder of the shipped learngenes: inside the installed package, or assets/ of a source tree."""
    package = Path(__file__).resolve().parent
    installed = package / "assets"
    return installed if installed.is_dir() else package.parent.parent / "assets"


def shipped() -> dict[str, Path]:
    """The shipped learngenes: name -> file."""
    return {path.stem: path for path in sorted(shipped_folder().glob(f"*{SUFFIX}"))}


Kind = Literal["learngene", "folder", "weights", "export", "checkpoint", "run", "timm"]
# What torch.save, JAX and others write.
CHECKPOINT_SUFFIXES: Final = (".pth", ".pt", ".bin", ".ckpt", ".tar", ".npz", ".pkl")
# As timm writes what it would download.
_HUB: Final = ("hf-hub:", "hf_hub:")
_WEIGHTS: Final = re.compile(r"(?P<name>[\w.\-]+):(?P<file>.+)", re.DOTALL)
_NAMES: Final = {
    "learngene": "a learngene",
    "folder": "a folder that timm loads",
    "weights": "TIMM_NAME:FILE",
    "export": "an export",
    "checkpoint": "a file of weights",
    "run": "a run",
    "timm": "a model of timm",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """What a text names.

    text  as it was written
    kind  'learngene'   a file that a learngene is expected in
          'folder'      a folder that timm is expected to load
          'weights'     a timm model (`name`) with the weights of a file (`path`)
          'export'      a file that `tleg build` wrote: one with its manifest beside it, or one with a suffix of its own
          'checkpoint'  a file of weights alone, which says of no model
          'run'         a run (`run`) that has no result yet: its last checkpoint can be used
          'timm'        a model of timm (`name`), whose weights would be downloaded
    path  of the file or folder
    run   that the result is of, or that has none yet
    """

    text: str
    kind: Kind
    path: Path | None = None
    name: str = ""
    run: RunFolder | None = None

    @property
    def learns(self) -> bool:
        """Whether the run that it names learns a learngene, and does not train one model."""
        assert self.run is not None, "a run is named"
        from tleg.runs.spec import read_spec

        try:
            return read_spec(self.run).kind == "learn"
        except InputError:
            return (self.run.exports / LEARNGENE).exists()

    @property
    def place(self) -> Path:
        """The path. Raises InputError for what is none."""
        if self.path is None:
            raise InputError(f"'{self.text}' is {_NAMES[self.kind]}, where a path was expected", code="wrong-kind")
        return self.path


def resolve(
    text: str | os.PathLike[str],
    runs_dir: Path | None = None,
    *,
    download: bool = False,
    is_timm_name: Callable[[str], bool] | None = None,
) -> Reference:
    """Return what a text names.

    runs_dir      where runs are looked for; None is the user's folder of runs
    download      whether it may be a timm model whose weights are downloaded
    is_timm_name  knows timm's names; without it, what nothing else has the name of is taken for one

    Raises NotFoundError when it names nothing, with the closest of what there is, and InputError for a text that could be
    several things.
    """
    text = os.fspath(text)
    place = runs_folder() if runs_dir is None else runs_dir
    if text.startswith(_HUB):
        name = text.partition(":")[2]
        raise InputError(
            f"{text} lies on a hub; `hf download {name} --local-dir FOLDER` fetches it, and then name the folder",
            code="wrong-kind",
        )
    if text.startswith("local-dir:"):
        text = text.removeprefix("local-dir:")
    path = _expanded(text)
    if _exists(path, text):
        _refuse_ambiguous(text, path, place)
        return _at_path(text, path)
    if (match := _WEIGHTS.fullmatch(text)) is not None and os.sep not in match["name"]:
        return Reference(text, "weights", Path(match["file"]), match["name"])
    if (file := shipped().get(text)) is not None:
        return Reference(text, "learngene", file)
    if path.name == text and text:
        known = download and is_timm_name is not None and is_timm_name(text)
        from tleg.runs.listing import find_run

        run = find_run(text, place, beginnings=not known)
        if run is not None:
            return of_run(text, run)
        if known or (download and is_timm_name is None):
            return Reference(text, "timm", name=text)
    raise NotFoundError(_nothing(text, path, place, download=download))


def find(text: str | os.PathLike[str], *kinds: Kind, runs_dir: Path | None = None) -> Path:
    """Return the path of what a text names, of some kinds. Raises what `resolve` and `expect` raise."""
    return expect(resolve(text, runs_dir), *kinds).place


def of_run(text: str, run: RunFolder) -> Reference:
    """Return what a run gives: its result once it is finished, and until then the run itself."""
    from tleg.runs.state import recall_state

    state = recall_state(run)
    if state.state == "finished":
        results = [Path(state.result)] if state.result else []
        for path in (*results, run.exports / LEARNGENE, run.exports / MODEL):
            if path.exists():
                return Reference(text, "folder" if path.is_dir() else "learngene", path, run=run)
    return Reference(text, "run", run=run)


def expect(reference: Reference, *kinds: Kind) -> Reference:
    """Return a reference that is of one of some kinds, with what may be wrong about another said as people need it.

    Raises InputError.
    """
    if reference.kind in kinds:
        return reference
    if reference.kind == "checkpoint" and "weights" in kinds:
        raise InputError(
            f"{reference.text} is a file of weights, which does not say of which model; write TIMM_NAME:{reference.text}, "
            f"such as resnet18:{reference.text}",
            code="wrong-kind",
        )
    if reference.kind == "checkpoint" and "learngene" in kinds:
        raise FileFormatError(
            f"{reference.text} is a file of weights, not a learngene; `tleg import` makes one of a checkpoint of the "
            "paper's own code, and `tleg learn` learns one",
            code="wrong-kind",
        )
    if reference.run is not None:
        run, learns = reference.run.id, reference.kind == "learngene" or (reference.kind == "run" and reference.learns)
        if learns and "learngene" not in kinds:
            raise InputError(
                f"the run {run} learns a learngene; give its depth, with --learngene {run} --depth N", code="wrong-kind"
            )
        if not learns and "folder" not in kinds:
            raise InputError(f"the run {run} trains one model, not a learngene", code="wrong-kind")
        raise InputError(
            f"the run {run} is not finished, so it has no result yet; only its last checkpoint could be used",
            code="wrong-state",
        )
    if reference.kind == "folder":
        raise InputError(f"{reference.text} is a folder; name a file", code="wrong-kind")
    wanted = [_NAMES[kind] for kind in kinds if kind not in ("run", "checkpoint")]
    raise InputError(
        f"'{reference.text}' is {_NAMES[reference.kind]}; what is needed is {' or '.join(wanted)}", code="wrong-kind"
    )


def _at_path(text: str, path: Path) -> Reference:
    if path.is_dir():
        from tleg.runs.control import is_run

        folder = RunFolder(Path(os.path.normpath(path.absolute())))
        return of_run(text, folder) if is_run(folder) else Reference(text, "folder", path)
    if path.suffix in _EXPORT_SUFFIXES or path.with_name(path.name + MANIFEST_SUFFIX).is_file():
        return Reference(text, "export", path)
    foreign = path.name.endswith(CHECKPOINT_SUFFIXES) or (path.suffix == SUFFIX and path.is_file() and is_foreign(path))
    return Reference(text, "checkpoint" if foreign else "learngene", path)


def _expanded(text: str) -> Path:
    """The path of a text, with a home folder in place of '~', which not every shell and no form puts there."""
    try:
        return Path(text).expanduser() if text.startswith("~") else Path(text)
    except RuntimeError as error:
        raise InputError(f"cannot read {text!r}: there is no such user", code="not-found") from error


def _exists(path: Path, text: str) -> bool:
    try:
        return bool(text) and path.exists()
    except OSError as error:
        raise InputError(f"cannot read {text!r}: {describe_os_error(error)}", code="system") from error
    except ValueError as error:
        raise InputError(f"cannot read {text!r}: {error}", code="malformed") from error


def _refuse_ambiguous(text: str, path: Path, runs_dir: Path) -> None:
    """A path that is the id of a run as well, of another one."""
    if path.name != text or (text != LAST and not (runs_dir / text / "spec.json").is_file()):
        return
    from tleg.runs.listing import find_run

    run = find_run(text, runs_dir, beginnings=False)
    if run is not None and not run.path.samefile(path):
        what = "a folder" if path.is_dir() else "a file"
        other = f"the newest run, {run.id}" if text == LAST else f"a run in {runs_dir}"
        raise InputError(
            f"'{text}' is {what} here and {other}; write ./{text} for the one, and {run.path} for the other",
            code="ambiguous",
        )


def _nothing(text: str, path: Path, runs_dir: Path, *, download: bool) -> str:
    """Why a text names nothing, and what comes closest."""
    if not text:
        return "name a learngene, a model or a run"
    if os.sep in text or path.suffix:
        near = sorted(item.name for item in path.parent.iterdir()) if path.parent.is_dir() else []
        return f"there is no file {text}.{did_you_mean(path.name, near)}"
    from tleg.runs.listing import run_ids

    names = shipped()
    others = ", no run and no model of timm" if download else " and no run"
    hint = did_you_mean(text, [*names, *run_ids(runs_dir), LAST])
    if text == LAST:
        return f"there are no runs in {runs_dir}"
    known = hint or f" Shipped: {', '.join(names)}."
    return f"there is no file, no shipped learngene{others} '{text}'.{known}"
