"""What Prometheus may read: requests by code, their time, rows, and the cells that tell of drift."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from trunkline.service.shelf import Served, Shelf
from trunkline.serving.cells import Kind, Values
from trunkline.serving.cells.moments import MISSING
from trunkline.serving.feeds import Feeds

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
NO_VALUE: dict[Kind, Callable[[Values], Values]] = {
    "numeric": lambda cells: ~np.isfinite(cells),
    "categorical": lambda cells: cells == "",
    "timestamp": lambda cells: cells == MISSING,
}


class Metrics:
    """Counters of one service."""

    def __init__(self, shelf: Shelf) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        self.shelf = shelf
        ProcessCollector(registry=registry)
        self.requests = Counter("trunkline_requests", "Requests.", ["endpoint", "code"], registry=registry)
        self.seconds = Histogram(
            "trunkline_request_seconds", "From header to answer.", ["endpoint"], registry=registry, buckets=BUCKETS
        )
        self.rows = Counter("trunkline_rows", "Rows answered.", ["model"], registry=registry)
        self.missing = Counter(
            "trunkline_missing_cells",
            "Cells without a value, of rows answered.",
            ["model", "column"],
            registry=registry,
        )
        self.unseen = Counter(
            "trunkline_unseen_cells", "Cells with a word that the model does not know, of rows answered.",
            ["model", "column"], registry=registry,
        )  # fmt: skip
        self.waiting = Gauge("trunkline_requests_in_flight", "Requests being read or answered.", registry=registry)
        self.models = Gauge(
            "trunkline_model_info", "1 for each version served.", ["model", "version", "sha256", "default"],
            registry=registry,
        )  # fmt: skip
        self.reloads = Gauge("trunkline_reloads", "Models replaced since the start.", registry=registry)
        self.refused = Gauge("trunkline_reloads_refused", "Models refused since the start.", registry=registry)

    def count_cells(self, served: Served, feeds: Feeds, rows: int) -> None:
        """Count rows that are answered, and what their cells lack."""
        self.rows.labels(served.name).inc(rows)
        for name, kind in served.model.inputs:
            missing = NO_VALUE[kind](feeds[name])
            if missing.any():
                self.missing.labels(served.name, name).inc(int(missing.sum()))
            known = served.model.words.get(name)
            if known is not None and (unseen := sum(word not in known for word in feeds[name].ravel() if word)):
                self.unseen.labels(served.name, name).inc(unseen)

    def text(self) -> tuple[bytes, str]:
        """Return all of it in Prometheus' text format, and the content type."""
        self.models.clear()
        for name, versions in self.shelf.models.items():
            for one in versions.served.values():
                default = str(one.version == versions.default).lower()
                self.models.labels(name, one.version, one.model.sha256, default).set(1)
        self.reloads.set(self.shelf.reloads)
        self.refused.set(self.shelf.refused)
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
