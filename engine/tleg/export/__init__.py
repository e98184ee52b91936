"""Export: a descendant as a timm folder, or as plain, compact or elastic ONNX, each verified before it is kept."""
