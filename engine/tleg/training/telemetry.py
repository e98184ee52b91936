"""What the devices and the machine are doing, for the people who watch. Nothing here ever fails a training."""

import os
from contextlib import suppress
from typing import Any

import torch


class DeviceSampler:
    """Samples the GPUs of a run on this machine through NVML, and the machine. Without NVML, or a GPU, the list is empty.

    device     of this process
    processes  of the run on this machine, each with a device: the first so many, or this one alone
    """

    def __init__(self, device: torch.device, processes: int = 1) -> None:
        self._handles: dict[int, Any] = {}
        if device.type != "cuda":
            return
        # NVML may be missing, too old, or forbidden.
        with suppress(Exception):
            import pynvml

            pynvml.nvmlInit()
            for index in range(processes) if processes > 1 else (device.index or 0,):
                # torch's numbers follow CUDA_VISIBLE_DEVICES, NVML's do not: the identifier is the same for both.
                identifier = f"GPU-{torch.cuda.get_device_properties(index).uuid}"
                self._handles[index] = pynvml.nvmlDeviceGetHandleByUUID(identifier)

    def sample(self) -> dict[str, Any]:
        """Return {'devices': […], 'host': {…}}: bytes, percent, degrees Celsius, watts; None for what is not known."""
        return {"devices": [_sample_device(*each) for each in self._handles.items()], "host": sample_host()}


def _sample_device(index: int, handle: Any) -> dict[str, Any]:
    import pynvml

    memory = _ask(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    name = _ask(lambda: pynvml.nvmlDeviceGetName(handle))
    milliwatts = _ask(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
    return {
        "index": index,
        "name": name.decode() if isinstance(name, bytes) else name,
        "utilisation": _ask(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        "memory_used": None if memory is None else int(memory.used),
        "memory_total": None if memory is None else int(memory.total),
        "temperature": _ask(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
        "power": None if milliwatts is None else milliwatts / 1000,
    }


def _ask(question: Any) -> Any:
    """The answer, or None: some GPUs do not tell everything."""
    try:
        return question()
    except Exception:
        return None


def sample_host() -> dict[str, Any]:
    """Bytes of memory used and in all, and the load average of a minute."""
    values: dict[str, int] = {}
    with suppress(OSError, ValueError), open("/proc/meminfo", encoding="ascii") as file:
        for line in file:
            key, _, rest = line.partition(":")
            values[key] = int(rest.split()[0]) * 1024
    total = values.get("MemTotal")
    available = values.get("MemAvailable")
    with suppress(OSError):
        return {
            "memory_used": None if total is None or available is None else total - available,
            "memory_total": total,
            "load": round(os.getloadavg()[0], 2),
        }
    return {"memory_used": None, "memory_total": total, "load": None}
