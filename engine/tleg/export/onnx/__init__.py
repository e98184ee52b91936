"""The ONNX exports, one file each, and what they share."""
