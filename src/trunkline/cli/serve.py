"""`trunkline serve`"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

TOKEN = "TRUNKLINE_TOKEN"


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL", help="model.onnx with its card.json, its folder, a folder of versions; or NAME=MODEL."
        ),
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one and says which.")] = 8080,
    token_file: Annotated[
        Path | None, typer.Option(help=f"File with the token that callers must show; or set {TOKEN}.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of one call; more calls at once scale better.")] = 1,
    max_rows: Annotated[int, typer.Option(min=1, help="Rows of one request.")] = 10_000,
    max_mib: Annotated[int, typer.Option(min=1, help="MiB of one request; four times as much once unpacked.")] = 8,
    seconds: Annotated[float, typer.Option(min=0.1, help="For a request to arrive, and for its answer.")] = 10.0,
    waiting: Annotated[int, typer.Option(min=1, help="Requests at once.")] = 64,
    watch: Annotated[bool, typer.Option(help="Reload a model when its files change.")] = True,
    access_log: Annotated[bool, typer.Option("--access-log", help="A line per request on stderr.")] = False,
) -> int:
    """Answer requests over HTTP in the Open Inference Protocol, version 2. SIGHUP reloads, SIGTERM drains and ends."""
    from trunkline.serving.slim import keep_pandas_out

    keep_pandas_out()
    from trunkline.service.limits import MIB, Limits
    from trunkline.service.server import Settings, read_token
    from trunkline.service.server import serve as serve_models
    from trunkline.service.shelf import read_place

    limits = Limits(max_rows, max_mib * MIB, 4 * max_mib * MIB, seconds=seconds, waiting=waiting)
    token = read_token(token_file) if token_file else os.environ.get(TOKEN)
    settings = Settings(host, port, token, threads, limits, watch, access_log)
    return serve_models([read_place(word) for word in models], settings, _say)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
