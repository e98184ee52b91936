"""The archive of torch.export: one descendant as a graph of PyTorch, without timm."""
