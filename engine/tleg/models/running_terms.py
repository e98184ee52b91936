"""Terms of running statistics, fitted while an auxiliary model trains.

A batch norm keeps a moving average of what it sees. Here layers come and go with the depth, so what is averaged is the least
squares problem of the terms: at every step the layers' statistics S (L, C) and coefficients Phi (L, K) move Phi^T Phi and
Phi^T S by timm's momentum, and the terms are the solution. For layers of one depth that are as many as terms, that is the
usual average of each layer.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from tleg.learngene.running_statistics import is_logarithm, is_statistic

# Of a batch norm, as timm and torch have it by default.
MOMENTUM = 0.1
# Of what depths do not tell, such as a slope at depth 1, the terms stay as they were.
_KEPT = 1e-4


class RunningTerms(nn.Module):
    """Terms (K, C) of each running statistic of a stage's blocks, by name inside the block, as buffers.

    Empty where blocks have no batch norm.
    """

    def __init__(self, terms: Mapping[str, int], sizes: Mapping[str, int], coefficients: Tensor) -> None:
        """terms         K of each statistic, by name inside the block: 1 where all layers share it
        sizes         C of each
        coefficients  (L, K) of the auxiliary model's own depth, which count as seen before the first step
        """
        super().__init__()
        self.names = tuple(terms)
        for name, count in terms.items():
            rows = _rows(coefficients, count)
            self.register_buffer(_key("terms", name), torch.zeros(count, sizes[name]))
            self.register_buffer(_key("left", name), rows.T @ rows)
            self.register_buffer(_key("right", name), torch.zeros(count, sizes[name]))

    def terms(self, name: str) -> Tensor:
        """Terms (K, C) of a statistic, of a variance those of its logarithm."""
        return self.get_buffer(_key("terms", name))

    @torch.no_grad()
    def put(self, name: str, values: Tensor) -> None:
        """Take terms (K, C) in the place of those that there are. Raises RuntimeError for another shape."""
        own = self.terms(name)
        if own.shape != values.shape:
            raise RuntimeError(f"'{name}' has shape {list(values.shape)} instead of {list(own.shape)}")
        own.copy_(values)
        self.get_buffer(_key("right", name)).copy_(self.get_buffer(_key("left", name)) @ own)

    @torch.no_grad()
    def layers(self, coefficients: Tensor) -> list[dict[str, Tensor]]:
        """The statistics of every layer, for each row of coefficients (L, K) {name inside a block: (C,)}."""
        found: list[dict[str, Tensor]] = [{} for _ in range(len(coefficients))]
        for name in self.names:
            terms = self.terms(name)
            rows = _rows(coefficients, len(terms))
            values = terms[0] * rows[:, :1]
            for k in range(1, len(terms)):
                values = values + terms[k] * rows[:, k : k + 1]
            for layer, value in zip(found, exponent(name, values), strict=True):
                layer[name] = value
        return found

    def to_measure(self, count: int) -> list[dict[str, Tensor]]:
        """Statistics of so many layers that a training pass fills: zeros, which a batch norm moves by its momentum."""
        return [{name: torch.zeros_like(self.terms(name)[0]) for name in self.names} for _ in range(count)]

    @torch.no_grad()
    def move(self, coefficients: Tensor, measured: Iterable[Mapping[str, Tensor]]) -> None:
        """Move the terms by what a training pass made of `to_measure`, of layers of these coefficients (L, K)."""
        layers = list(measured)
        with torch.autocast(coefficients.device.type, enabled=False):
            for name in self.names:
                seen = torch.stack([layer[name] for layer in layers]).float() / MOMENTUM
                values = seen.clamp(min=torch.finfo(seen.dtype).tiny).log() if is_logarithm(name) else seen
                terms = self.terms(name)
                rows = _rows(coefficients, len(terms)).float()
                left, right = (self.get_buffer(_key(side, name)) for side in ("left", "right"))
                left.lerp_(rows.T @ rows, MOMENTUM)
                right.lerp_(rows.T @ values, MOMENTUM)
                kept = _KEPT * torch.eye(len(terms), device=left.device)
                terms.copy_(torch.linalg.solve(left + kept, right + _KEPT * terms))


def exponent(name: str, values: Tensor) -> Tensor:
    """What sums of terms mean: of a variance their exponent, computed in float64 as `tleg.learngene.expansion` does."""
    return values.double().exp().to(values.dtype) if is_logarithm(name) else values


def values_inside(block: nn.Module) -> dict[str, Tensor]:
    """What a block has that terms are made of: parameters, and running statistics, of a variance the logarithm."""
    found: dict[str, Tensor] = dict(block.named_parameters())
    for name, value in block.named_buffers():
        if is_statistic(name):
            found[name] = value.double().log().to(value.dtype) if is_logarithm(name) else value
    return found


def _rows(coefficients: Tensor, terms: int) -> Tensor:
    """The coefficients (L, K), or ones (L, 1) where all layers share one term."""
    return coefficients if terms == coefficients.shape[1] else coefficients.new_ones(len(coefficients), 1)


def _key(kind: str, name: str) -> str:
    """The key of a buffer: it takes no dots."""
    return f"{kind}/{name.replace('.', '/')}"
