"""Segmentation with descendants of a learngene as backbones, against other beginnings of the same models.

    python train.py --data data/scenes --learngene stamps.safetensors --deep lone --output results.json

Every model is a ViT of a depth with one linear layer, which turns the tokens after the middle and the last block into the
logits of the pixels of their patch. All of it is trained, for equally many steps on the same pictures in the same order.
The beginnings are the learngene's descendant, timm's random weights (scratch), the learngene's first term in every layer
(share), and the blocks of a deeper trained model that change their input most (prune).
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pixel_shuffle

import tleg
from tleg.errors import InputError, exit_code_of
from tleg.models.architecture import build, timm_family_of
from tleg.models.descendant import baseline
from tleg.models.pruning import block_importance, keep_blocks, most_important
from tleg.models.timm_folder import load_timm_folder

ARMS: Final = ("learngene", "scratch", "share", "prune")
_IMPORTANCE_IMAGES: Final = 256


class Segmenter(nn.Module):
    """A ViT and a linear head: images (N, 3, H, W) -> logits (N, classes, H, W)."""

    def __init__(self, backbone: Any, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        depth, self.patch = len(backbone.blocks), backbone.patch_embed.patch_size[0]
        self.places = sorted({max(depth // 2 - 1, 0), depth - 1})
        width = len(self.places) * backbone.embed_dim
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes * self.patch**2)

    def forward(self, images: Tensor) -> Tensor:
        """The logits of every pixel."""
        maps = self.backbone.forward_intermediates(images, indices=self.places, intermediates_only=True)
        tokens = torch.cat(maps, dim=1).permute(0, 2, 3, 1)
        return pixel_shuffle(self.head(self.norm(tokens)).permute(0, 3, 1, 2), self.patch)


def read_pictures(folder: Path, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return all pictures (N, 3, H, W) from 0 to 1 and their masks (N, H, W). Raises InputError for what does not fit."""
    pictures, masks = [], []
    for path in sorted((folder / "images").glob("*.png")):
        mask_path = folder / "masks" / path.name
        if not mask_path.is_file():
            raise InputError(f"{path} has no mask {mask_path}")
        with Image.open(path) as picture, Image.open(mask_path) as mask:
            if picture.size != mask.size or mask.mode != "L":
                raise InputError(
                    f"the mask {mask_path} ({mask.mode}, {mask.width}x{mask.height}) does not fit its picture of "
                    f"{picture.width}x{picture.height}"
                )
            if picture.size != size:
                raise InputError(
                    f"{path} has {picture.width}x{picture.height} pixels and the models take {size[0]}x{size[1]}"
                )
            pictures.append(np.asarray(picture.convert("RGB"), np.float32) / 255)
            masks.append(np.asarray(mask, np.int64))
    if not pictures:
        raise InputError(f"{folder} holds no images/*.png")
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(np.stack(masks))


def backbone_of(arm: str, depth: int, learngene: tleg.Learngene, deep: Any, images: Tensor) -> Any:
    """Return the model of an arm and a depth. Random weights are drawn from torch's global generator."""
    classes = learngene.header.architecture.num_classes
    if arm == "learngene":
        return learngene.expand(depth)
    if arm != "prune":
        return baseline(learngene, depth, arm, num_classes=classes)
    family = timm_family_of(learngene.header.architecture)
    kept = most_important(block_importance(deep, family, images[:_IMPORTANCE_IMAGES].split(32)), (depth,))
    model = build(learngene.header.architecture, depth, num_classes=classes)
    keep_blocks(deep, model, family, kept)
    return model


def steps_of(count: int, batch: int, steps: int, seed: int) -> Iterator[Tensor]:
    """The numbers of the pictures of every step: each once an epoch, in an order that the seed draws."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.cat([torch.randperm(count, generator=generator) for _ in range(steps * batch // count + 1)])
    yield from order[: steps * batch].split(batch)


def fit(model: Segmenter, images: Tensor, masks: Tensor, *, steps: int, batch: int, rate: float, seed: int) -> None:
    """Train head and backbone with AdamW and one cycle of the rate."""
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    for chosen in steps_of(len(images), min(batch, len(images)), steps, seed):
        loss = cross_entropy(model(images[chosen]), masks[chosen])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()


@torch.inference_mode()
def intersections_over_unions(model: Segmenter, images: Tensor, masks: Tensor, classes: int) -> tuple[float, float]:
    """Return intersection over union, both counted over all pixels, in percent.

    The first is the mean over classes; the second takes all but 0 as one class: are things found, whatever they are?
    """
    model.eval()
    found = torch.cat([model(each).argmax(dim=1) for each in images.split(64)])
    counts = torch.bincount((masks * classes + found).flatten(), minlength=classes**2).view(classes, classes).double()
    same = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - same
    things = counts[1:, 1:].sum() / (counts.sum() - counts[0, 0]).clamp(min=1)
    return float(100 * (same[union > 0] / union[union > 0]).mean()), float(100 * things)


def main() -> None:
    """Train all, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "deep", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--learngene", required=True)
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=1e-3)
    options = parser.parse_args()
    learngene = tleg.load(options.learngene)
    header = learngene.header
    _, height, width = header.architecture.input_size
    mean, std = (torch.tensor(each).view(1, -1, 1, 1) for each in (header.preprocessing.mean, header.preprocessing.std))
    train, test = (read_pictures(options.data / part, (width, height)) for part in ("train", "test"))
    train, test = (((images - mean) / std, masks) for images, masks in (train, test))
    deep = load_timm_folder(options.deep)
    classes = int(max(train[1].max(), test[1].max())) + 1
    results = []
    for seed in options.seeds:
        for depth in options.depths:
            for arm in ARMS:
                torch.manual_seed(seed)
                backbone = backbone_of(arm, depth, learngene, deep, train[0])
                torch.manual_seed(seed)  # So that all heads of a seed begin alike.
                model = Segmenter(backbone, classes)
                fit(model, *train, steps=options.steps, batch=options.batch, rate=options.rate, seed=seed)
                miou, things = intersections_over_unions(model, *test, classes)
                results.append(
                    {"arm": arm, "depth": depth, "seed": seed, "miou": round(miou, 2), "things": round(things, 2)}
                )
                print(f"{arm} depth {depth} seed {seed}: mIoU {miou:.2f}, things {things:.2f}", flush=True)
    document = {
        "steps": options.steps,
        "batch": options.batch,
        "rate": options.rate,
        "classes": classes,
        "train": len(train[0]),
        "test": len(test[0]),
        "results": results,
    }
    options.output.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        print(f"train: {error}", file=sys.stderr)
        sys.exit(exit_code_of(error))
