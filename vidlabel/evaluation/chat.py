"""A chat model behind an OpenAI-compatible endpoint: one question, one reply.

What may pass is tried again: no answer in time, 429, 5xx, a reply that is no chat completion. The key comes from
`OPENAI_API_KEY` and goes to this address alone: redirects are not followed, and no message holds it.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from vidlabel.errors import InputError

KEY = "OPENAI_API_KEY"
_LONGEST_WAIT = 60.0
_SHOWN = 200  # characters of what a server says is wrong


class NoReplyError(Exception):
    """The endpoint did not reply to this question, however often it was asked."""


class _AgainError(Exception):
    """It may reply the next time."""

    def __init__(self, reason: str, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class ChatModel:
    """`url` is the endpoint's base, as https://api.openai.com/v1, or the whole address of its chat completions."""

    url: str
    model: str
    timeout_seconds: float = 60.0
    max_tries: int = 6
    first_wait_seconds: float = 1.0  # then twice as long each time
    key: str | None = field(default_factory=lambda: os.environ.get(KEY) or None, repr=False)
    stop: threading.Event = field(default_factory=threading.Event, compare=False, repr=False)  # set: no more waiting

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"--judge {self.url}: must be an address such as https://api.openai.com/v1")
        if parts.username or parts.password:
            raise InputError(f"--judge: an address without a password; the key is read from {KEY}")

    @property
    def address(self) -> str:
        base = self.url.rstrip("/")
        return base if base.endswith("/chat/completions") else f"{base}/chat/completions"

    def ask(self, system: str, user: str) -> str:
        """The reply. NoReplyError when there is none for this question, InputError when there can be none for any."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        body: dict[str, object] = {"model": self.model, "messages": messages, "temperature": 0}
        wait = self.first_wait_seconds
        for attempt in range(1, self.max_tries + 1):
            try:
                return self._post(body)
            except _AgainError as error:
                if attempt == self.max_tries:
                    raise NoReplyError(f"{error}, {attempt} times") from error
                if self.stop.wait(min(_LONGEST_WAIT, wait if error.wait_seconds is None else error.wait_seconds)):
                    raise NoReplyError("stopped") from error
                wait *= 2
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _post(self, body: dict[str, object]) -> str:
        headers = {"Content-Type": "application/json", "User-Agent": "vidlabel"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.address, json.dumps(body).encode(), headers)
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout_seconds) as reply:
                return _content(reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return self._refused(error, body)
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError, and so is a timeout
            raise _AgainError(f"no reply: {getattr(error, 'reason', error) or type(error).__name__}") from error

    def _refused(self, error: urllib.error.HTTPError, body: dict[str, object]) -> str:
        said = _shown(error.read().decode(errors="replace"), self.key)
        if error.code == 429 or error.code >= 500 or error.code == 408:
            raise _AgainError(f"{error.code} {said}", _retry_after(error.headers.get("Retry-After"))) from error
        if error.code == 400 and "temperature" in body and "temperature" in said:
            return self._post({name: value for name, value in body.items() if name != "temperature"})
        if error.code in (400, 413, 422):  # of this question
            raise NoReplyError(f"{error.code} {said}") from error
        hint = f"; is {KEY} right?" if error.code in (401, 403) else ""
        raise InputError(f"--judge {self.url}: {error.code} {said}{hint}") from error


def _content(body: bytes) -> str:
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        raise _AgainError("a reply that is no chat completion") from error
    if not isinstance(content, str) or not content.strip():
        raise _AgainError("an empty reply")
    return content


def _shown(text: str, key: str | None) -> str:
    """Servers say a key back that they do not like."""
    text = " ".join(text.split())
    return (text.replace(key, "***") if key else text)[:_SHOWN]


def _retry_after(value: str | None) -> float | None:
    try:
        return None if value is None else max(0.0, float(value))
    except ValueError:
        return None  # a date: the usual wait will do
