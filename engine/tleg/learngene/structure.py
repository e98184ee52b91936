"""What a family of architectures is: its stages, the names and the shapes of its parameters. What is known without timm.

A family is one object; `tleg.learngene.families` finds it by the name of a timm model. What is here needs the standard
library alone, so that headers are read and previewed without torch. The plain ViT is the family of one stage.

A learngene's name of a block's parameter is timm's without the number of the block: 'blocks.norm1.bias' holds the terms of
'blocks.0.norm1.bias', 'blocks.1.norm1.bias' and so on.

Where timm counts the blocks of all stages in one row, as in Hiera, the number of a block says its stage at one profile.
Names by stages are then tleg's own, and `timm_name` and `staged_name` go from one to the other at a profile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import takewhile
from types import MappingProxyType
from typing import Any, ClassVar, Final

from tleg.errors import ArchitectureError, ExportError
from tleg.learngene.architecture import TIMM_EPS, Architecture, Layout, Structure
from tleg.learngene.basis import Part
from tleg.learngene.header import Profile

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """Blocks of one shape that follow one another. They share one set of terms; their positions are t = l / L of the stage.

    prefix          of timm's names, before the number of a block: 'blocks.' of 'blocks.3.norm1.bias', 'layers.2.blocks.' in
                    a Swin. Everything that has no stage's prefix is stored once: stem, what lies between stages, head
    depth_argument  of `timm.create_model` that says how many blocks it has
    period          after how many blocks what is no parameter repeats: 2 where every other block shifts its windows
    first           the number of its first block; those before it differ, such as one that changes the width, and are stored
                    once. A profile counts the blocks from it on
    kinds           where blocks of several kinds with parameters of other shapes take turns, what the kinds are called: so
                    many of timm's blocks, in this order, are one block here, whose names begin with the kind
    """

    prefix: str
    depth_argument: str = "depth"
    period: int = 1
    first: int = 0
    kinds: tuple[str, ...] = ()

    @property
    def group(self) -> int:
        """How many of timm's blocks are one block here."""
        return max(1, len(self.kinds))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block's parameter belongs: the index of its stage, and its name inside the block ('norm1.bias')."""

    stage: int
    inner: str


class Family:
    """Models of timm that differ in sizes and arguments and are expanded in one way.

    name        of the family
    patterns    of the timm names that it covers ('swin_*'); the family that was registered last is asked first
    modules     of timm that its models are in, for lists of names; `lists` says which of their names
    stages      in the order in which images pass through them
    classifier  the module that gives the logits, by timm's name
    first_conv  the module that takes the image
    head        modules that follow the last block, as far as a model has them
    sized       whether timm makes a model for one size of images, `img_size`
    dynamic     whether such a model takes other sizes too, with timm's `dynamic_img_size`
    resampled   whether an auxiliary model takes other sizes too, with tables of positions that are resampled at every step
    defaults    arguments that a model has where none are given, where timm's own are not what a learngene needs
    one_row     timm's prefix of all blocks, 'blocks.', where it counts those of all stages in one row. The prefixes of the
                stages are then tleg's own
    timm_fixes_depths  whether timm's functions of its names take no depths, because they fix them. Models of other depths
                are made from the same arguments (`tleg.models.creation`), which timm alone does not do

    What most families of timm have in common is how it is here; a family says what is otherwise.
    """

    name: ClassVar[str]
    patterns: ClassVar[tuple[str, ...]]
    modules: ClassVar[tuple[str, ...]] = ()
    stages: ClassVar[tuple[Stage, ...]]
    classifier: ClassVar[str] = "head"
    first_conv: ClassVar[str] = "patch_embed.proj"
    head: ClassVar[tuple[str, ...]] = ("norm", "attn_pool", "fc_norm", "head")
    sized: ClassVar[bool] = True
    dynamic: ClassVar[bool] = False
    resampled: ClassVar[bool] = False
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({})
    one_row: ClassVar[str | None] = None
    timm_fixes_depths: ClassVar[bool] = False
    # Of a block: what mixes the places of an image, and what works at each place; everything else counts as norm.
    attention_modules: ClassVar[frozenset[str]] = frozenset({"attn", "ls1"})
    mlp_modules: ClassVar[frozenset[str]] = frozenset({"mlp", "ls2"})

    @property
    def periods(self) -> Profile:
        """The smallest profile that has every kind of block: one period of each stage."""
        return tuple(stage.period for stage in self.stages)

    def depth_arguments(self, profile: Profile) -> dict[str, Any]:
        """The arguments of `timm.create_model` that make so many blocks."""
        return dict(zip((stage.depth_argument for stage in self.stages), self.timm_depths(profile), strict=True))

    def timm_depths(self, profile: Profile) -> list[int]:
        """How many blocks timm counts where a profile has so many."""
        return [blocks * stage.group + stage.first for stage, blocks in zip(self.stages, profile, strict=True)]

    def timm_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """An architecture's arguments as far as `timm.create_model` takes them: without a size where a model has none."""
        return {name: value for name, value in arguments.items() if self.sized or name != "img_size"}

    def fixed_by_timm(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the arguments that timm's function of a name does not take, because it fixes them: depths, or none."""
        fixed = self.depth_arguments((1,) * len(self.stages)).keys() if self.timm_fixes_depths else ()
        return {name: value for name, value in arguments.items() if name in fixed}

    def take_depth(self, arguments: Mapping[str, Any]) -> tuple[int | None, dict[str, Any]]:
        """The depth of a model of one stage, where arguments of `timm.create_model` state one, and the other arguments."""
        name = self.stages[0].depth_argument
        depth = arguments.get(name)
        if len(self.stages) > 1 or type(depth) is not int:
            return None, dict(arguments)
        return depth - self.stages[0].first, {other: value for other, value in arguments.items() if other != name}

    def part_of(self, inner: str) -> Part:
        """The part of a block that a parameter belongs to, by its name inside the block.

        Layer scale goes with what it scales, the norms inside attention with attention.
        """
        # Blocks of blocks have numbers before, or what they are called: '0.attn.qkv.weight', 'local.attn.qkv.weight'.
        kinds = {kind for stage in self.stages for kind in stage.kinds}
        module = next((piece for piece in inner.split(".") if not piece.isdigit() and piece not in kinds), "")
        if module in self.attention_modules:
            return "attention"
        return "mlp" if module in self.mlp_modules else "norm"

    def covers(self, timm_name: str) -> bool:
        """Whether a timm model is taken for one of this family. What it really is shows when timm has built it."""
        return any(fnmatchcase(timm_name, pattern) for pattern in self.patterns)

    def lists(self, timm_name: str) -> bool:
        """Whether a model of its modules of timm is one that can be expanded, as far as a name says so."""
        return self.covers(timm_name)

    def place(self, name: str) -> Place | None:
        """Where a parameter belongs, by a learngene's name; None for stem and head."""
        for index, stage in enumerate(self.stages):
            if name.startswith(stage.prefix):
                inner = name.removeprefix(stage.prefix)
                number = inner.partition(".")[0]
                stored_once = number.isdigit() and int(number) < stage.first
                return None if stored_once else Place(index, inner)
        return None

    def is_block(self, name: str) -> bool:
        """Whether a parameter, by stages or under a learngene's name, belongs to a block."""
        return self.place(name) is not None

    def block_name(self, stage: int, inner: str) -> str:
        """A learngene's name of a parameter: 'blocks.norm1.bias'."""
        return f"{self.stages[stage].prefix}{inner}"

    def layer_name(self, stage: int, layer: int, inner: str) -> str:
        """The name by stages of a block's parameter: 'blocks.3.norm1.bias'. Layers count from 0 in each stage, at its first.

        It is timm's, but where timm counts all stages in one row: see `timm_name`.
        """
        found = self.stages[stage]
        number = found.first + layer * found.group
        if found.kinds and inner:
            kind, _, inner = inner.partition(".")
            number += found.kinds.index(kind)
        return f"{found.prefix}{number}.{inner}"

    def layer_prefixes(self, stage: int, layer: int) -> dict[str, str]:
        """What names by stages of a block begin with, by what its names inside the block do: {'': 'blocks.3.'}."""
        kinds = [f"{kind}." for kind in self.stages[stage].kinds] or [""]
        return {kind: self.layer_name(stage, layer, kind) for kind in kinds}

    def timm_name(self, name: str, profile: Profile) -> str:
        """timm's name, in a model of a profile, of what has a name by stages: the same where timm counts in each stage.

        Of a Hiera whose first stage has two blocks 'blocks.4.norm1.bias' is 'stages.1.blocks.2.norm1.bias'.
        """
        if self.one_row is None:
            return name
        before = 0
        for stage, blocks in zip(self.stages, self.timm_depths(profile), strict=True):
            if name.startswith(stage.prefix):
                number, dot, inner = name.removeprefix(stage.prefix).partition(".")
                return f"{self.one_row}{before + int(number)}{dot}{inner}"
            before += blocks
        return name

    def staged_name(self, name: str, profile: Profile) -> str:
        """The name by stages of what has a name of timm's in a model of a profile: what `timm_name` is the inverse of."""
        if self.one_row is None or not name.startswith(self.one_row):
            return name
        text, dot, inner = name.removeprefix(self.one_row).partition(".")
        number = int(text)
        for stage, blocks in zip(self.stages, self.timm_depths(profile), strict=True):
            if number < blocks:
                return f"{stage.prefix}{number}{dot}{inner}"
            number -= blocks
        raise ValueError(f"a model of {profile} has no '{name}'")

    def learngene_name(self, name: str) -> str:
        """A learngene's name of a parameter by stages: 'blocks.norm1.bias' for 'blocks.3.norm1.bias', others unchanged."""
        place = self.place(name)
        if place is None:
            return name
        number, _, inner = place.inner.partition(".")
        stage = self.stages[place.stage]
        if stage.kinds:
            inner = f"{stage.kinds[(int(number) - stage.first) % stage.group]}.{inner}"
        return self.block_name(place.stage, inner)

    @property
    def prefix(self) -> str:
        """What all names of blocks begin with. Without it, terms of one stage are called as inside a block."""
        pieces = zip(*(stage.prefix.split(".") for stage in self.stages), strict=False)
        common = takewhile(lambda each: len(set(each)) == 1, pieces)
        return "".join(f"{piece}." for piece, *_ in common if piece)

    def part(self, name: str) -> Part | None:
        """The part of a block that a parameter belongs to, by a learngene's name; None for stem and head."""
        place = self.place(name)
        return None if place is None else self.part_of(place.inner)

    def layout_arguments(self, layout: Layout) -> dict[str, Any]:
        """The arguments of `timm.create_model` that make a layout."""
        return {}

    def check_layout(self, architecture: Architecture, layout: Layout) -> None:
        """Refuse a layout that means nothing for an architecture. Raises ArchitectureError."""
        if layout != "auxiliary":
            raise ArchitectureError(f"'{architecture.name}' has no {layout} layout", field="layout")

    def name_in(self, layout: Layout, name: str) -> str:
        """timm's name, in a layout, of a parameter that has another one in the auxiliary layout."""
        return name

    def auxiliary_name(self, name: str) -> str:
        """The name in the auxiliary layout of a parameter of any layout."""
        return name

    def parameter_shapes(self, architecture: Architecture) -> dict[str, Shape] | None:
        """The parameters of stem, one block of each stage and head by a learngene's names; those of blocks without the axis
        of terms. None where only timm knows them."""
        return None

    def spelled_out(self, architecture: Architecture) -> tuple[str, dict[str, Any]]:
        """The timm name and arguments that say the architecture in JSON, LayerNorm's eps included. Raises ExportError."""
        if architecture.eps is not None:
            raise ExportError(f"timm's config cannot state a LayerNorm eps of {architecture.eps}; export to ONNX instead")
        return architecture.name, self.timm_arguments(architecture.arguments)


class PlainVit(Family):
    """timm's plain VisionTransformer (deit, vit, deit3, dinov2): one stage of equal blocks.

    It takes every name that no other family covers, and says when timm has built it what does not fit.
    """

    name = "vit"
    patterns = ("*",)
    modules = ("vision_transformer", "vision_transformer_hybrid", "vitamin", "deit")
    stages = (Stage("blocks."),)

    # Whose LayerNorms have an eps of 1e-5.
    _EPS_1E5_NAME: Final = "vit_base_patch16_clip_224"

    def lists(self, timm_name: str) -> bool:
        # Distilled ones have two heads; differential attention weighs its parts by the number of the layer.
        return "distilled" not in timm_name and not timm_name.startswith(_DIFFERENTIAL)

    def layout_arguments(self, layout: Layout) -> dict[str, Any]:
        return {"fc_norm": True} if layout == "official" else {}

    def check_layout(self, architecture: Architecture, layout: Layout) -> None:
        if layout == "official" and architecture.arguments.get("global_pool") != "avg":
            raise ArchitectureError(
                "the official layout normalises after average pooling; this architecture does not pool so", field="layout"
            )

    def name_in(self, layout: Layout, name: str) -> str:
        return f"fc_{name}" if layout == "official" and name.startswith("norm.") else name

    def auxiliary_name(self, name: str) -> str:
        return name.removeprefix("fc_") if name.startswith("fc_norm.") else name

    def parameter_shapes(self, architecture: Architecture) -> dict[str, Shape] | None:
        structure = architecture.structure
        return None if structure is None else self.shapes(structure, architecture.num_classes)

    def shapes(self, structure: Structure, num_classes: int) -> dict[str, Shape]:
        """The parameters of a plain ViT, see `parameter_shapes`."""
        width = structure.width
        shapes: dict[str, Shape] = {}
        if structure.class_token:
            shapes["cls_token"] = (1, 1, width)
        if structure.registers:
            shapes["reg_token"] = (1, structure.registers, width)
        if structure.position != "none":
            shapes["pos_embed"] = (1, structure.tokens if structure.position == "all" else structure.patches, width)
        shapes["patch_embed.proj.weight"] = (width, structure.channels, *structure.patch_size)
        if structure.patch_bias:
            shapes["patch_embed.proj.bias"] = (width,)
        if structure.pre_norm:
            shapes |= {"norm_pre.weight": (width,), "norm_pre.bias": (width,)}
        shapes |= {self.block_name(0, inner): shape for inner, shape in self.block_shapes(structure).items()}
        shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
        if num_classes:
            shapes |= {"head.weight": (num_classes, width), "head.bias": (num_classes,)}
        return shapes

    def block_shapes(self, structure: Structure) -> dict[str, Shape]:
        """The parameters of one block, by name inside the block, in timm's order."""
        width, hidden = structure.width, structure.hidden
        shapes: dict[str, Shape] = {"norm1.weight": (width,), "norm1.bias": (width,), "attn.qkv.weight": (3 * width, width)}
        if structure.qkv_bias:
            shapes["attn.qkv.bias"] = (3 * width,)
        shapes |= {"attn.proj.weight": (width, width), "attn.proj.bias": (width,)}
        if structure.layer_scale:
            shapes["ls1.gamma"] = (width,)
        shapes |= {
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (hidden, width),
            "mlp.fc1.bias": (hidden,),
            "mlp.fc2.weight": (width, hidden),
            "mlp.fc2.bias": (width,),
        }
        if structure.layer_scale:
            shapes["ls2.gamma"] = (width,)
        return shapes

    def spelled_out(self, architecture: Architecture) -> tuple[str, dict[str, Any]]:
        # timm's config is JSON, so a LayerNorm's eps cannot be stated in it. Names imply one: most of them 1e-6.
        structure = architecture.structure
        if structure is None or architecture.eps not in (None, TIMM_EPS, 1e-5):
            return super().spelled_out(architecture)
        if architecture.eps == 1e-5:
            return self._EPS_1E5_NAME, self._complete_arguments(structure)
        return architecture.name, dict(architecture.arguments)

    def _complete_arguments(self, structure: Structure) -> dict[str, Any]:
        """Every argument of a plain ViT, so that nothing is left to what a name implies."""
        return {
            "img_size": list(structure.image_size),
            "patch_size": list(structure.patch_size),
            "in_chans": structure.channels,
            "embed_dim": structure.width,
            "num_heads": structure.heads,
            "mlp_ratio": structure.hidden / structure.width,
            "qkv_bias": structure.qkv_bias,
            "init_values": 1e-5 if structure.layer_scale else None,
            "class_token": structure.class_token,
            "reg_tokens": structure.registers,
            "no_embed_class": structure.position == "patches",
            "pos_embed": "none" if structure.position == "none" else "learn",
            "pre_norm": structure.pre_norm,
            "global_pool": structure.pool,
            "fc_norm": False,
        }


PLAIN_VIT: Final = PlainVit()


# timm's ViTs of differential attention.
_DIFFERENTIAL: Final = ("vit_dwee_", "vit_dpwee_", "vit_dlittle_")
# The names of a plain ViT, for those who write its graph themselves.


def is_block(name: str) -> bool:
    """Whether a plain ViT's parameter, under either name, belongs to the blocks."""
    return PLAIN_VIT.is_block(name)


def inner_name(name: str) -> str:
    """The name inside the block of a learngene's parameter: 'norm1.bias' for 'blocks.norm1.bias'."""
    return name.removeprefix(PLAIN_VIT.prefix)


def layer_name(layer: int, inner: str) -> str:
    """timm's name of a block's parameter: layer_name(3, 'norm1.bias') is 'blocks.3.norm1.bias'."""
    return PLAIN_VIT.layer_name(0, layer, inner)


def official_layout_name(name: str) -> str:
    """The name in the official layout, where the final norm follows pooling: 'fc_norm.bias' for 'norm.bias'."""
    return PLAIN_VIT.name_in("official", name)


def auxiliary_layout_name(name: str) -> str:
    """The name in the auxiliary layout of a parameter of the official one: 'norm.bias' for 'fc_norm.bias'."""
    return PLAIN_VIT.auxiliary_name(name)


def parameter_shapes(structure: Structure, num_classes: int) -> dict[str, Shape]:
    """The parameters of a plain ViT: stem, one block and head by a learngene's names, without the axis of terms."""
    return PLAIN_VIT.shapes(structure, num_classes)
