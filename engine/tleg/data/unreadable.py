"""Images that cannot be read: counted, named, and too many of them refused."""

from collections.abc import Iterable
from typing import Final

from tleg.data.dataset import ImageSet
from tleg.data.order import READABLE
from tleg.errors import DataError

# A set may have so many, or this part of its images, whichever is more.
MOST: Final = 10
PART: Final = 0.01


class UnreadableImages:
    """The images of a set that could not be read so far."""

    def __init__(self, images: ImageSet) -> None:
        self._images = images
        self._found: set[int] = set()

    def __len__(self) -> int:
        return len(self._found)

    def add(self, indices: Iterable[int]) -> list[str]:
        """Take what a batch reports and return the names of those that are new.

        Raises DataError, naming some, when there are too many.
        """
        new = sorted({index for index in indices if index != READABLE} - self._found)
        self._found.update(new)
        if len(self._found) > max(MOST, PART * len(self._images)):
            names = ", ".join(self._images.name(index) for index in sorted(self._found)[:3])
            raise DataError(
                f"{len(self._found)} of {len(self._images)} images cannot be read, {names} among them; remove or repair them"
            )
        return [self._images.name(index) for index in new]
