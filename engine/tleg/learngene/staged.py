"""Backbones whose blocks repeat within stages: Swin, ConvNeXt and others.

A stage has a width of its own, and so terms of its own; what changes the width between two stages is stored once. A profile
says how many blocks each stage has. One stage is elastic: it gets the depth that is asked for, the others keep theirs.
"""

from types import MappingProxyType
from typing import Any, ClassVar, Final

from tleg.learngene.header import Profile
from tleg.learngene.structure import Family, Stage

STAGES: Final = 4


# The kinds of blocks that take turns: of windows, and of all places of an image.
WINDOWS_AND_ALL: Final = ("local", "global")


def stages_called(
    prefix: str, count: int = STAGES, period: int = 1, first: int = 0, kinds: tuple[str, ...] = ()
) -> tuple[Stage, ...]:
    """Stages whose names differ in a number: 'layers.{}.blocks.'."""
    return tuple(Stage(prefix.format(index), "depths", period, first, kinds) for index in range(count))


def gc_stage(index: int, *, odd: bool) -> Stage:
    """A stage of a GC ViT, whose blocks take turns and begin with one of windows."""
    kinds = tuple(reversed(WINDOWS_AND_ALL)) if odd else WINDOWS_AND_ALL
    return Stage(f"stages.{index}.blocks.", "depths", first=int(odd), kinds=kinds)


class Staged(Family):
    """Stages whose depths timm takes as one argument, as a rule `depths`."""

    classifier: ClassVar[str] = "head.fc"
    head: ClassVar[tuple[str, ...]] = ("norm", "head")
    sized = False

    def depth_arguments(self, profile: Profile) -> dict[str, Any]:
        return {self.stages[0].depth_argument: self.timm_depths(profile)}


class Swin(Staged):
    """Swin (arXiv 2103.14030) and Swin V2 (arXiv 2111.09883): every other block shifts its windows."""

    name = "swin"
    patterns = ("swin_*", "swinv2_*")
    modules = ("swin_transformer", "swin_transformer_v2")
    stages = stages_called("layers.{}.blocks.", period=2)
    sized = True
    resampled = True
    attention_modules = frozenset({"attn"})

    def covers(self, timm_name: str) -> bool:
        return super().covers(timm_name) and "_cr_" not in timm_name  # Those have other names, and blocks that differ.


class SwinCr(Staged):
    """Swin V2 as timm's author wrote it before its code was there: a norm ends the last stage, which is stored once."""

    name = "swinv2-cr"
    patterns = ("swinv2_cr_*",)
    modules = ("swin_transformer_v2_cr",)
    stages = stages_called("stages.{}.blocks.", count=3, period=2)
    sized = True
    resampled = True
    attention_modules = frozenset({"attn"})

    def timm_depths(self, profile: Profile) -> list[int]:
        return [*super().timm_depths(profile), 2]

    def lists(self, timm_name: str) -> bool:
        # Norms between the blocks of every stage: at its end, or after each sixth.
        return self.covers(timm_name) and not any(part in timm_name for part in ("_ns_", "_huge_", "_giant_"))


class ConvNext(Staged):
    """ConvNeXt (arXiv 2201.03545) and ConvNeXt V2 (arXiv 2301.00808)."""

    name = "convnext"
    patterns = ("convnext_*", "convnextv2_*", "test_convnext*")
    modules = ("convnext",)
    stages = stages_called("stages.{}.blocks.")
    first_conv = "stem.0"
    head = ("norm_pre", "head")
    attention_modules = frozenset({"conv_dw"})


class PyramidVit(Staged):
    """PVT v2 (arXiv 2106.13797): attention over reduced maps."""

    name = "pvt-v2"
    patterns = ("pvt_v2_*",)
    modules = ("pvt_v2",)
    stages = stages_called("stages.{}.blocks.")
    classifier = "head"


class DaVit(Staged):
    """DaViT (arXiv 2204.03645): a block is one of windows and one of channels."""

    name = "davit"
    patterns = ("davit_*",)
    modules = ("davit",)
    stages = stages_called("stages.{}.blocks.")
    first_conv = "stem.conv"
    head = ("norm_pre", "head")
    attention_modules = frozenset({"attn", "cpe1"})
    mlp_modules = frozenset({"mlp", "cpe2"})


class MambaOut(Staged):
    """MambaOut (arXiv 2405.07992): gated convolutions."""

    name = "mambaout"
    patterns = ("mambaout_*", "test_mambaout")
    modules = ("mambaout",)
    stages = stages_called("stages.{}.blocks.")
    first_conv = "stem.conv1"
    attention_modules = frozenset({"conv"})
    mlp_modules = frozenset({"fc1", "fc2"})


class PoolingVit(Staged):
    """PiT (arXiv 2103.16302): plain blocks in three stages, with pooling between."""

    name = "pit"
    patterns = ("pit_*",)
    modules = ("pit",)
    stages = tuple(Stage(f"transformers.{index}.blocks.", "depth") for index in range(3))
    first_conv = "patch_embed.conv"
    classifier = "head"
    sized = True
    resampled = True

    def covers(self, timm_name: str) -> bool:
        return super().covers(timm_name) and "distilled" not in timm_name  # Those have two heads.


class AnyTwins(Staged):
    """What timm's Twins have in common (arXiv 2104.13840): positions are made after the first block of a stage."""

    modules = ("twins",)
    classifier = "head"
    first_conv = "patch_embeds.0.proj"
    sized = True
    resampled = True
    attention_modules = frozenset({"attn"})


class Twins(AnyTwins):
    """Twins-PCPVT: blocks of global attention, of which the first of a stage is stored once."""

    name = "twins"
    patterns = ("twins_pcpvt_*",)
    stages = stages_called("blocks.{}.", first=1)


class TwinsSvtSmall(AnyTwins):
    """Twins-SVT-S: blocks of windows and of all places take turns. The first two stages, of two blocks, are stored once."""

    name = "twins-svt-s"
    patterns = ("twins_svt_small",)
    stages = stages_called("blocks.{}.", first=2, kinds=WINDOWS_AND_ALL)[2:]

    def timm_depths(self, profile: Profile) -> list[int]:
        return [2, 2, *super().timm_depths(profile)]


class TwinsSvt(AnyTwins):
    """Twins-SVT-B and -L: of their stages all but the third have two blocks, which are stored once."""

    name = "twins-svt"
    patterns = ("twins_svt_base", "twins_svt_large")
    stages = TwinsSvtSmall.stages[:1]

    def timm_depths(self, profile: Profile) -> list[int]:
        return [2, 2, *super().timm_depths(profile), 2]


class GlobalContextVit(Staged):
    """GC ViT (arXiv 2206.09959): blocks of windows take turns with blocks whose queries come from the whole map.

    A stage of an odd number of blocks ends as it begins, with one of windows, and its first block is stored once.
    """

    name = "gcvit"
    patterns: ClassVar[tuple[str, ...]] = ("gcvit_tiny", "gcvit_small", "gcvit_base")
    modules = ("gcvit",)
    stages = tuple(gc_stage(index, odd=odd) for index, odd in enumerate((True, False, True, True)))
    first_conv = "stem.conv1"
    head = ("head",)
    sized = True
    timm_fixes_depths = True
    attention_modules = frozenset({"attn", "ls1"})
    mlp_modules = frozenset({"mlp", "ls2"})


class GlobalContextVitXTiny(GlobalContextVit):
    """GC ViT-XT, whose third stage is of an even number of blocks."""

    name = "gcvit-xt"
    patterns = ("gcvit_xtiny",)
    stages = tuple(gc_stage(index, odd=odd) for index, odd in enumerate((True, False, False, True)))


class GlobalContextVitXXTiny(GlobalContextVit):
    """GC ViT-XXT, all of whose stages are of even numbers of blocks."""

    name = "gcvit-xxt"
    patterns = ("gcvit_xxtiny",)
    stages = tuple(gc_stage(index, odd=False) for index in range(STAGES))


class MultiScaleVit(Staged):
    """MViT v2 (arXiv 2112.01526): the first block of a stage changes width and resolution, and is stored once."""

    name = "mvit-v2"
    patterns = ("mvitv2_*",)
    modules = ("mvitv2",)
    stages = (*stages_called("stages.{}.blocks.", count=1), *stages_called("stages.{}.blocks.", first=1)[1:])
    sized = True
    timm_fixes_depths = True
    attention_modules = frozenset({"attn"})

    def lists(self, timm_name: str) -> bool:
        return self.covers(timm_name) and timm_name != "mvitv2_large"  # Whose last blocks change the width.


class Hiera(Staged):
    """Hiera (arXiv 2306.00989): one row of blocks for all stages. The first of a later stage pools, and is stored once.

    Attention is within mask units in the first two stages and over all places in the others, and the block that pools
    attends as the stage before it. So what is no parameter follows from a block's stage, whatever the depths of the others.
    """

    name = "hiera"
    patterns = ("hiera_*",)
    modules = ("hiera",)
    one_row = "blocks."
    stages = tuple(Stage(f"stages.{index}.blocks.", "stages", first=int(index > 0)) for index in range(STAGES))
    sized = True
    resampled = True


class BigTransfer(Staged):
    """ResNet V2 with group norm (BiT, arXiv 1912.11370): the first block of a stage changes width and is stored once."""

    name = "bit"
    patterns = ("resnetv2_*_bit",)
    modules = ("resnetv2",)
    stages = tuple(Stage(f"stages.{index}.blocks.", "layers", first=1) for index in range(STAGES))
    first_conv = "stem.conv"
    timm_fixes_depths = True
    # Of its three convolutions the one over places is the second.
    attention_modules = frozenset({"conv2"})
    mlp_modules = frozenset({"conv1", "conv3"})


class MetaFormers(Staged):
    """What timm's module of MetaFormers has in common (arXiv 2111.11418)."""

    modules = ("metaformer",)
    stages = stages_called("stages.{}.blocks.")
    first_conv = "stem.conv"
    timm_fixes_depths = True
    attention_modules = frozenset({"token_mixer", "layer_scale1", "res_scale1"})
    mlp_modules = frozenset({"mlp", "layer_scale2", "res_scale2"})


class MetaFormer(MetaFormers):
    """ConvFormer and CAFormer (arXiv 2210.13452): convolutions, and in the last two stages of the second attention."""

    name = "metaformer"
    patterns = ("convformer_*", "caformer_*")
    classifier = "head.fc.fc2"


class PoolFormer(MetaFormers):
    """PoolFormer (arXiv 2111.11418) and PoolFormer V2: pooling in place of attention, which has no parameters."""

    name = "poolformer"
    patterns = ("poolformer*",)
    classifier = "head.fc"


class FocalNet(Staged):
    """FocalNet (arXiv 2203.11926): focal modulation in place of attention."""

    name = "focalnet"
    patterns = ("focalnet_*",)
    modules = ("focalnet",)
    stages = stages_called("layers.{}.blocks.")
    first_conv = "stem.proj"
    timm_fixes_depths = True
    attention_modules = frozenset({"modulation", "ls1"})


class Nest(Staged):
    """NesT (arXiv 2105.12723): attention inside blocks of an image, which are joined from level to level."""

    name = "nest"
    patterns = ("nest_*",)
    modules = ("nest",)
    stages = stages_called("levels.{}.transformer_encoder.", count=3)
    classifier = "head"
    sized = True
    timm_fixes_depths = True
    attention_modules = frozenset({"attn"})


class Volo(Staged):
    """VOLO (arXiv 2106.13112): a stage of outlook attention and three of attention; class-attention blocks are stored once.

    Its second head, for labels of patches, has no part in the logits: a learngene has none.
    """

    name = "volo"
    patterns = ("volo_*",)
    modules = ("volo",)
    stages = tuple(Stage(f"network.{index}.", "layers") for index in (0, 2, 3, 4))
    classifier = "head"
    first_conv = "patch_embed.conv.0"
    head = ("post_network", "norm", "head")
    sized = True
    defaults = MappingProxyType({"use_aux_head": False})
    timm_fixes_depths = True
    attention_modules = frozenset({"attn"})


STAGED: Final[tuple[Family, ...]] = tuple(
    family()
    for family in (
        Swin,
        ConvNext,
        PyramidVit,
        DaVit,
        MambaOut,
        PoolingVit,
        SwinCr,
        Twins,
        TwinsSvt,
        TwinsSvtSmall,
        MultiScaleVit,
        Hiera,
        BigTransfer,
        MetaFormer,
        PoolFormer,
        FocalNet,
        Nest,
        Volo,
        GlobalContextVit,
        GlobalContextVitXTiny,
        GlobalContextVitXXTiny,
    )
)
