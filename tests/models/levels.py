"""Two families that are none of tleg's; `registered` makes them known for a while.

Levels are two stages of other widths and depths, whose blocks have other names than a ViT's; the model is registered with
timm, as any timm model is. Sequencer is timm's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from timm.layers import PatchEmbed
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from tleg.learngene.families import register, unregister
from tleg.learngene.header import Profile
from tleg.learngene.structure import Stage
from tleg.models.timm_family import TimmFamily

NAME = "levels_tiny"
default_cfgs = generate_default_cfgs(
    {
        f"{NAME}.none": {
            "input_size": (3, 32, 32),
            "num_classes": 1000,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "crop_pct": 1.0,
            "interpolation": "bicubic",
            "first_conv": "patch_embed.proj",
            "classifier": "logits",
        }
    }
)


class Level(nn.Module):
    """Blocks of one width after a change to that width."""

    def __init__(self, before: int, width: int, heads: int, depth: int, drop_path: float) -> None:
        super().__init__()
        self.change = nn.Linear(before, width)
        self.layer = nn.Sequential(*(Block(width, heads, mlp_ratio=2, drop_path=drop_path) for _ in range(depth)))


class Levels(nn.Module):
    """Two levels: widths 24 and 32, 2 and 4 heads."""

    def __init__(
        self, depths: tuple[int, int] = (2, 4), num_classes: int = 1000, in_chans: int = 3, drop_path_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.num_classes, self.num_features = num_classes, 32
        self.patch_embed = PatchEmbed(32, 8, in_chans, 24, strict_img_size=False)
        self.levels: Any = nn.ModuleList(
            [Level(24, 24, 2, depths[0], drop_path_rate), Level(24, 32, 4, depths[1], drop_path_rate)]
        )
        self.last_norm = nn.LayerNorm(32)
        self.logits = nn.Linear(32, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> tokens (N, H * W / 64, 32)."""
        x = self.patch_embed(images)
        for level in self.levels:
            x = level.layer(level.change(x))
        tokens: Tensor = self.last_norm(x)
        return tokens

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """tokens (N, tokens, 32) -> logits (N, classes), or their mean (N, 32)."""
        pooled = x.mean(dim=1)
        logits: Tensor = pooled if pre_logits else self.logits(pooled)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """images (N, C, H, W) -> logits (N, classes)."""
        return self.forward_head(self.forward_features(images))


def levels_tiny(pretrained: bool = False, **arguments: Any) -> Any:
    """Make the model, as functions of timm do."""
    return build_model_with_cfg(Levels, NAME, pretrained, **arguments)


register_model(levels_tiny)


class LevelsFamily(TimmFamily):
    """The second level has more blocks, so that it is the elastic one."""

    name = "levels"
    patterns = ("levels_*",)
    modules = (__name__.rpartition(".")[2],)
    stages = (Stage("levels.0.layer."), Stage("levels.1.layer."))
    sized = False
    classifier = "logits"
    head = ("last_norm", "logits")

    def depth_arguments(self, profile: Profile) -> dict[str, Any]:
        return {"depths": list(profile)}


class Sequencer(TimmFamily):
    """Sequencer (arXiv 2205.01972): four stages, and LSTMs in place of attention."""

    name = "sequencer"
    patterns = ("sequencer2d_*",)
    modules = ("sequencer",)
    stages = tuple(Stage(f"stages.{index}.blocks.") for index in range(4))
    classifier, first_conv = "head.fc", "stem.proj"
    # What mixes positions stands where attention does in a ViT.
    attention_modules = frozenset({"rnn_tokens"})
    mlp_modules = frozenset({"mlp_channels"})

    def depth_arguments(self, profile: Profile) -> dict[str, Any]:
        return {"layers": list(profile)}


@contextmanager
def registered() -> Iterator[None]:
    """Within it the families are known."""
    others = (LevelsFamily(), Sequencer())
    for family in others:
        register(family)
    try:
        yield
    finally:
        for family in others:
            unregister(family.name)
