"""Descendants: a learngene at a depth, as a plain timm VisionTransformer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from tleg.architecture import build
from tleg.basis import check_depth
from tleg.errors import FileFormatError, InputError
from tleg.header import Layout
from tleg.names import official_layout_name

if TYPE_CHECKING:
    from tleg.learngene import Learngene

HeadPolicy = Literal["kept", "new"]
NEW_HEAD_STD = 0.01


@dataclass(frozen=True, slots=True)
class Head:
    """What became of the learngene's head: how many classes the descendant has, and whether it kept the head."""

    num_classes: int
    policy: HeadPolicy


def choose_head(learngene: "Learngene", num_classes: int | None) -> Head:
    """Keep the head when the number of classes is the learngene's (or not given); otherwise a new one. Raises InputError."""
    known = learngene.header.architecture.num_classes
    if num_classes is None or num_classes == known:
        return Head(known, "kept")
    if isinstance(num_classes, bool) or not 1 <= num_classes <= 10_000_000:
        raise InputError(f"a head has 1 to 10,000,000 classes, not {num_classes}")
    return Head(num_classes, "new")


def expand(
    learngene: "Learngene",
    depth: int,
    *,
    layout: Layout = "auxiliary",
    num_classes: int | None = None,
    dtype: Literal["float32", "float16"] | None = None,
    drop_path: float = 0.0,
) -> VisionTransformer:
    """Return a descendant in eval mode. See `Learngene.expand`; `drop_path` is timm's stochastic depth, for fine-tuning.

    The module is built without weights and the expanded ones are put in its place, so nothing is initialised, copied or
    drawn at random but a new head.
    """
    check_depth(depth)
    head = choose_head(learngene, num_classes)
    model = build(
        learngene.header.architecture,
        depth,
        layout=layout,
        num_classes=head.num_classes,
        device="meta",
        drop_path=drop_path,
    )
    state = {name: torch.from_numpy(values) for name, values in learngene.expand_tensors(depth).items()}
    # Stem and head are the learngene's own arrays: a descendant that trains must not change them.
    state = {name: values if name.startswith("blocks.") else values.clone() for name, values in state.items()}
    if head.policy == "new":
        state |= new_head(state["head.weight"].shape[1], head.num_classes)
    if layout == "official":
        state = {official_layout_name(name): values for name, values in state.items()}
    if dtype == "float16":
        state = {name: values.half() for name, values in state.items()}
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise FileFormatError(f"the learngene does not fit its architecture: {_one_line(error)}") from error
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model.eval()


def new_head(width: int, num_classes: int) -> dict[str, torch.Tensor]:
    """Return a head's initial values: weight normal with std 0.01, bias zero, from torch's global generator."""
    weight = torch.empty(num_classes, width)
    nn.init.normal_(weight, std=NEW_HEAD_STD)
    return {"head.weight": weight, "head.bias": torch.zeros(num_classes)}


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
