"""CoreML's package: one model as Apple's systems run it, read back and computed in PyTorch, because they alone run it."""
