"""Images that cannot be read: counted by reason, named, and too many of them refused."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from tleg.data.datasets import ImageSet
from tleg.data.decoding import DAMAGED, NO_RANGE, REASONS, TOO_LARGE, UnreadableImageError
from tleg.data.sampler import READABLE
from tleg.errors import DataError

# A set may have so many, or this part of its images, whichever is more.
MOST: Final = 10
PART: Final = 0.01
# Read the second time: a disk or a network that fails now and then.
_FLAKY: Final = "at times"
_NAMED: Final = 3
_HINTS: Final = {
    TOO_LARGE: "--max-pixels reads larger ones",
    NO_RANGE: "--pixel-range LOW,HIGH says what is black and white",
}
ALL_REASONS: Final = (*REASONS, _FLAKY)


class UnreadableImages:
    """The images of a set that could not be read so far, and why."""

    def __init__(self, images: ImageSet) -> None:
        self._images = images
        self._found: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._found)

    @property
    def reasons(self) -> Counter[str]:
        """How many by reason."""
        return Counter(self._found.values())

    def add(self, indices: Iterable[int]) -> list[str]:
        """Take what a batch reports and return a sentence for each that is new: which it is, and why it cannot be read.

        Raises DataError, naming some and counting the reasons, when there are too many.
        """
        told = []
        for index in sorted({index for index in indices if index != READABLE} - set(self._found)):
            self._found[index], sentence = explain_unreadable(self._images, index)
            told.append(sentence)
        if len(self._found) > max(MOST, PART * len(self._images)):
            raise DataError(self._too_many())
        return told

    def _too_many(self) -> str:
        first: dict[str, int] = {}
        for index, reason in sorted(self._found.items()):
            first.setdefault(reason, index)
        # One of each reason, and others where the reasons are few.
        some = sorted(list(dict.fromkeys([*first.values(), *sorted(self._found)]))[:_NAMED])
        names = ", ".join(self._images.name(index) for index in some)
        hints = "".join(f"; {_HINTS[reason]}" for reason in first if reason in _HINTS)
        return (
            f"{len(self._found)} of {len(self._images)} images cannot be read, {names} among them: "
            f"{describe_reasons(self.reasons)}; remove or repair them{hints}"
        )


def explain_unreadable(images: ImageSet, index: int) -> tuple[str, str]:
    """Reason and sentence, by reading it again: a worker that could not has said no more than its number."""
    try:
        images.image(index)
    except UnreadableImageError as error:
        return error.reason, str(error)
    except DataError as error:
        return DAMAGED, str(error)
    return _FLAKY, f"cannot read {images.name(index)}"


def describe_reasons(reasons: Mapping[str, int]) -> str:
    """Write reasons with their counts, the most frequent first: '9 truncated, 1 empty'."""
    ranked = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count} {reason}" for reason, count in ranked if count)
