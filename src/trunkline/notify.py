"""Who is told when a run of the flow fails: a web address, a Prefect block, or nobody.

in      what failed, in five words and a sentence
out     one HTTP request with a JSON body, to the one address that was declared; none by default
"""

from __future__ import annotations

import json
import os
import urllib.request
from http.client import HTTPException
from typing import NamedTuple

from pydantic import Field

from trunkline.declared import Declared

WEBHOOK = "TRUNKLINE_WEBHOOK"
"""Environment variable: the address, where it is a secret that params.yaml must not hold. It wins."""
BLOCK = "TRUNKLINE_BLOCK"
"""Environment variable: the Prefect block. It wins over params.yaml."""
PATIENCE = 10.0  # seconds


class Notify(Declared):
    """Who is told when a run of the flow fails."""

    webhook: str | None = Field(
        None,
        pattern=r"^https?://",
        description=f"Address that gets a JSON body by POST. The environment's {WEBHOOK} wins. Default: none.",
    )
    block: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+/.+$",
        description="Prefect block that sends e-mail or chat, as type/name, such as slack-webhook/ops. "
        f"The environment's {BLOCK} wins. Default: none.",
    )

    def with_environment(self) -> Notify:
        """Return these settings with those of the environment in their place."""
        found = {"webhook": os.environ.get(WEBHOOK), "block": os.environ.get(BLOCK)}
        return self.model_copy(update={name: value for name, value in found.items() if value})


class Notice(NamedTuple):
    """What failed."""

    project: str
    stage: str | None
    """None: no stage had begun, or the process was ended from outside."""
    code: int
    message: str
    report: str | None
    """Where the report of what was refused, or of the last good run, lies."""
    run: str | None = None
    """Name of the flow run."""

    @property
    def subject(self) -> str:
        """Return what stands in the subject of a mail."""
        return f"{self.project}: {self.stage or 'run'} failed (exit code {self.code})"


def post(address: str, notice: Notice) -> None:
    """Send a notice to a web address.

    Args:
        address: Beginning with http:// or https://.
        notice: Becomes the JSON object of its fields, with `text`, which chat services show.

    Raises:
        OSError: Nobody answered within ten seconds, or with an error.
    """
    body = {**notice._asdict(), "text": f"{notice.subject}\n{notice.message}"}
    request = urllib.request.Request(
        address, json.dumps(body).encode(), {"Content-Type": "application/json", "User-Agent": "trunkline"}
    )
    try:
        urllib.request.urlopen(request, timeout=PATIENCE).close()
    except (HTTPException, ValueError) as fault:
        raise OSError(f"{type(fault).__name__}: {fault}") from fault
