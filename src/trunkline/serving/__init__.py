"""Serve the exported model: raw rows in, predictions out, with onnxruntime, numpy and pyarrow alone.

A leaf: nothing here knows params.yaml, torch or how the model was trained. What it needs stands in card.json
beside model.onnx.
"""
