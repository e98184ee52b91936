"""The one Core of OpenVINO that a process has.

OpenVINO's part for processors gives the thread that first uses it a stack for signals, and takes it back with its Core. Of
two Cores that end in the order in which they began, the second restores the stack of the first, which is gone by then
(openvino/src/plugins/intel_cpu, SigAltStackSetup; seen in 2026.4): the next signal that Python handles, such as
Ctrl-C, or a terminal that changes its size, is a segmentation fault. A Core that never ends has no such order, and is what
OpenVINO advises anyhow.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

# By default it computes in bfloat16 on a processor that has that, 0.4 % off and more. Whole numbers stay such.
IN_FLOAT32: Final[Mapping[str, str]] = {"INFERENCE_PRECISION_HINT": "f32"}


@cache
def openvino_core() -> Any:
    """Return the Core, which stays for as long as the process."""
    import openvino

    return openvino.Core()
