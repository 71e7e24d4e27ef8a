"""Models out of Python: as ONNX graphs (`graphs`), held against the model itself (`onnx`)."""
