"""Reading a page back without a browser, labels that are hard to show, and a review that is served."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

HOSTILE = [
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 2'>",
    "--> ]]> <!-- <style>body{display:none}</style>",
    "javascript:window.hacked=3 \u2028 \x00 \u202e backwards",
    "{{constructor.constructor('window.hacked=4')()}} ${window.hacked=5}",
]


def blocks(page: Path | str) -> dict[str, Any]:
    """The data in a page, by name."""
    text = page if isinstance(page, str) else page.read_text(encoding="utf-8")
    found = re.findall(r'<script type="application/octet-stream" id="block-(\w+)">([^<]*)</script>', text)
    return {name: json.loads(zlib.decompress(base64.b64decode(packed))) for name, packed in found}


def column(page: Path | str, name: str) -> list[Any]:
    """The values of a column, in the page's order."""
    (made,) = [one for one in blocks(page)["gallery"]["columns"] if one["name"] == name]
    if made["kind"] == "flags":
        return [[made["dictionary"][code] for code in codes] for codes in made["rows"]]
    if "codes" in made:
        return [None if code < 0 else made["dictionary"][code] for code in made["codes"]]
    return list(made["values"])


@dataclass
class Served:
    """A review in a process of its own."""

    url: str
    process: subprocess.Popen[str]

    @property
    def token(self) -> str:
        return urlsplit(self.url).query.removeprefix("token=")

    def ask(
        self, method: str, path: str, *, body: bytes | None = None, token: str | None = None, **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        parts = urlsplit(self.url)
        connection = HTTPConnection(str(parts.hostname), int(parts.port or 0), timeout=60)
        try:
            query = f"?token={self.token if token is None else token}"
            connection.request(method, path + query, body, {name.replace("_", "-"): x for name, x in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read(), dict(answer.getheaders())
        finally:
            connection.close()

    def decide(self, label_id: str, decision: str | None, text: str | None = None) -> int:
        body = json.dumps({"label_id": label_id, "decision": decision, "text": text}).encode()
        return self.ask("POST", "/review", body=body, Content_Type="application/json")[0]


@contextmanager
def served_review(*args: object) -> Iterator[Served]:
    command = [sys.executable, "-m", "vidlabel", "review", *map(str, args)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            url = process.stdout.readline().strip()
            assert url, process.stderr.read()
            yield Served(url, process)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(30)
