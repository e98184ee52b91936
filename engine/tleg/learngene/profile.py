"""How deep a descendant is: a number of blocks, or a profile that says it for every stage ('2-2-6-2')."""

import re
from collections.abc import Iterable
from typing import Final

from tleg.errors import DepthError
from tleg.learngene.basis import check_depth, parse_depths

# The number of blocks in each stage.
Profile = tuple[int, ...]
# Of a descendant: the blocks of the elastic stage, where the others have those of the auxiliary model, or a profile.
Depth = int | Profile

# How the depths of an auxiliary model were drawn in training, for people; a learngene that does not say it drew evenly.
DRAWN: Final = {
    "single": "one a step",
    "balanced": "one a step, shallow ones more often",
    "sandwich": "three a step",
}

_PROFILE: Final = re.compile(r"\s*\d{1,9}(?:-\d{1,9}){2,}\s*", re.ASCII)


def format_depth(depth: Depth) -> str:
    """Write a depth as it is typed: '8', '2-2-6-2'."""
    return "-".join(map(str, depth)) if isinstance(depth, tuple) else str(depth)


def format_depths(depths: Iterable[Depth]) -> str:
    """Write depths as people do, profiles after numbers: (3, 4, 5, 8) is '3–5, 8'."""
    given = dict.fromkeys(depths)
    spans: list[list[int]] = []
    for depth in sorted(each for each in given if isinstance(each, int)):
        if spans and spans[-1][1] == depth - 1:
            spans[-1][1] = depth
        else:
            spans.append([depth, depth])
    numbers = (str(first) if first == last else f"{first}–{last}" for first, last in spans)
    return ", ".join((*numbers, *(format_depth(each) for each in given if isinstance(each, tuple))))


def plain_depth(depth: Depth | None) -> int | str | None:
    """A depth as JSON and records have it: a profile is a text."""
    return format_depth(depth) if isinstance(depth, tuple) else depth


def depth_number(value: object) -> int | None:
    """The depth that a record says where it is one number, which may be a text as well; None for a profile, or nothing."""
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() else None


def parse_depth(text: str) -> Depth:
    """Read one depth: '8' is 8, '2-2-6-2' a profile. Raises DepthError."""
    if _PROFILE.fullmatch(text):
        return check_profile(tuple(map(int, text.split("-"))))
    if not re.fullmatch(r"\s*-?\d{1,18}\s*", text, re.ASCII):
        raise DepthError(f"cannot read '{text.strip()}' as a depth: write 8, or 2-2-6-2 for a profile", code="malformed")
    return check_depth(int(text))


def names_profile(text: str) -> bool:
    """Whether there is a profile in a list of depths as they are typed."""
    return any(_PROFILE.fullmatch(item) for item in text.split(","))


def parse_profiles(text: str) -> tuple[Depth, ...]:
    """Read a list of depths, among which there may be profiles: '4,6-8,2-2-6-2', each once. Two numbers are a range.

    Numbers rise, and profiles follow in the order in which they are named. Raises InputError or DepthError.
    """
    items = text.split(",")
    profiles = [parse_depth(item) for item in items if _PROFILE.fullmatch(item)]
    numbers = [item for item in items if not _PROFILE.fullmatch(item)]
    return (*(parse_depths(",".join(numbers)) if numbers else ()), *dict.fromkeys(profiles))


def checked(depth: object) -> Depth:
    """Return a depth or a profile, or raise DepthError when it is neither."""
    return check_profile(depth) if isinstance(depth, tuple) else check_depth(depth)


def check_profile(profile: Iterable[object]) -> Profile:
    """Return the profile, or raise DepthError when a stage has another number of blocks than 1 to MAX_DEPTH."""
    found = []
    for stage, blocks in enumerate(profile):
        try:
            found.append(check_depth(blocks))
        except DepthError as error:
            raise DepthError(f"stage {stage} of a profile: {error.message}", code=error.code) from error
    return tuple(found)
