"""What a run is: written before launch, read by the trainer and every viewer."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tleg.errors import FileFormatError, InputError
from tleg.files import new_file
from tleg.recipes import KINDS
from tleg.runs.run import RunFolder, read_document
from tleg.serialize import decode, encode

SPEC_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Launch:
    """How the trainer is started.

    devices       processes on each machine, one to a device; None is one
    nodes         machines
    max_restarts  how often the processes are started again when one of them dies
    slurm         options of the batch job (`tleg.runs.slurm.SlurmOptions`); None runs on this machine
    job_id        the batch job, once it is submitted
    """

    devices: int | None = None
    nodes: int = 1
    max_restarts: int = 0
    slurm: Mapping[str, Any] | None = None
    job_id: str | None = None

    def __post_init__(self) -> None:
        for name, value, least in (
            ("devices", self.devices, 1),
            ("nodes", self.nodes, 1),
            ("restarts", self.max_restarts, 0),
        ):
            if value is not None and value < least:
                raise InputError(f"a run needs {least} or more {name}, not {value}", code="out-of-range")

    @property
    def processes(self) -> int:
        """Processes in all."""
        return (self.devices or 1) * self.nodes


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run is.

    id          the name that its folder was made with
    kind        'learn', 'train' or 'finetune'
    recipe      option name -> JSON value
    command     the command line that equals the recipe
    created     Unix time
    host        the machine on which it was made
    folder      the working folder: relative paths of the recipe start here
    versions    of tleg and its libraries
    output      where the result is put as well, or None
    overwrite   whether `output` may exist
    lineage     what the run starts from, such as a learngene and its hash
    amendments  what was changed when the run was continued, oldest first
    """

    version: int
    id: str
    kind: str
    recipe: Mapping[str, Any]
    command: tuple[str, ...]
    created: float
    host: str
    folder: str
    versions: Mapping[str, str]
    output: str | None = None
    overwrite: bool = False
    lineage: Mapping[str, Any] = field(default_factory=dict)
    launch: Launch = field(default_factory=Launch)
    amendments: tuple[Mapping[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"unknown kind of run '{self.kind}': choose {', '.join(KINDS)}", code="unknown-name")


def read_spec(folder: RunFolder) -> RunSpec:
    """Return what a run is. Raises FileFormatError, naming file and place, when spec.json is missing or damaged."""
    path = folder.spec_file
    document = read_document(path)
    version = document.get("version") if isinstance(document, dict) else None
    if type(version) is int and version > SPEC_VERSION:
        raise FileFormatError(
            f"{path} was written by a newer tleg (version {version}, this one reads {SPEC_VERSION}); update tleg"
        )
    try:
        return _as_it_was_meant(decode(RunSpec, document, str(path)))
    except FileFormatError:
        raise
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error


def _as_it_was_meant(spec: RunSpec) -> RunSpec:
    """A run of before some options were stored goes on as it began: with those images, those matrices and those depths."""
    meant: dict[str, Any] = {}
    if "data" in spec.recipe and "exif" not in spec.recipe:
        meant |= {"exif": False, "pixel-range": "0,65535"}
    if spec.kind == "learn" and "architecture" in spec.recipe and "initial-matrices" not in spec.recipe:
        meant |= {"initial-matrices": "timm", "sample-depths": "none", "sampling": "single", "depth-warmup": 0.0}
    return replace(spec, recipe={**meant, **spec.recipe}) if meant else spec


def spec_text(spec: RunSpec) -> str:
    """Return what spec.json holds. Raises InputError when a value is not JSON's."""
    try:
        return json.dumps(encode(spec), indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"a run stores JSON values alone: {error}", code="malformed") from error


def write_spec(folder: RunFolder, spec: RunSpec) -> None:
    """Write spec.json, whole or not at all.

    Raises InputError when a value is not JSON's, and ExportError when the operating system refuses to write.
    """
    text = spec_text(spec)
    with new_file(folder.spec_file, overwrite=True) as temporary:
        temporary.write_text(text, "utf-8")
