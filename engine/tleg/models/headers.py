"""Headers of a learngene with inputs of other sizes. Torch is loaded only where there is another."""

from collections.abc import Sequence

from tleg.learngene.header import LearngeneHeader
from tleg.text import read_image_size


def headers_at(header: LearngeneHeader, image_sizes: Sequence[str | int | tuple[int, int]]) -> list[LearngeneHeader]:
    """Return the header with inputs of each size, each once; without any, as it is. Raises InputError, ArchitectureError."""
    sizes = [size for each in image_sizes if (size := read_image_size(each)) is not None] or [header.image_size]
    headers = []
    for size in dict.fromkeys(sizes):
        if size == header.image_size:
            headers.append(header)
            continue
        from tleg.models.image_size import resize_header

        headers.append(resize_header(header, size))
    return headers
