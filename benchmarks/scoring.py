"""`trunkline predict` on the split rows, repeated until there are enough."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks import child
from benchmarks.figures import Measured
from benchmarks.measure import Spent, rate
from benchmarks.world import Size, World
from trunkline import stages

LEARNED = ("drop", "side")  # columns that the pipeline added


def measure_predict(world: World, size: Size, folder: Path) -> dict[str, Measured]:
    """Return rows per second, and the largest memory of all runs."""
    source, target = folder / "rows.parquet", folder / "predictions.parquet"
    rows = _repeat(world.root / stages.SPLIT / "rows.parquet", source, size.predict_rows)
    model = world.root / stages.EXPORT / "model.onnx"
    command = [sys.executable, "-m", "trunkline", "predict", str(model.resolve()), str(source), str(target)]
    costs = [child.run(command, folder) for _ in range(size.predict_rounds)]
    if failed := next((cost for cost in costs if cost.code), None):
        raise RuntimeError(f"trunkline predict ended with code {failed.code}: {failed.stderr.strip()}")
    return {
        "predict.rate": Measured.of(rate(rows, [Spent(cost.cpu, cost.wall) for cost in costs])),
        "predict.peak": Measured(max(cost.peak for cost in costs)),
    }


def _repeat(source: Path, target: Path, wanted: int) -> int:
    """Write the rows of `source` over and over until there are `wanted`; return how many there are."""
    rows = 0
    with pq.ParquetFile(source) as file:
        columns = [name for name in file.schema_arrow.names if name not in LEARNED]
        schema = file.schema_arrow.empty_table().select(columns).schema
        with pq.ParquetWriter(target, schema, compression="zstd") as writer:
            while rows < wanted:
                for group in range(file.num_row_groups):
                    table = file.read_row_group(group, columns)
                    writer.write_table(table)
                    rows += table.num_rows
    return rows
