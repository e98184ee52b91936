"""A model made ready to be evaluated."""

from torch import nn

from tleg.training.distributed import World, share_buffers


def make_ready(model: nn.Module, world: World) -> nn.Module:
    """Put a model into eval mode with the same running statistics in every process, the main one's, and return it.

    By way of training mode, where timm's models forget what they keep of their weights for evaluations: those of an average,
    which is never trained, have changed all the same.
    """
    share_buffers(model, world)
    model.train()
    model.eval()
    return model
