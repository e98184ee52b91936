"""OpenVINO's intermediate representation: a folder with the graph of one model and its weights, made of an ONNX graph."""
