"""One shared model for many related targets, with a verdict for each and one ONNX file out."""

__version__ = "0.1.0"
