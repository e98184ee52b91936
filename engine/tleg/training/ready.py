"""A model made ready to be evaluated."""

from torch import nn

from tleg.training.distributed import World, share_buffers


def make_ready(model: nn.Module, world: World) -> nn.Module:
    """Put a model into eval mode with the same running statistics in every process, the main one's, and return it.

    A change of mode is what makes timm's models forget what they keep of their weights for evaluations. An average is never
    trained, so nothing else would change its mode, and its weights change all the same.
    """
    share_buffers(model, world)
    model.train()
    model.eval()
    return model
