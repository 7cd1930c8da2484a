"""Answer requests: exported models behind HTTP, spoken to in the Open Inference Protocol, version 2.

Knows what `serving` knows and nothing more: card.json, onnxruntime, numpy and pyarrow; no torch, no params.yaml.

Source: https://github.com/kserve/open-inference-protocol (REST), and Triton's binary tensor data extension.
"""
