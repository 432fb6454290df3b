"""Size and speed of the report: `python -m benchmarks.report [--rows N]`. Needs chromium and chromedriver on PATH.

The labels are those of `benchmarks.labels_table`: captions of about 50 words, answers of a few. Measured in a headless
Chromium, with the page opened from disk: time from the start of the navigation to the summary and to the first clips;
and from a change of a filter or of the search until the next frame is painted, the median and the worst of several.
The baseline of the size is the same labels as JSON in zlib, which is the least that a page without columns would embed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.labels_table import make_labels
from tests.browser import CHROMIUM, Browser, open_browser
from vidlabel.config import Limits
from vidlabel.data import stable_id
from vidlabel.jsonl import json_lines
from vidlabel.report.report import ReportOptions, write_report

# what a user does, and what it is called
ACTIONS = {
    "search of one word": "search.value = 'guitar'; fire(search, 'input')",
    "search of three words": "search.value = 'horse mountain dancer'; fire(search, 'input')",
    "search that finds nothing": "search.value = 'zzzz'; fire(search, 'input')",
    "one letter more": "search.value = 'guit'; fire(search, 'input'); search.value = 'guita'; fire(search, 'input')",
    "a flag": "document.querySelector('[data-flag]:not([data-flag=clean])').click()",
    "a task": "pick('task', 'qa')",
    "worst first": "order.value = 'worst'; fire(order, 'change')",
    "clear": "document.getElementById('clear').click()",
}
MEASURE = """
const done = arguments[arguments.length - 1];
const [search, order] = ['search', 'order'].map((id) => document.getElementById(id));
const fire = (element, name) => element.dispatchEvent(new Event(name));
const pick = (name, value) => { const s = document.querySelector(`[data-choice=${name}]`); s.value = '=' + value;
  fire(s, 'change'); };
const began = performance.now();
ACTION;
const channel = new MessageChannel();
channel.port1.onmessage = () => done(performance.now() - began);
requestAnimationFrame(() => channel.port2.postMessage(0)); // after the frame is laid out and painted
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    assert CHROMIUM, "needs chromium and chromedriver on PATH"
    with tempfile.TemporaryDirectory() as folder:
        labels, page = Path(folder) / "labels.parquet", Path(folder) / "report.html"
        make_labels(labels, options.rows)
        _with_real_ids(labels)
        began = time.monotonic()
        done = write_report(labels, page, ReportOptions(sample=0), Limits())
        print(f"{done.num_shown:,} labels of {done.num_clips:,} clips, made in {time.monotonic() - began:.1f} s")
        plain = len(zlib.compress(json_lines(pq.read_table(labels)).encode()))
        print(f"file size {done.num_bytes / 1e6:.1f} MB; the labels as JSON in zlib {plain / 1e6:.1f} MB "
              f"(ratio {done.num_bytes / plain:.2f})")  # fmt: skip
        with open_browser(Path(folder) / "profile") as browser:
            _measure(browser, page, options.repeats)


def _with_real_ids(labels: Path) -> None:
    """Hashes, as a run makes them: they do not compress as counted ones do."""
    table = pq.read_table(labels)
    ids = pa.array([stable_id(label_id) for label_id in table["label_id"].to_pylist()])
    at = table.schema.get_field_index("label_id")
    scores = pa.array([int(stable_id(str(at)), 16) / 2**64 for at in range(len(table))], pa.float32())
    table = table.set_column(at, table.schema.field(at), ids)
    at = table.schema.get_field_index("grounding")
    pq.write_table(table.set_column(at, table.schema.field(at), scores), labels)


def _measure(browser: Browser, page: Path, repeats: int) -> None:
    marks: dict[str, list[float]] = {"summary-shown": [], "gallery-shown": []}
    for _ in range(repeats):
        browser.open("about:blank")
        browser.open(page.as_uri())
        browser.ready()
        for name, times in marks.items():
            times.append(browser.run("return performance.getEntriesByName(arguments[0])[0].startTime", name))
    for name, times in marks.items():
        _print(name.replace("-", " "), times)
    for name, action in ACTIONS.items():
        times = []
        for _ in range(repeats):
            browser.run_async(MEASURE.replace("ACTION", ACTIONS["clear"]))
            times.append(browser.run_async(MEASURE.replace("ACTION", action)))
        _print(name, times)
    browser.open("about:blank")
    browser.open(page.as_uri())
    browser.ready()
    time.sleep(1)  # a reader looks before typing
    _print("the first search of all", [browser.run_async(MEASURE.replace("ACTION", ACTIONS["search of one word"]))])


def _print(name: str, times: list[float]) -> None:
    print(f"{name:28}{statistics.median(times):8.0f} ms, worst {max(times):.0f} ms")


if __name__ == "__main__":
    main()
