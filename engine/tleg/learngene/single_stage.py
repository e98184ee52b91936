"""Transformers of one stage that are not timm's plain VisionTransformer.

Their blocks are equal, and get more than the tokens: rotary tables, a bias by relative position, which timm gives to all of
them alike.
"""

from typing import ClassVar, Final

from tleg.learngene.structure import Family, Stage


class SingleStage(Family):
    """One stage of equal blocks under 'blocks.'."""

    stages = (Stage("blocks."),)
    # Of timm's names, where they do not show: those whose models keep something for each layer outside of the layers.
    unlisted: ClassVar[tuple[str, ...]] = ()

    def lists(self, timm_name: str) -> bool:
        return self.covers(timm_name) and not any(part in timm_name for part in self.unlisted)


class Eva(SingleStage):
    """EVA and EVA-02 (arXiv 2303.11331), and what timm builds as such: DINOv3, rotary ViTs, Perception Encoder."""

    name = "eva"
    patterns = ("eva_*", "eva02_*", "vit_*dinov3*", "vit_*_rope_*", "vit_pe_*", "vit_*lingbot*")
    modules = ("eva",)
    unlisted = ("_rope_mixed_",)
    dynamic = True
    attention_modules = frozenset({"attn", "gamma_1", "ls1"})
    mlp_modules = frozenset({"mlp", "gamma_2", "ls2"})


class Beit(SingleStage):
    """BEiT and BEiT v2 (arXiv 2106.08254): a bias by relative position in every block."""

    name = "beit"
    patterns = ("beit_*", "beitv2_*")
    modules = ("beit",)
    resampled = True
    attention_modules = frozenset({"attn", "gamma_1"})
    mlp_modules = frozenset({"mlp", "gamma_2"})


class RelativePositionVit(SingleStage):
    """timm's ViTs with relative positions, in every block or for all of them."""

    name = "vit-relpos"
    patterns = ("vit_relpos_*", "vit_srelpos_*", "test_vit_relpos")
    modules = ("vision_transformer_relpos",)
    resampled = True


class Cait(SingleStage):
    """CaiT (arXiv 2103.17239): equal blocks without a class token; two class-attention blocks after them are stored once."""

    name = "cait"
    patterns = ("cait_*",)
    modules = ("cait",)
    resampled = True
    head = ("blocks_token_only", "norm", "head")
    attention_modules = frozenset({"attn", "gamma_1"})
    mlp_modules = frozenset({"mlp", "gamma_2"})


class Xcit(SingleStage):
    """XCiT (arXiv 2106.09681): attention between channels, and batch norms between the places of a block.

    Two class-attention blocks after the others are stored once.
    """

    name = "xcit"
    patterns = ("xcit_*",)
    modules = ("xcit",)
    first_conv = "patch_embed.proj.0.0"
    head = ("cls_attn_blocks", "norm", "head")
    sized = False
    attention_modules = frozenset({"attn", "gamma1", "local_mp", "gamma3"})
    mlp_modules = frozenset({"mlp", "gamma2"})


class NaFlexVit(SingleStage):
    """NaFlexViT: timm's ViT for images of any shape, here of one."""

    name = "naflexvit"
    patterns = ("naflexvit_*",)
    modules = ("naflexvit",)
    first_conv = "embeds.proj"


class EncodedVit(SingleStage):
    """The vision encoders of Qwen3-VL and DeepSeek-OCR as timm's classifiers: blocks inside of an encoder."""

    name = "vision-encoder"
    patterns = ("qwen3_vit_*", "deepseek_vit_*")
    modules = ("qwen3_vit", "deepseek_vit")
    stages = (Stage("encoder.blocks."),)
    first_conv = "encoder.patch_embed.proj"
    unlisted = ("_enc",)


class Mixer(SingleStage):
    """MLP-Mixer (arXiv 2105.01601), ResMLP (2105.03404) and gMLP (2105.08050): mixers of places of fixed size."""

    name = "mlp-mixer"
    patterns = ("mixer_*", "gmixer_*", "resmlp_*", "gmlp_*")
    modules = ("mlp_mixer",)
    stages = (Stage("blocks.", "num_blocks"),)
    first_conv = "stem.proj"
    timm_fixes_depths = True
    attention_modules = frozenset({"mlp_tokens", "linear_tokens", "ls1"})
    mlp_modules = frozenset({"mlp_channels", "ls2"})


class Tnt(SingleStage):
    """TNT (arXiv 2103.00112): a block has attention inside of patches and between them, and hands on pixels and patches."""

    name = "tnt"
    patterns = ("tnt_*",)
    modules = ("tnt",)
    first_conv = "pixel_embed.proj"
    attention_modules = frozenset({"attn_in", "attn_out"})
    mlp_modules = frozenset({"mlp_in", "mlp", "proj"})


SINGLE_STAGE: Final[tuple[Family, ...]] = (
    *(Eva(), Beit(), RelativePositionVit(), Cait(), Xcit(), NaFlexVit(), EncodedVit(), Mixer(), Tnt()),
)
