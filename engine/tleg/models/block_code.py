"""The code of blocks without their parameters: what an auxiliary model runs on the weights that it makes."""

from itertools import chain
from typing import Self

from torch import Tensor, nn

from tleg.learngene.running_statistics import is_statistic
from tleg.models.timm_family import TimmFamily


class BlockCode(nn.Module):
    """timm's blocks of each stage for images of one size. Parameters are put in at every call.

    templates  by stage the blocks of its period, without values

    Blocks of a period (Swin: with and without shifted windows) take one set of weights, and have masks and indices of their
    own: buffers, which move with the module and are in no state. Running statistics are put in as parameters are.
    """

    def __init__(self, family: TimmFamily, model: nn.Module) -> None:
        """model  timm's, with one period of blocks in each stage, on 'meta' but for what is no parameter"""
        super().__init__()
        # In tuples, and so no submodules.
        self.templates = tuple(tuple(family.blocks(model, stage)) for stage in range(len(family.stages)))
        # By stage and block of its period, what is called how here and inside the block.
        self._names: list[list[list[tuple[str, str]]]] = [[] for _ in self.templates]
        for stage, blocks in enumerate(self.templates):
            for phase, block in enumerate(blocks):
                names = [
                    (f"{stage}/{phase}/{name.replace('.', '/')}", name)
                    for name, _ in block.named_buffers()
                    if not is_statistic(name)
                ]
                for key, name in names:
                    self.register_buffer(key, block.get_buffer(name), persistent=False)
                self._names[stage].append(names)

    def buffers_of(self, stage: int) -> list[dict[str, Tensor]]:
        """The buffers of each block of a stage's period, by name inside the block."""
        return [{name: getattr(self, key) for key, name in names} for names in self._names[stage]]

    def train(self, mode: bool = True) -> Self:
        """Set training mode, that of the templates included."""
        super().train(mode)
        for template in chain.from_iterable(self.templates):
            template.train(mode)
        return self
