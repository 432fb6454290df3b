"""Who may ask the review server, and for which bytes: pure functions on what a request says."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from urllib.parse import parse_qs, urlsplit

_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def token_in(target: str) -> str:
    """Of a request's path and query; empty where there is none."""
    return parse_qs(urlsplit(target).query).get("token", [""])[0]


def is_token(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def is_own_host(header: str | None, *, bound: str) -> bool:
    """Whether a Host header names this machine as it was bound.

    A page elsewhere can make its own name lead to this machine (DNS rebinding), and its requests then carry that name.
    The port is left open: it is another one behind an ssh tunnel.
    """
    if header is None or "@" in header:
        return False
    try:
        name = (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return False
    if name == "localhost" or _is_address(name, loopback=True):
        return True
    if is_loopback(bound):
        return False
    return name in {bound.lower(), socket.gethostname().lower(), socket.getfqdn().lower()} or _is_address(name)


def is_same_origin(origin: str | None, host: str | None) -> bool:
    """Browsers send the origin with every POST; other programs send none."""
    return origin is None or (host is not None and urlsplit(origin).netloc.lower() == host.lower())


def is_loopback(host: str) -> bool:
    return host == "localhost" or _is_address(host, loopback=True)


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The half-open part that a Range header asks for; None: all of it. ValueError where there is no such part."""
    found = _RANGE.fullmatch(header.strip()) if header else None
    if found is None or found[0] == "bytes=-":
        return None  # what is not understood is to be passed over, several parts at once too
    first, last = found.groups()
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or end <= start:
        raise ValueError(f"no such part of {size} bytes: {header}")
    return start, end


def _is_address(name: str, *, loopback: bool = False) -> bool:
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return address.is_loopback if loopback else True
