"""`vidlabel review`, from start to end: reads the labels, serves them, and keeps the decisions until it is to stop."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vidlabel.config import Limits
from vidlabel.errors import InputError
from vidlabel.report.report import Content, ReportOptions, read_content
from vidlabel.report.requests import is_loopback
from vidlabel.report.served_sheets import ServedSheets
from vidlabel.report.server import ReviewServer, Site
from vidlabel.stop import Stop
from vidlabel.tables.reviews import ReviewLog, review_file

_TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewOptions:
    """What is reviewed, and where the page is."""

    report: ReportOptions
    host: str = "127.0.0.1"
    port: int = 0  # any that is free


@dataclass(frozen=True, slots=True)
class ReviewDone:
    """What came of it."""

    file: Path
    num_now: int
    num_before: int

    def to_text(self) -> str:
        return f"{self.file}: {self.num_now:,} labels decided, {self.num_now - self.num_before:+,} in this session"


def review(
    labels: Path, options: ReviewOptions, limits: Limits, *, on_ready: Callable[[str, str | None], None]
) -> ReviewDone:
    """Serves until a signal comes. `on_ready` is told the address, and what to beware of."""
    content = read_content(labels, options.report)
    if "label_id" not in content.rows.values:
        raise InputError(f"{labels} has no column label_id, by which decisions are kept")
    file = review_file(labels)
    with ReviewLog(file) as log, ServedSheets(limits) as sheets:
        num_before = len(log.reviews)
        _serve(content, log, sheets, options, on_ready)
        return ReviewDone(file, len(log.reviews), num_before)


def _serve(
    content: Content,
    log: ReviewLog,
    sheets: ServedSheets,
    options: ReviewOptions,
    on_ready: Callable[[str, str | None], None],
) -> None:
    site = Site(content, log, sheets, token=secrets.token_urlsafe(24), host=options.host)
    try:
        server = ReviewServer(site, options.port)
    except OSError as error:
        raise InputError(f"--host {options.host} --port {options.port}: {error.strerror or error}") from error
    with server, Stop() as stop:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": _TICK_SECONDS}, daemon=True)
        thread.start()
        name = f"[{options.host}]" if ":" in options.host else options.host
        beware = None if is_loopback(options.host) else f"--host {options.host}: whoever has this address can review"
        on_ready(f"http://{name}:{server.server_port}/?token={site.token}", beware)
        while not stop.requested():
            time.sleep(_TICK_SECONDS)
        site.close()
        server.shutdown()
        thread.join()
