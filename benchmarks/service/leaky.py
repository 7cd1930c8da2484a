"""`trunkline serve` that keeps a KiB of every request: what the memory check must find."""

from __future__ import annotations

import sys
from typing import Any

from trunkline.cli.app import main
from trunkline.service import app

KEPT: list[bytes] = []
_infer = app.infer


def _leak(*arguments: Any) -> Any:
    KEPT.append(bytes(1024))
    return _infer(*arguments)


if __name__ == "__main__":
    app.infer = _leak
    sys.exit(main(sys.argv[1:]))
