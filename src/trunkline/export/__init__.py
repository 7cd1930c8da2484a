"""One ONNX file that takes raw rows, checked against torch before anyone may use it."""
