"""An auxiliary model on images of another size than its own, for architectures that timm makes for one size.

timm's model of that size gives the code, masks and indices; parameters are the auxiliary model's own. Those that depend on
the size, tables of relative positions and position embeddings, are resampled as `tleg.models.image_size` resamples a
learngene's, at every step and differentiably, so that what is trained at a size is what the learngene computes there.
"""

from collections.abc import Mapping
from typing import Any, Final, Self

import torch
from timm.layers import resize_rel_pos_bias_table
from torch import Tensor, nn
from torch.func import functional_call

from tleg.learngene.architecture import Architecture
from tleg.models.architecture import build, timm_family_of, with_image_size
from tleg.models.block_code import BlockCode
from tleg.models.image_size import check_arrangement, resample_positions, size_refusal
from tleg.models.timm_family import RunStage, TimmFamily
from tleg.models.timm_folder import quiet_timm

_TABLE: Final = "relative_position_bias_table"
_POSITIONS: Final = "pos_embed"


class OtherSize(nn.Module):
    """What an auxiliary model needs for images of another height and width.

    code  of the blocks there
    """

    def __init__(self, own: Architecture, image_size: tuple[int, int]) -> None:
        """own  the architecture of the auxiliary model. Raises ArchitectureError for a size that it does not take."""
        super().__init__()
        family = timm_family_of(own)
        self._to = with_image_size(own, image_size)
        check_arrangement(own, self._to)
        model: nn.Module = build(self._to, family.periods, device="meta")
        before = {name: value.shape for name, value in build(own, family.periods, device="meta").state_dict().items()}
        self._shapes: dict[str, torch.Size] = {}
        # By name in a learngene, the key of the matrix that resamples a table.
        self._matrices: dict[str, str] = {}
        for timm_name, value in model.state_dict().items():
            name = family.learngene_name(family.staged_name(timm_name, family.periods))
            if value.shape == before[timm_name] or name in self._matrices:
                continue
            holder, _, kind = timm_name.rpartition(".")
            if kind == _TABLE:
                window: Any = model.get_submodule(holder)
                self._matrices[name] = f"matrix/{name.replace('.', '/')}"
                matrix = table_matrix(before[timm_name][0], value.shape[0], window.window_size)
                self.register_buffer(self._matrices[name], matrix, persistent=False)
            elif timm_name == _POSITIONS and resample_positions(torch.zeros(before[name]), value.shape, self._to).shape == (
                value.shape
            ):
                self._shapes[name] = value.shape
            else:
                raise size_refusal(self._to, f"its '{timm_name}' would be of another shape, and no rule resamples it")
        self._family = family
        self.code = BlockCode(family, model)
        for stage in range(len(family.stages)):
            family.take_blocks(model, stage)
        self._taken = {*dict(model.named_parameters()), *dict(model.named_buffers())}
        in_state = model.state_dict().keys()
        self._own: list[tuple[str, str]] = []
        for name, value in model.named_buffers():
            if name not in in_state:
                self._own.append((f"stem/{name.replace('.', '/')}", name))
                self.register_buffer(self._own[-1][0], value, persistent=False)
        # In a tuple, and so no submodule.
        self._stem = (_Stem(family, model),)

    def train(self, mode: bool = True) -> Self:
        """Set training mode, that of the stem included."""
        super().train(mode)
        self._stem[0].train(mode)
        return self

    def features(self, vit: nn.Module, images: Tensor, run: RunStage) -> Tensor:
        """`TimmFamily.features` with the parameters of an auxiliary model's `vit`, images of this size."""
        values = {**dict(vit.named_parameters()), **dict(vit.named_buffers())}
        without_blocks = (0,) * len(self._family.stages)
        state = {
            name: self._resampled(self._family.staged_name(name, without_blocks), value)
            for name, value in values.items()
            if name in self._taken
        }
        state |= {name: getattr(self, key) for key, name in self._own}
        features: Tensor = functional_call(
            self._stem[0], {f"model.{name}": value for name, value in state.items()}, (images, run)
        )
        return features

    def weights(self, stage: int, layer: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The weights of a layer of a stage, by name inside the block, with those that depend on the size resampled."""
        return {inner: self._resampled(self._family.block_name(stage, inner), value) for inner, value in layer.items()}

    def _resampled(self, name: str, value: Tensor) -> Tensor:
        if name in self._shapes:
            return resample_positions(value, self._shapes[name], self._to)
        if name not in self._matrices:
            return value
        matrix: Tensor = getattr(self, self._matrices[name])
        with torch.autocast(value.device.type, enabled=False):
            return matrix @ value


class _Stem(nn.Module):
    """All of timm's model but its blocks and its head, as one call."""

    def __init__(self, family: TimmFamily, model: nn.Module) -> None:
        super().__init__()
        self._family = family
        self.model = model

    def forward(self, images: Tensor, run: RunStage) -> Tensor:
        return self._family.features(self.model, images, run)


def table_matrix(before: int, after: int, window: tuple[int, int]) -> Tensor:
    """The matrix (after, before) that resamples a table of relative positions (before, heads) as timm does.

    window  height and width of the new one

    timm interpolates each head by itself, and linearly in its values: what it makes of the unit vectors is the matrix.
    """
    with quiet_timm():
        matrix: Tensor = resize_rel_pos_bias_table(torch.eye(before), new_window_size=window, new_bias_shape=(after, before))
    return matrix
