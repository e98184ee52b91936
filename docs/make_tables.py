"""Write the tables of docs/runs.md that follow from the code. `python docs/make_tables.py --check` only compares."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from tleg.runs.payload import note_of
from tleg.runs.reports import REPORTS
from tleg.runs.run import CONTENTS
from tleg.runs.scalars import SCALARS
from tleg.runs.trackers import TRACKERS

PAGE = Path(__file__).resolve().parent / "runs.md"


def contents_of_a_run() -> Iterator[str]:
    """The files of a run."""
    width = max(map(len, CONTENTS)) + 2
    yield "    261124-053015-finetune-gene-depth8/"
    for name, text in CONTENTS.items():
        yield f"        {name:<{width}}{text}"


def events() -> Iterator[str]:
    """The types of events with their payloads."""
    yield "| type | what it says | payload |"
    yield "|---|---|---|"
    for kind, report in REPORTS.items():
        about = (report.__doc__ or "").partition("\n")[0]
        yield f"| `{kind}` | {about} | {describe_fields(report)} |"


def step_scalars() -> Iterator[str]:
    """What a step measures."""
    yield "| in a `step` | what it is |"
    yield "|---|---|"
    for name, scalar in SCALARS.items():
        yield f"| {name} | {scalar.about} |"


def describe_fields(kind: Any) -> str:
    """Return the fields of a payload: 'step, scores [{depth, top1 (percent)}]'."""
    hints = get_type_hints(kind)
    return ", ".join(_describe(each, hints[each.name]) for each in fields(kind) if each.name != "t")


def _describe(field: Any, hint: Any) -> str:
    within = next((each for each in (hint, *get_args(hint)) if is_dataclass(each)), None)
    if within is not None:
        inner = f"{{{describe_fields(within)}}}"
        return f"{field.name} [{inner}]" if get_origin(hint) is tuple else f"{field.name} {inner}"
    note = note_of(field.metadata)
    return f"{field.name} ({note})" if note else field.name


def trackers() -> Iterator[str]:
    """The programs that show curves."""
    yield "| `--to` | program | it needs |"
    yield "|---|---|---|"
    for name, tracker in TRACKERS.items():
        yield f"| {name} | {tracker.title} | `pip install {tracker.package}` |"


TABLES: Mapping[str, Any] = {"contents": contents_of_a_run, "events": events, "scalars": step_scalars, "trackers": trackers}


def filled(page: str) -> str:
    """Return a page with what stands between '<!-- NAME -->' and '<!-- / -->' written anew."""
    for name, make in TABLES.items():
        before, begin, rest = page.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition("<!-- / -->")
        if not end:
            raise SystemExit(f"{PAGE} has no place for {name}")
        page = "".join((before, begin, "\n", *(f"{line}\n" for line in make()), "\n", end, after))
    return page


def main() -> None:
    """Write the page, or say whether it is as it should be."""
    page = PAGE.read_text("utf-8")
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(filled(page), "utf-8")
    elif page != filled(page):
        raise SystemExit("docs/runs.md does not follow from the code: run `python docs/make_tables.py`")


if __name__ == "__main__":
    main()
