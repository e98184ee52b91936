"""From pixel values to what a model was trained on."""

import torch
from torch import Tensor, nn

from tleg.header import Preprocessing


class Normaliser(nn.Module):
    """Pixel values in 0..1 to the model's inputs."""

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, -1, 1, 1))

    def forward(self, pixels: Tensor) -> Tensor:
        """pixels (N, C, H, W) -> (pixels - mean) / std."""
        return (pixels - self.mean) / self.std
