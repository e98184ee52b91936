"""ExecuTorch's program: one model as PyTorch lowers it for phones and small devices, with XNNPACK's kernels."""
