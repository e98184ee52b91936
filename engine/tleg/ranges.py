"""Lists of depths as people write them: '1-24', '4,6,8-12'."""

import re

from tleg.basis import check_depth
from tleg.errors import InputError


def parse_depths(text: str) -> tuple[int, ...]:
    """Return the depths that a list names, rising, each once. Raises InputError or DepthError."""
    depths: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", item, re.ASCII)
        if match is None:
            raise InputError(f"cannot read '{item.strip()}' as depths: write 8, 4,6,8 or 1-24")
        first, last = int(match[1]), int(match[2] or match[1])
        check_depth(first)
        check_depth(last)
        if last < first:
            raise InputError(f"the range {first}-{last} runs backwards")
        depths.update(range(first, last + 1))
    return tuple(sorted(depths))
