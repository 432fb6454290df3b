"""A chat completions endpoint on this machine that answers, and misbehaves, as a test tells it to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server sends."""

    status: int = 200
    content: str | None = None  # of a chat completion
    body: str = ""  # else
    wait_seconds: float = 0.0
    headers: dict[str, str] = field(default_factory=dict, hash=False)


@dataclass(slots=True)
class ChatServer:
    """`answer` gets the body of a request and how often the same was asked before."""

    answer: Callable[[dict[str, Any], int], Reply]
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)
    num_busy: int = 0
    most_busy: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply_to(self, body: dict[str, Any], key: str | None) -> Reply:
        with self.lock:
            num_before = sum(one["messages"] == body["messages"] for one in self.requests)
            self.requests.append(body)
            self.keys.append(key)
            self.num_busy += 1
            self.most_busy = max(self.most_busy, self.num_busy)
        try:
            reply = self.answer(body, num_before)
            time.sleep(reply.wait_seconds)
            return reply
        finally:
            with self.lock:
                self.num_busy -= 1


@contextmanager
def chat_server(answer: Callable[[dict[str, Any], int], Reply]) -> Iterator[ChatServer]:
    chat = ChatServer(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            assert self.path == "/v1/chat/completions", self.path
            reply = chat.reply_to(body, self.headers.get("Authorization"))
            message = {"choices": [{"message": {"role": "assistant", "content": reply.content}}]}
            data = (reply.body if reply.content is None else json.dumps(message)).encode()
            try:
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                pass  # who asked has given up waiting: that is what some tests are about

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    chat.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
