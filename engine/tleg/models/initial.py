"""How the matrices of blocks begin."""

from collections.abc import Iterable

from timm.layers import lecun_normal_
from torch import nn


def draw_matrices(blocks: Iterable[nn.Module], how: str) -> None:
    """Draw the matrices of the linear layers of some blocks, in place; biases, norms and all else stay.

    how  'timm' leaves those of timm: a std of 0.02 whatever the width. 'fan-in' draws them with a std of 1 / sqrt(inputs),
         so that what comes out is about as large as what went in (LeCun et al., Efficient BackProp, 1998, section 4.6).
         At a width of 64 that is six times as large, at 768 not twice: timm's narrow models hardly look at their input
         when training starts, and learn slowly until they do (docs/study.md)
    """
    if how == "timm":
        return
    for block in blocks:
        for module in block.modules():
            if isinstance(module, nn.Linear):
                lecun_normal_(module.weight)
