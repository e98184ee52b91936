"""Pictures with masks: cut-outs with alpha, pasted on photographs.

    python make_data.py --stamps DIR --train-photos DIR --test-photos DIR --output data

Every fourth stamp of a category is for testing alone. `classes/` has pictures of one stamp, a folder for each category, as
`tleg learn` reads them; `scenes/` has pictures of one to three, with masks whose values are 0 (photograph) and 1 + the
number of the category. The same stamps, photographs and seed give the same pictures.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from tleg.errors import InputError, exit_code_of

CATEGORIES: Final = ("animals", "food", "plants", "town", "vehicles")
SIZE: Final = 64
TEST_EVERY: Final = 4
_STAMP, _PHOTO = 96, 512  # Pixels to which pictures are reduced once.


def read_stamps(folder: Path) -> dict[str, list[Image.Image]]:
    """Return the cut-outs of each category, by name; pictures without transparency are no cut-outs. Raises InputError."""
    found: dict[str, list[Image.Image]] = {}
    for category in CATEGORIES:
        stamps = []
        for path in sorted((folder / category).rglob("*.png")):
            with Image.open(path) as image:
                stamp = image.convert("RGBA")
            if stamp.getchannel("A").getextrema()[0] == 0:
                stamp = stamp.crop(stamp.getchannel("A").getbbox())
                stamp.thumbnail((_STAMP, _STAMP))
                stamps.append(stamp)
        if len(stamps) < TEST_EVERY:
            raise InputError(f"{folder / category} holds fewer than {TEST_EVERY} PNG files with transparency")
        found[category] = stamps
    return found


def read_photos(folder: Path) -> list[Image.Image]:
    """Return the photographs under a folder, by name. Raises InputError when there is none."""
    photos = []
    for path in sorted(folder.rglob("*.jpg")):
        with Image.open(path) as image:
            photo = image.convert("RGB")
        photo.thumbnail((_PHOTO, _PHOTO))
        photos.append(photo)
    if not photos:
        raise InputError(f"{folder} holds no .jpg files")
    return photos


def scene(
    chosen: list[tuple[int, Image.Image]], photos: list[Image.Image], random: np.random.Generator
) -> tuple[Image.Image, Image.Image]:
    """Return a picture of stamps, each with its value in the mask, on a part of a photograph, and its mask."""
    photo = photos[random.integers(len(photos))]
    side = int(random.integers(min(photo.size) // 2, min(photo.size) + 1))
    left, top = (int(random.integers(length - side + 1)) for length in photo.size)
    picture = photo.crop((left, top, left + side, top + side)).resize((SIZE, SIZE))
    mask = Image.new("L", (SIZE, SIZE), 0)
    for value, stamp in chosen:
        longest = int(random.integers(SIZE * 3 // 8, SIZE * 3 // 4 + 1))
        scale = longest / max(stamp.size)
        size = (max(1, round(stamp.width * scale)), max(1, round(stamp.height * scale)))
        small = stamp.resize(size)
        place = (int(random.integers(SIZE - size[0] + 1)), int(random.integers(SIZE - size[1] + 1)))
        alpha = small.getchannel("A")
        picture.paste(small.convert("RGB"), place, alpha)
        mask.paste(value, place, alpha.point(lambda each: 255 if each > 127 else 0))
    return picture, mask


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("stamps", "train-photos", "test-photos", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--classified", type=int, default=4000, help="pictures of one stamp, for training")
    parser.add_argument("--scenes", type=int, default=3000, help="pictures with masks, for training")
    parser.add_argument("--tests", type=int, default=500, help="of either, for testing")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.output.exists():
        raise InputError(f"{options.output} exists already")
    stamps = read_stamps(options.stamps)
    photos = {"train": read_photos(options.train_photos), "test": read_photos(options.test_photos)}
    for number, (part, count) in enumerate((("train", options.classified), ("test", options.tests))):
        own = {
            category: [each for index, each in enumerate(all_) if (index % TEST_EVERY == 0) == (part == "test")]
            for category, all_ in stamps.items()
        }
        split = "train" if part == "train" else "val"
        random = np.random.default_rng((options.seed, number, 0))
        for index in range(count):
            value = index % len(CATEGORIES)
            stamp = own[CATEGORIES[value]][random.integers(len(own[CATEGORIES[value]]))]
            folder = options.output / "classes" / split / CATEGORIES[value]
            folder.mkdir(parents=True, exist_ok=True)
            scene([(1 + value, stamp)], photos[part], random)[0].save(folder / f"{index:05}.png")
        random = np.random.default_rng((options.seed, number, 1))
        images, masks = (options.output / "scenes" / part / name for name in ("images", "masks"))
        images.mkdir(parents=True)
        masks.mkdir()
        for index in range(options.scenes if part == "train" else options.tests):
            values = random.integers(len(CATEGORIES), size=random.integers(1, 4))
            chosen = [(1 + int(each), own[CATEGORIES[each]][random.integers(len(own[CATEGORIES[each]]))]) for each in values]
            picture, mask = scene(chosen, photos[part], random)
            picture.save(images / f"{index:05}.png")
            mask.save(masks / f"{index:05}.png")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"make_data: {error}", file=sys.stderr)
        sys.exit(exit_code_of(error))
