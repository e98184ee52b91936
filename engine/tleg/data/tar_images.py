"""Images of an archive, read where they lie in the file, which needs no open archive and so works in any process."""

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from tleg.data.decoding import CLOSED, GONE, UnreadableImageError, decode_image, eight_bits
from tleg.data.deep_images import PixelRanges, RangedImages, is_deep
from tleg.data.tar import Member, class_of, natural_key
from tleg.errors import describe_os_error
from tleg.files import readable_path


class TarImages(RangedImages):
    """Images of an archive with their labels.

    ranges      of images of more than eight bits; None is what is found on these, when the first is asked for
    max_pixels  images of more are unreadable; None is Pillow's limit
    """

    def __init__(
        self,
        path: Path,
        members: Sequence[Member],
        classes: Sequence[str],
        ranges: PixelRanges | None = None,
        max_pixels: int | None = None,
    ) -> None:
        labels = {name: label for label, name in enumerate(classes)}
        self.path = path
        self._members = tuple(sorted(members, key=lambda member: natural_key(member.path)))
        self._labels = tuple(labels[class_of(member)] for member in self._members)
        self._max_pixels = max_pixels
        super().__init__(ranges)

    def __len__(self) -> int:
        return len(self._members)

    def image(self, index: int) -> Image.Image:
        """Decode an image. Raises UnreadableImageError, naming it and saying why."""
        name = self.name(index)
        try:
            content = self._content(index)
        except OSError as error:
            reason = GONE if isinstance(error, FileNotFoundError) else CLOSED
            place = readable_path(self.path)
            raise UnreadableImageError(f"cannot read {name} in {place}: {describe_os_error(error)}", reason) from error
        image = decode_image(content, name, self._max_pixels)
        return eight_bits(image, name, self.ranges) if is_deep(image) else image

    def open(self, index: int) -> Image.Image:
        """Open an image without decoding it. Raises whatever Pillow does."""
        return Image.open(self._content(index))

    def label(self, index: int) -> int:
        """The index of its class."""
        return self._labels[index]

    def name(self, index: int) -> str:
        """Its path in the archive."""
        return readable_path(self._members[index].path)

    def _content(self, index: int) -> io.BytesIO:
        member = self._members[index]
        with self.path.open("rb") as file:
            file.seek(member.offset)
            return io.BytesIO(file.read(member.size))
