"""`trunkline predict`"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer


def predict(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="model.onnx with its card.json beside it.")],
    source: Annotated[Path, typer.Argument(metavar="IN", help="Parquet or CSV file of raw rows, or a folder of them.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Parquet or CSV file for the predictions.")],
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the predictions there, too, for `trunkline outcomes`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")] = False,
) -> int:
    """Score a file in bounded memory. Rows that cannot be scored keep their place and say why in `rejected`.

    The files of a folder have the same columns and are scored one after the other in the order of their names.
    """
    from trunkline.serving.predict import predict_file
    from trunkline.serving.slim import keep_pandas_out

    keep_pandas_out()
    shows = sys.stderr.isatty() and not as_json
    summary = predict_file(model, source, target, threads=threads, keep=keep, on_progress=_show if shows else None)
    if shows:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
    if as_json:
        print(json.dumps({"rows": summary.rows, "rejected": summary.rejected, "seconds": round(summary.seconds, 3)}))
    else:
        refused = f", {summary.rejected} of them rejected (see column `rejected`)" if summary.rejected else ""
        print(f"{target}: {summary.rows} rows{refused}, {summary.seconds:.1f} s")
    return 0


def _show(done: int, rows: int | None) -> None:
    share = f" of {rows}" if rows else ""
    print(f"\r{done}{share} rows", end="", file=sys.stderr, flush=True)
