"""The running statistics of batch norms in blocks, by which a layer is normalised when it does not train.

They are measured and not learned, and differ from layer to layer as weights do, so a learngene has terms of them: of the
running mean, and of the logarithm of the running variance, which no sum of terms can make negative. Standard library only.
"""

from typing import Final

_MEAN: Final = "running_mean"
_VARIANCE: Final = "running_var"


def is_statistic(name: str) -> bool:
    """Whether a name is that of a running statistic: 'blocks.local_mp.bn.running_mean'."""
    return name.rpartition(".")[2] in (_MEAN, _VARIANCE)


def is_logarithm(name: str) -> bool:
    """Whether terms of this name are those of a logarithm, so that their sum is its exponent."""
    return name.rpartition(".")[2] == _VARIANCE
