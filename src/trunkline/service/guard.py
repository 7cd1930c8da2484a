"""Who may ask: whoever holds the token, or, where there is none, this machine alone.

Without a token a page in the user's browser must not reach the service either, whatever name its site gives to
127.0.0.1: Host and Origin must be of this machine.
"""

from __future__ import annotations

import hmac
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from trunkline.service.refusal import Refusal

OPEN = ("/v2/health/live", "/v2/health/ready")  # probes of an orchestrator hold no token


def is_this_machine(host: str) -> bool:
    """Whether a host is a loopback one."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_caller(path: str, headers: Headers, token: str | None) -> None:
    """Let a request pass or not.

    Raises:
        Refusal: 401, the token is not there or another one; 403, the request comes by way of another site.
    """
    if token is None:
        _refuse_other_sites(headers)
    elif path not in OPEN:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise Refusal(
                401, "this service wants its token: Authorization: Bearer TOKEN", {"www-authenticate": "Bearer"}
            )


def _refuse_other_sites(headers: Headers) -> None:
    named = {"Host": f"//{headers.get('host', '127.0.0.1')}", "Origin": headers.get("origin", "//127.0.0.1")}
    for header, url in named.items():
        if not is_this_machine(_host(url)):
            raise Refusal(403, f"{header} is not this machine; start the service with a token to be reached from there")


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
