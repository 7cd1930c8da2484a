"""What the service says about itself and its models."""

from __future__ import annotations

from typing import Any

import trunkline
from trunkline.service.shelf import Served, Versions

PLATFORM = "onnx_onnxv1"
UNTOLD = ("golden",)  # rows of the data: for the self-check, not for clients


def about_service() -> dict[str, Any]:
    """Return the answer to GET /v2."""
    return {"name": "trunkline", "version": trunkline.__version__, "extensions": ["binary_tensor_data"]}


def about_model(served: Served, versions: Versions) -> dict[str, Any]:
    """Return the answer to GET /v2/models/NAME: inputs and outputs as the ONNX file has them, its hash, its card."""
    session = served.model.session
    card = {key: value for key, value in served.model.card.items() if key not in UNTOLD}
    return {
        "name": served.name,
        "versions": list(versions.served),
        "platform": PLATFORM,
        "inputs": [_tensor(served, entry) for entry in session.get_inputs()],
        "outputs": [_tensor(served, entry) for entry in session.get_outputs()],
        "parameters": {"version": served.version, "sha256": served.model.sha256, "card": card},
    }


def _tensor(served: Served, entry: Any) -> dict[str, Any]:
    shape = [length if isinstance(length, int) else -1 for length in entry.shape]
    return {"name": entry.name, "datatype": served.datatypes[entry.name], "shape": shape}
