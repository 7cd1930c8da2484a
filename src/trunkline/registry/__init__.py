"""Which model is in service: numbered versions, the names that point to them, and who may take over.

    publish     models/export/ becomes a version, whole or not at all
    compare     the model in service and another one, scored on the same test rows
    promote     the other one takes over where no task gets worse than declared; rollback takes it back

    models/registry/<name>/<version>/      model.onnx, card.json, MODEL_CARD.md, sample.parquet, evaluation.json,
                                           params.yaml, dvc.lock, manifest.json (their seal), entry.json
    models/registry/<name>/aliases.json    {"champion": 3, "candidate": 4, "previous": 2}

Whoever calls what writes here holds the project's lock (pipeline/release.py does). Every write is a rename, in an order
in which a kill between any two leaves a registry that says the truth.
"""

from __future__ import annotations

from trunkline.registry.store import Registry

__all__ = ["Registry"]
