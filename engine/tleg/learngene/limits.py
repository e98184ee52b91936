"""The limits of a budget as people write them: their names, what a value such as 20M or 20ms means, what exceeds them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from tleg.errors import concerning
from tleg.learngene.cost import Budget
from tleg.learngene.preview import Preview, PreviewRow
from tleg.learngene.profile import format_depth
from tleg.text import format_bytes, format_count, format_image_size, format_latency, parse_bytes, parse_count, parse_latency


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit: its name as an option, how its value is read, and how it is written."""

    name: str
    parse: Callable[[str], float]
    form: Callable[[float], str]


# By the names of `tleg.learngene.cost.Budget`.
LIMITS: Final[Mapping[str, Limit]] = MappingProxyType(
    {
        "parameters": Limit("max-params", parse_count, format_count),
        "macs": Limit("max-macs", parse_count, format_count),
        "size": Limit("max-size", parse_bytes, format_bytes),
        "inference_memory": Limit("max-memory", parse_bytes, format_bytes),
        "training_memory": Limit("max-training-memory", parse_bytes, format_bytes),
        "latency": Limit("max-latency", parse_latency, format_latency),
    }
)


def read_budget(texts: Mapping[str, str | None]) -> Budget:
    """Return the budget of limits as people write them, by the names of options. Raises InputError naming the option."""
    values: dict[str, float] = {}
    for key, limit in LIMITS.items():
        if (text := texts.get(limit.name)) is not None:
            with concerning(limit.name):
                values[key] = limit.parse(text)
    latency = values.pop("latency", None)
    return Budget(**{key: int(value) for key, value in values.items()}, latency=latency)


def why_none_fits(result: Preview, *, mark: str = "--") -> str:
    """Say by how much the depth that takes least exceeds the budget, when none fits.

    mark  what stands before the names of limits
    """
    least = min(result.rows, key=lambda row: row.cost.macs) if result.sized else result.rows[0]
    reasons = []
    for name in least.exceeds:
        limit = LIMITS[name]
        taken = least.latency if name == "latency" else getattr(least.cost, name)
        told = "an unknown time" if taken is None else limit.form(taken)
        reasons.append(f"{told} against {mark}{limit.name} {limit.form(getattr(result.budget, name))}")
    return f"no depth fits: {place_of(least, result)} takes {', '.join(reasons)}"


def place_of(row: PreviewRow, result: Preview) -> str:
    """What a row is of: its depth, and its size where there are several."""
    sized = f" at {format_image_size(row.image_size)} pixels" if result.sized else ""
    return f"depth {format_depth(row.depth)}{sized}"
