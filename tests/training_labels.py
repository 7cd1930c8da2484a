"""The labels of a model's training rows, counted once by the run and once from the table as new rows are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from trunkline.monitoring.reference import read_reference
from trunkline.monitoring.targets import read_label
from trunkline.serving.session import open_model


def that_are_counted_alike(root: Path) -> set[str]:
    """Return what is followed of the exported model, after demanding that both counts agree row for row."""
    model = open_model(root / "models/export/model.onnx")
    reference = read_reference(model.path, model.card)
    table = pq.read_table(root / "data/split/rows.parquet")
    training = table.filter(pc.equal(table["side"], "train"))
    for name, facts in reference.tasks.items():
        profile, labels = reference.profiles["label", name], read_label(training, facts)
        assert labels is not None
        now = profile.count(labels)
        assert np.array_equal(*profile.cells(now)), name
        assert profile.missing == now.missing, name
    return set(reference.tasks)
