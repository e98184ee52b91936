"""Why an image cannot be read, by name and by count; what orientation does."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from tleg.data import decoding
from tleg.data.decoding import UnreadableImageError, count_turned, decode_image, typical_side
from tleg.data.image_folder import FolderImages
from tleg.data.transforms import evaluation_transform, training_transform, upright
from tleg.data.unreadable import UnreadableImages, describe_reasons
from tleg.errors import DataError
from tleg.learngene.header import Preprocessing
from tleg.recipes.training import Augmentation


def encoded(kind: str, size: tuple[int, int] = (40, 30)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(noise).save(content, kind)
    return content.getvalue()


WRONG = {
    "cut.jpg": (encoded("JPEG")[:-400], "truncated"),
    "cut.png": (encoded("PNG")[: len(encoded("PNG")) * 3 // 4], "truncated"),
    "cut.bmp": (encoded("BMP")[:-400], "truncated"),
    "empty.jpg": (b"", "empty"),
    "page.jpg": (b"<!DOCTYPE html><html>403</html>", "no image"),
    "flipped.png": (encoded("PNG")[:60] + b"\xff" * 40 + encoded("PNG")[100:], "damaged"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_reason_is_known_and_the_file_is_named(tmp_path: Path, name: str) -> None:
    content, reason = WRONG[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableImageError, match=f"cannot read the image {tmp_path}/{name}: ") as caught:
        FolderImages([tmp_path / name], [0]).image(0)
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match="it is gone") as caught:
        FolderImages([tmp_path / "x.png"], [0]).image(0)
    assert caught.value.reason == decoding.GONE


def test_reasons_are_counted(tmp_path: Path) -> None:
    files = []
    for number in range(4):
        for name, (content, _) in WRONG.items():
            files.append(tmp_path / f"{number}{name}")
            files[-1].write_bytes(content)
    unreadable = UnreadableImages(FolderImages(files, [0] * len(files)))
    told = unreadable.add(range(6))
    assert len(told) == 6
    assert all(sentence.startswith(f"cannot read the image {path}: ") for sentence, path in zip(told, files, strict=False))
    assert unreadable.reasons == {"truncated": 3, "empty": 1, "no image": 1, "damaged": 1}
    with pytest.raises(DataError) as caught:
        unreadable.add(range(24))
    message = str(caught.value)
    assert message.startswith(f"24 of 24 images cannot be read, {tmp_path}/0cut.jpg, ")
    assert message.endswith(" among them: 12 truncated, 4 damaged, 4 empty, 4 no image; remove or repair them")
    assert describe_reasons({"empty": 1, "damaged": 0, "truncated": 2}) == "2 truncated, 1 empty"


def test_pixels_are_limited_by_a_number_that_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (300, 200)).save(tmp_path / "big.png")
    images = FolderImages([tmp_path / "big.png"], [0], max_pixels=59_999)
    with pytest.raises(
        UnreadableImageError, match="300 x 200 pixels are more than 59999; --max-pixels 60000 reads it"
    ) as caught:
        images.image(0)
    assert caught.value.reason == decoding.TOO_LARGE
    assert FolderImages([tmp_path / "big.png"], [0], max_pixels=60_000).image(0).size == (300, 200)
    # Pillow's own limit neither warns nor refuses; the default is where Pillow would refuse.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert decode_image(tmp_path / "big.png", "it").size == (300, 200)
    assert Image.MAX_IMAGE_PIXELS == 10
    assert decoding.MAX_PIXELS == 178_956_970


def with_orientation(path: Path, image: Image.Image, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=95)


PREPROCESSING = Preprocessing((0.5,) * 3, (0.25,) * 3, crop_pct=1.0)
STORED = {
    1: (),
    2: (Image.Transpose.FLIP_LEFT_RIGHT,),
    3: (Image.Transpose.ROTATE_180,),
    4: (Image.Transpose.FLIP_TOP_BOTTOM,),
    5: (Image.Transpose.TRANSPOSE,),
    6: (Image.Transpose.ROTATE_90,),
    7: (Image.Transpose.TRANSVERSE,),
    8: (Image.Transpose.ROTATE_270,),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_images_are_turned_upright_unless_told_otherwise(tmp_path: Path, orientation: int, suffix: str) -> None:
    shown = Image.new("RGB", (48, 32), (0, 0, 0))
    shown.paste((255, 0, 0), (0, 0, 24, 16))
    shown.paste((0, 255, 0), (24, 16, 48, 32))
    stored = shown
    for step in STORED[orientation]:
        stored = stored.transpose(step)
    with_orientation(tmp_path / f"x{suffix}", stored, orientation)
    images = FolderImages([tmp_path / f"x{suffix}"], [0])
    seen = evaluation_transform((3, 16, 16), PREPROCESSING)(images.image(0))
    assert (seen - evaluation_transform((3, 16, 16), PREPROCESSING)(shown)).abs().mean() < 0.03
    timms = Preprocessing((0.5,) * 3, (0.25,) * 3, crop_pct=1.0, exif=False)
    assert (
        evaluation_transform((3, 16, 16), timms)(images.image(0)) - evaluation_transform((3, 16, 16), timms)(stored)
    ).abs().mean() < 0.03
    assert count_turned(images) == (int(orientation != 1), 1)


def test_the_typical_size_of_images_is_the_median_of_those_that_can_be_read(tmp_path: Path) -> None:
    for name, size in {"a": (40, 30), "b": (9, 20), "c": (90, 90)}.items():
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    (tmp_path / "d.png").write_bytes(b"none")
    paths = sorted(tmp_path.iterdir())
    assert typical_side(FolderImages(paths, [0] * 4)) == 30
    assert typical_side(FolderImages(paths[3:], [0])) is None


def test_training_sees_them_upright_as_well(tmp_path: Path) -> None:
    shown = Image.new("RGB", (32, 32), (0, 0, 0))
    shown.paste((255, 255, 255), (0, 0, 32, 16))
    with_orientation(tmp_path / "x.jpg", shown.transpose(Image.Transpose.ROTATE_90), 6)
    plain = Augmentation(crop_scale=1.0, flip=0.0, auto_augment=None, random_erasing=0.0)
    seen = training_transform((3, 32, 32), PREPROCESSING, plain)(FolderImages([tmp_path / "x.jpg"], [0]).image(0))
    assert seen[:, :12].min() > 0.9
    assert seen[:, 20:].max() < 0.1


def test_deep_images_keep_their_orientation(tmp_path: Path) -> None:
    stored = Image.fromarray((np.arange(12, dtype=np.uint16) * 5000).reshape(3, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / "x.png", exif=exif)
    assert upright(FolderImages([tmp_path / "x.png"], [0]).image(0)).size == (3, 4)


def test_damaged_exif_does_no_harm(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"eXIf", b"II*\0\xff\xff\xff\x7f")
    Image.new("RGB", (8, 8), (9, 9, 9)).save(tmp_path / "x.png", pnginfo=info)
    seen = evaluation_transform((3, 8, 8), PREPROCESSING)(FolderImages([tmp_path / "x.png"], [0]).image(0))
    assert torch.allclose(seen, torch.full((3, 8, 8), 9 / 255))
