"""What the devices and the machine do. That there is no GPU is as good as any other news."""

from collections.abc import Sequence
from typing import Final

from textual.content import Content

from tleg.runs.reports import DeviceReport, DeviceSample, HostSample
from tleg.text import format_bytes, printable
from tleg_tui.common.lines import TextLines

_BAR: Final = 8
_PAST: Final = "last: "
_MOST_ON_SHORT, _MOST_ON_TALL = 2, 8


class DeviceLines(TextLines):
    """One line for each device, and one for the host. Of many devices the rest share a line."""

    DEFAULT_CSS = "DeviceLines { height: 1; padding: 0 1; }"

    def show(self, sample: DeviceReport | None, *, tall: bool, ended: bool = False) -> None:
        """Show a sample, None before the first; of a run that ended it is the last one, and says so."""
        lines = device_texts(sample, _MOST_ON_TALL if tall else _MOST_ON_SHORT, ended=ended)
        if self.styles.height is None or self.styles.height.value != len(lines):
            self.styles.height = len(lines)
        self.say(*lines)


def device_texts(sample: DeviceReport | None, most: int, *, ended: bool = False) -> list[Content]:
    """Return the lines of a sample. What was before a run ended is past, and looks so."""
    devices, host = ((), None) if sample is None else (sample.devices, sample.host)
    if not devices and host is None:
        said = "devices: the run ended before any were heard of" if ended else "devices: nothing heard yet"
        return [Content.styled(said, "$foreground-muted")]
    shown = devices if len(devices) <= most else devices[: most - 1]
    lines = [_device(each) for each in shown]
    rest = devices[len(shown) :]
    if rest:
        lines.append(_rest(rest))
    if host is not None:
        lines.append(_host(host, any_device=bool(devices)))
    return [Content.styled(f"{_PAST}{line.plain}", "$foreground-muted") for line in lines] if ended else lines


def _device(device: DeviceSample) -> Content:
    """Figures first: a narrow terminal cuts the name."""
    busy, number = device.utilisation, "?" if device.index is None else device.index
    parts: list[str | tuple[str, str]] = [(f"GPU {number} ", "$foreground-muted"), _figure(busy, "% ")]
    parts += [*_bar(None if busy is None else busy / 100), "  ", *_memory(device)]
    for value, unit in ((device.temperature, "°C"), (device.power, "W")):
        parts.append(f"  {_figure(value, unit)}")
    parts.append((f"  {printable(device.name or '')}", "$foreground-muted"))
    return Content.assemble(*parts)


def _rest(devices: Sequence[DeviceSample]) -> Content:
    busy = [each.utilisation for each in devices if each.utilisation is not None]
    warm = [each.temperature for each in devices if each.temperature is not None]
    mean = f"  busy {sum(busy) / len(busy):.0f} % in the mean" if busy else ""
    most = f"  {max(warm):.0f} °C at most" if warm else ""
    return Content.styled(f"{len(devices)} more{mean}{most}", "$foreground-muted")


def _host(host: HostSample, *, any_device: bool) -> Content:
    parts: list[str | tuple[str, str]] = [
        ("host  memory " if any_device else "no GPU, on the host: memory ", "$foreground-muted")
    ]
    parts += _memory(host)
    parts += [("  load ", "$foreground-muted"), "  –" if host.load is None else f"{host.load:>5.2f}"]
    return Content.assemble(*parts)


def _memory(values: DeviceSample | HostSample) -> list[str | tuple[str, str]]:
    used, total = values.memory_used, values.memory_total
    if used is None or not total:
        return ["–" if used is None else format_bytes(used)]
    return [f"{format_bytes(used):>8}", (f" of {format_bytes(total)} ", "$foreground-muted"), *_bar(used / total)]


def _bar(share: float | None) -> list[tuple[str, str]]:
    filled = 0 if share is None else min(_BAR, max(0, round(share * _BAR)))
    return [("█" * filled, "$primary"), ("░" * (_BAR - filled), "$foreground-disabled")]


def _figure(value: float | None, unit: str) -> str:
    return f"{'–' if value is None else f'{value:.0f}':>3} {unit}"
