"""The list of devices: what each asks for, and what it would get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from rich.cells import cell_len
from textual.binding import BindingType
from textual.content import Content
from textual.message import Message
from textual.widgets.option_list import Option

from tleg.text import format_bytes, format_count, format_latency, printable
from tleg_tui.actions import bindings
from tleg_tui.common.cells import fit
from tleg_tui.common.inputs import OptionList


@dataclass(frozen=True, slots=True)
class DeviceLine:
    """A device as it is written.

    wanted, file  what it asks for, and what its file is
    planned       what the dry run says of it; None while that is not known
    problem       what is wrong with what it asks for
    """

    name: str
    wanted: str
    file: str
    planned: Mapping[str, Any] | None = None
    problem: str | None = None

    @property
    def gets(self) -> str:
        """What it gets, in few words."""
        planned = self.planned
        if self.problem is not None:
            return f"✗ {self.problem}"
        if planned is None:
            return "…"
        if planned["problem"] is not None:
            return f"✗ {_without_place(planned['problem'], self.name)}"
        if planned["depth"] is None:
            return "once the learngene is there"
        top1 = "" if planned["top1"] is None else f"  {planned['top1']:.2f} %"
        return f"depth {planned['depth']}{top1}  {format_count(planned['parameters'])}"

    @property
    def wrong(self) -> bool:
        """Whether it gets nothing."""
        return self.problem is not None or bool(self.planned and self.planned["problem"])

    def sentence(self, measured: str | None) -> str:
        """What it gets, in full. measured  on what accuracies were, in words."""
        planned = self.planned
        if self.problem is not None:
            return f"{self.name}: {self.problem}"
        if planned is None:
            return f"{self.name}: asking what it would get"
        if planned["problem"] is not None:
            return f"{self.name}: {_without_place(planned['problem'], self.name)}"
        if planned["depth"] is None:
            return f"{self.name}: its depth is chosen once the learngene is there"
        doubt = f" ({planned['doubt']})" if planned["doubt"] else ""
        words = [f"depth {planned['depth']}{doubt}", f"{format_count(planned['parameters'])} parameters"]
        words += [f"{format_count(planned['macs'])} MACs", f"{format_bytes(planned['bytes'])} of weights"]
        words += [] if planned["latency"] is None else [f"{format_latency(planned['latency'])} there"]
        tuned = " before fine-tuning" if planned["epochs"] else ""
        known = "its accuracy is measured first, and may choose another"
        if planned["top1"] is not None:
            known = f"{planned['top1']:.2f} %{tuned} on {measured}"
        return f"{self.name} gets {', '.join(words)}; {known}"


def _without_place(text: str, name: str) -> str:
    return text.removeprefix(f"[devices.{name}]: ")


_TITLES: Final = ("device", "file", "asks for", "gets")
_MOST: Final = (20, 24)  # Cells of a name and of a file.


def _columns(lines: Sequence[DeviceLine], width: int) -> tuple[int, int, int, int]:
    """Cells for name, file, what is asked for, and what it gets: what is short leaves room to the last."""
    texts = [_TITLES[:3], *((line.name, line.file, line.wanted) for line in lines)]
    name, file, wanted = (max(map(cell_len, column)) for column in zip(*texts, strict=True))
    name, file = min(name, _MOST[0]), min(file, _MOST[1])
    rest = max(width - name - file - 6, 20)
    wanted = min(wanted, rest // 2)
    return name, file, wanted, rest - wanted


class DeviceList(OptionList):
    """Devices; the cursor chooses, Enter changes."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings("devices")]
    DEFAULT_CSS = """
    DeviceList { height: auto; max-height: 6; border: none; background: transparent; padding: 0; }
    DeviceList { text-wrap: nowrap; text-overflow: ellipsis; scrollbar-size-vertical: 1; }
    DeviceList:focus { border: none; }
    """

    class Added(Message):
        """Another device is wanted."""

    class Removed(Message):
        """The chosen device is not wanted any more."""

    class Titled(Message):
        """The columns have other widths: the titles over them."""

        def __init__(self, titles: str) -> None:
            super().__init__()
            self.titles = titles

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002  # Textual's name.
        super().__init__(id=id, compact=True)
        self._devices: tuple[DeviceLine, ...] = ()
        self._written: tuple[tuple[DeviceLine, ...], int] | None = None

    def show(self, lines: Sequence[DeviceLine], place: int | None) -> None:
        """Show other lines, with the cursor on one."""
        self._devices = tuple(lines)
        self._write()
        with self.prevent(OptionList.OptionHighlighted):
            self.highlighted = place

    def on_resize(self) -> None:
        """Other columns fit."""
        place = self.highlighted
        self._write()
        with self.prevent(OptionList.OptionHighlighted):
            self.highlighted = place

    def _write(self) -> None:
        width = self.size.width
        if not width or self._written == (self._devices, width):
            return
        self._written = (self._devices, width)
        with self.prevent(OptionList.OptionHighlighted):
            self.clear_options()
            columns = _columns(self._devices, width)
            self.add_options([Option(_content(line, columns)) for line in self._devices])
        self.post_message(self.Titled("  ".join(fit(text, cells) for cells, text in zip(columns, _TITLES, strict=True))))

    def action_add(self) -> None:
        """Ask for another one."""
        self.post_message(self.Added())

    def action_remove(self) -> None:
        """Ask to take the chosen one away."""
        self.post_message(self.Removed())


def _content(line: DeviceLine, columns: tuple[int, int, int, int]) -> Content:
    name, file, wanted, gets = columns
    colour = "$error" if line.wrong else "$foreground-muted" if line.planned is None else "$success"
    return Content.assemble(
        (fit(printable(line.name) or "?", name), "bold"),
        "  ",
        fit(printable(line.file), file),
        "  ",
        (fit(printable(line.wanted), wanted), "$foreground-muted"),
        "  ",
        (fit(printable(line.gets), gets), colour),
    )
