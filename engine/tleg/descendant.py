"""Descendants: a learngene at a depth, as a plain timm VisionTransformer."""

from typing import TYPE_CHECKING, Literal

import torch
from timm.models.vision_transformer import VisionTransformer

from tleg.architecture import build
from tleg.basis import check_depth
from tleg.errors import FileFormatError
from tleg.float16 import to_float16
from tleg.head import choose_head, new_head
from tleg.header import Layout
from tleg.names import official_layout_name

if TYPE_CHECKING:
    from tleg.learngene import Learngene


def expand(
    learngene: "Learngene",
    depth: int,
    *,
    layout: Layout = "auxiliary",
    num_classes: int | None = None,
    dtype: Literal["float32", "float16"] | None = None,
    drop_path: float = 0.0,
    seed: int = 0,
) -> VisionTransformer:
    """Return a descendant in eval mode. See `Learngene.expand`.

    drop_path  timm's stochastic depth, for fine-tuning
    seed       of a new head's weights

    The module is built without weights and the expanded ones are put in its place, so nothing is initialised, copied or
    drawn at random but a new head.
    """
    check_depth(depth)
    head = choose_head(learngene.header.architecture.num_classes, num_classes)
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
        values = new_head(state["head.weight"].shape[1], head.num_classes, seed)
        state |= {name: torch.from_numpy(value) for name, value in values.items()}
    if layout == "official":
        state = {official_layout_name(name): values for name, values in state.items()}
    if dtype == "float16":
        state = {name: torch.from_numpy(to_float16(name, values.numpy())) for name, values in state.items()}
    try:
        model.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise FileFormatError(f"the learngene does not fit its architecture: {_one_line(error)}") from error
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return model.eval()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
