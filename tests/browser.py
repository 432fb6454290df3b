"""A real Chromium without a window, driven by its own chromedriver over HTTP, as the WebDriver standard says.

Debian: `apt-get install chromium chromium-driver`. Screenshots go to $VIDLABEL_SCREENSHOTS, else where the test says.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs chromium and chromedriver on PATH (Debian: chromium-driver)"
)
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the standard's name for a reference to an element
KEYS = {"Enter": "\ue007", "Escape": "\ue00c", "Down": "\ue015", "Tab": "\ue004", "Control": "\ue009"}


class Browser:
    """One window."""

    def __init__(self, address: str, session: str) -> None:
        self._at = f"{address}/session/{session}"

    def open(self, url: str) -> None:
        self._post("url", {"url": url})

    def run(self, script: str, *args: object) -> Any:
        """The value that the script returns."""
        return self._post("execute/sync", {"script": script, "args": list(args)})

    def run_async(self, script: str) -> Any:
        """What the script hands to its last argument."""
        return self._post("execute/async", {"script": script, "args": []})

    def wait(self, script: str, *args: object, seconds: float = 20.0) -> Any:
        """The first true value of the script."""
        end = time.monotonic() + seconds
        while not (value := self.run(f"return {script}", *args)):
            assert time.monotonic() < end, f"not within {seconds} s: {script}; errors: {self.errors()}"
            time.sleep(0.02)
        return value

    def ready(self) -> None:
        self.wait("document.documentElement.dataset.ready === 'yes'")

    def press(self, *keys: str) -> None:
        """To whatever has the focus; `Control` is held for the rest."""
        held = [KEYS["Control"]] if "Control" in keys else []
        values = [KEYS.get(key, key) for key in keys if key != "Control"]
        actions = [{"type": "keyDown", "value": key} for key in held]
        actions += [{"type": kind, "value": key} for key in values for kind in ("keyDown", "keyUp")]
        actions += [{"type": "keyUp", "value": key} for key in held]
        self._post("actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def click(self, selector: str) -> None:
        self._post(f"element/{self._find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        self._post(f"element/{self._find(selector)}/value", {"text": text})

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", selector
        )
        return found

    def resize(self, width: int, height: int) -> None:
        self._post("window/rect", {"width": width, "height": height})

    def screenshot(self, path: Path) -> None:
        folder = os.environ.get("VIDLABEL_SCREENSHOTS")
        target = Path(folder) / path.name if folder else path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base64.b64decode(self._get("screenshot")))

    def errors(self) -> list[str]:
        """What the console has complained of since it was last asked; a breach of the page's policy is among it."""
        entries = self._post("se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def _find(self, selector: str) -> str:
        found: str = self._post("element", {"using": "css selector", "value": selector})[_ELEMENT]
        return found

    def _get(self, path: str) -> Any:
        return _call(Request(f"{self._at}/{path}"))

    def _post(self, path: str, values: dict[str, object]) -> Any:
        return _call(Request(f"{self._at}/{path}", json.dumps(values).encode(), {"Content-Type": "application/json"}))


@contextmanager
def open_browser(profile: Path, *, dark: bool = False) -> Iterator[Browser]:
    assert CHROMIUM is not None
    assert DRIVER is not None
    arguments = [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1440,1000",
        "--autoplay-policy=no-user-gesture-required", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={profile}", *(["--force-dark-mode"] if dark else []),
    ]  # fmt: skip
    options = {"binary": CHROMIUM, "args": arguments}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    with subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as driver:
        try:
            assert driver.stdout is not None
            port = next(
                line.rsplit(" ", 1)[1].strip(" .\n") for line in driver.stdout if "successfully on port" in line
            )
            address = f"http://127.0.0.1:{port}"
            body = json.dumps({"capabilities": {"alwaysMatch": wanted}}).encode()
            session = _call(Request(f"{address}/session", body, {"Content-Type": "application/json"}))["sessionId"]
            try:
                yield Browser(address, session)
            finally:
                _call(Request(f"{address}/session/{session}", method="DELETE"))
        finally:
            driver.terminate()
            driver.wait(10)


def _call(request: Request) -> Any:
    from urllib.error import HTTPError

    try:
        with urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]
    except HTTPError as error:
        with error:
            raise AssertionError(error.read().decode()[:2000]) from None
