"""What the workbench remembers between starts: one small JSON file."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, Literal

from tleg.paths import settings_folder

MOST_RECENT: Final = 12
FILE_NAME: Final = "workbench.json"
RecentName = Literal["learngenes", "data", "teachers", "runs_folders"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What is remembered.

    theme       by name; None is the default
    learngene   the one that was chosen last, as a path, or the name of a shipped one
    learngenes  files that were opened, the latest first
    data        data sets that were trained on, the latest first
    teachers    ancestry models, the latest first
    budget      limits as they were typed: 'parameters', 'macs', 'size', 'memory', and 'batch'
    output      the folder for exports
    devices     the file of a family that was saved or opened last
    family      the folder of a family that was made last
    runs_folders  other folders whose runs were opened, the latest first
    greeted     whether the hint of the first start was followed or put away
    """

    theme: str | None = None
    learngene: str | None = None
    learngenes: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    teachers: tuple[str, ...] = ()
    budget: Mapping[str, str] = field(default_factory=dict)
    output: str = "exports"
    devices: str = "devices.toml"
    family: str = "family"
    runs_folders: tuple[str, ...] = ()
    greeted: bool = False

    def with_recent(self, name: RecentName, value: str) -> "Settings":
        """Return settings in which a value comes first in one of the lists."""
        known: tuple[str, ...] = getattr(self, name)
        recent: dict[str, Any] = {name: (value, *(each for each in known if each != value))[:MOST_RECENT]}
        return replace(self, **recent)


def load_settings(folder: Path | None = None) -> Settings:
    """Return what was remembered; what is missing, damaged or from another version is the default. Never raises."""
    try:
        document = json.loads(((folder or settings_folder()) / FILE_NAME).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return Settings()
    if not isinstance(document, dict):
        return Settings()
    known = {item.name for item in fields(Settings)}
    values = {name: _read(name, given) for name, given in document.items() if name in known}
    return Settings(**{name: value for name, value in values.items() if value is not None})


def store_settings(settings: Settings, folder: Path | None = None) -> bool:
    """Remember; False when the operating system refuses, as it does with a full disk: nothing else depends on it."""
    target = (folder or settings_folder()) / FILE_NAME
    temporary = target.with_name(f".{FILE_NAME}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(asdict(settings), indent=2) + "\n", "utf-8")
        os.replace(temporary, target)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        return False
    return True


def _read(name: str, given: Any) -> Any:
    """A value of the right type, or None."""
    if name in ("theme", "learngene", "output", "devices", "family"):
        return given if isinstance(given, str) and given else None
    if name == "greeted":
        return given if isinstance(given, bool) else None
    if name == "budget":
        if not isinstance(given, dict):
            return None
        return {str(key): value for key, value in given.items() if isinstance(value, str)}
    return tuple(each for each in given if isinstance(each, str))[:MOST_RECENT] if isinstance(given, list) else None
