"""Making runs. A run appears with everything in it, under a name that no other run has."""

import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tleg.errors import TlegError, describe_os_error
from tleg.runs.layout import RunFolder
from tleg.runs.processes import hostname
from tleg.runs.spec import SPEC_VERSION, Launch, RunSpec, spec_text
from tleg.runs.state import RunState, store_state

__all__ = ["RunFolder", "create_run"]

# Letters of an id beside time and kind. Ids fill the first column of `tleg runs`, which must fit 80 columns.
_LONGEST_NAME: Final = 17
_LONGEST_WITH_ENDING: Final = 21
_SHORTEST_NAME: Final = 4  # Of what is cut, beside an ending that is long.


def create_run(
    runs_dir: Path,
    *,
    kind: str,
    recipe: Mapping[str, Any],
    name: str = "",
    ending: str = "",
    command: Sequence[str] = (),
    folder: Path | None = None,
    versions: Mapping[str, str] | None = None,
    output: str | None = None,
    overwrite: bool = False,
    lineage: Mapping[str, Any] | None = None,
    launch: Launch | None = None,
) -> RunFolder:
    """Make the folder of a new run, with spec.json and the state 'queued'. The fields are those of RunSpec.

    The id is '261124-035312-learn-deit-small': local date and time, kind and `name`, so that names sort by time; a second
    run of the same second ends in '-2'. A long name is cut; `ending`, which tells apart what has the same name, such as
    'depth8', never is. `folder` is the working folder, by default the current one.
    Raises InputError when a value cannot be stored, and TlegError when the operating system refuses.
    """
    created = time.time()
    spec = RunSpec(
        version=SPEC_VERSION,
        id="",
        kind=kind,
        recipe=recipe,
        command=tuple(command),
        created=created,
        host=hostname(),
        folder=str((folder or Path.cwd()).absolute()),
        versions=versions or {},
        output=output,
        overwrite=overwrite,
        lineage=lineage or {},
        launch=launch or Launch(),
    )
    date = time.strftime("%y%m%d-%H%M%S", time.localtime(created))
    base = "-".join(filter(None, (date, kind, _called(name, ending))))
    runs_dir = runs_dir.absolute()
    # Made under a hidden name and renamed: no viewer ever sees half a run. A rename onto a run fails, so it also decides
    # who has a name when two start at once.
    hidden = RunFolder(runs_dir / f".{base}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        for path in (hidden.checkpoints, hidden.exports):
            path.mkdir(parents=True)
        store_state(hidden, RunState(state="queued", host=spec.host, heartbeat=created))
        number = 1
        while True:
            target = runs_dir / (base if number == 1 else f"{base}-{number}")
            number += 1
            if target.exists() or target.is_symlink():
                continue
            with hidden.spec_file.open("w", encoding="utf-8") as file:
                file.write(spec_text(replace(spec, id=target.name)))
                file.flush()
                os.fsync(file.fileno())
            try:
                os.rename(hidden.path, target)
            except OSError:
                if not target.exists():
                    raise
            else:
                return RunFolder(target)
    except OSError as error:
        raise TlegError(
            f"cannot make a run in {runs_dir}: {describe_os_error(error)}; TLEG_RUNS names another folder for runs"
        ) from error
    finally:
        shutil.rmtree(hidden.path, ignore_errors=True)


def _called(name: str, ending: str) -> str:
    """A name and its ending, the name cut so that both together stay short."""
    last = _slug(ending)
    room = min(_LONGEST_NAME, max(_LONGEST_WITH_ENDING - len(last) - 1, _SHORTEST_NAME)) if last else _LONGEST_NAME
    return "-".join(filter(None, (_slug(name)[:room].strip("-"), last)))


def _slug(text: str) -> str:
    """What of a text is easy to type: small letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
