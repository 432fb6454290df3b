"""The page in a real Chromium: it opens from disk, filters, plays, is driven by keys, and runs nothing of labels.

Screenshots are in pytest's own folder of each test (`--basetemp`), or where $VIDLABEL_SCREENSHOTS says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.browser import Browser, needs_chromium, open_browser
from tests.label_files import own_rows, write_own
from tests.make_videos import noise_scene, write_video
from tests.report_pages import HOSTILE, served_review
from vidlabel.cli import app
from vidlabel.tables.reviews import read_reviews

pytestmark = [needs_chromium, pytest.mark.slow]

TALL = (1440, 2600)
NAMES = "return [...document.querySelectorAll('.card h3')].map((e) => e.textContent)"
HERE = "document.querySelector('.card.here h3').textContent"


def clip(number: int, **more: Any) -> dict[str, Any]:
    start = float(number % 3)
    path = f"videos/scene{number % 2}.mp4"
    return {
        "clip_id": f"clip{number:04}",
        "video_path": path,
        "start_seconds": start,
        "end_seconds": start + 1.0,
        **more,
    }


CHANGES = [
    clip(0, caption="A brown dog runs over a green meadow.", grounding=0.8, level="short"),
    clip(1, caption="A dog", flags=["short"], grounding=0.1, level="short"),
    clip(1, caption=None, task="qa", question="Who runs?", answer="A red cat runs.", grounding=0.4, level="long"),
    clip(2, caption="A man and a man and a man", flags=["repetitive", "truncated"], grounding=0.3, level="long"),
    clip(3, caption="一只棕色的狗在草地上跑。", language="zh", grounding=0.7, level="short"),
    clip(4, caption="A woman opens a red door.", grounding=0.6, level="short"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as browser:
        browser.resize(*TALL)  # so that every card of a few is there
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report #1")
    (folder / "videos").mkdir()
    for number, colour in enumerate([(200, 90, 40), (40, 120, 200)]):
        pictures = noise_scene(100, colour, width=320, height=180, seed=number)
        write_video(folder / "videos" / f"scene{number}.mp4", pictures, codec="libvpx-vp9" if number else "libx264")
    write_labels(folder / "labels.parquet", CHANGES)
    (folder / "labels.failures.jsonl").write_text(
        json.dumps({"id": "x", "video_id": "x", "path": "x.mp4", "stage": "open", "reason": "not a video"}) + "\n"
    )
    return folder


def write_labels(path: Path, changes: list[dict[str, Any]]) -> Path:
    """With a column that only some labels have."""
    table = pq.read_table(write_own(path, changes))
    levels = pa.array([change.get("level") for change in changes], pa.string())
    pq.write_table(table.append_column("level", levels), path)
    return path


def report(*args: object) -> Path:
    result = CliRunner().invoke(app, ["report", *map(str, args)])
    assert result.exit_code == 0, result.stderr
    return Path(str(args[list(args).index("--out") + 1]))


def opened(browser: Browser, page: Path | str) -> None:
    browser.run("location.href = 'about:blank'")
    browser.open(page if isinstance(page, str) else page.resolve().as_uri())
    browser.ready()
    browser.wait("[...document.images].every((image) => image.complete)")


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    return report(folder / "labels.parquet", "--root", folder, "--out", folder / "report.html")


def shown(browser: Browser) -> list[str]:
    names: list[str] = browser.run(NAMES)
    return sorted(names)


def test_the_page_opens_from_disk_and_filters(browser: Browser, page: Path, tmp_path: Path) -> None:
    opened(browser, page)
    assert browser.errors() == []
    assert "clean\n57.1%" not in browser.texts(".tile")
    assert "labels\n6" in browser.texts(".tile")
    assert browser.texts("#count") == ["5 clips, 6 labels"]
    plots = browser.run("return [...document.querySelectorAll('.figure')].map((e) => e.id)")
    assert plots == [f"plot-{name}" for name in ("flags", "words", "seconds", "grounding", "per-clip", "languages",
                                                  "vocabulary", "failures")]  # fmt: skip
    images = "return [...document.querySelectorAll('.media img')].map((image) => image.naturalWidth)"
    assert browser.run(images) == [3 * 178] * 5
    browser.screenshot(tmp_path / "report-light.png")

    browser.type("#search", "RED")
    assert shown(browser) == ["clip0001", "clip0004"]
    assert browser.texts("mark") == ["red", "red"]
    browser.type("#search", " door")
    assert shown(browser) == ["clip0004"]
    browser.click("#clear")
    browser.type("#search", "狗")
    assert shown(browser) == ["clip0003"]
    browser.click("#clear")
    browser.click("[data-flag=truncated]")
    assert shown(browser) == ["clip0002"]
    browser.click("[data-flag=short]")  # any of these
    assert shown(browser) == ["clip0001", "clip0002"]
    browser.click("#clear")
    assert len(shown(browser)) == 5
    for name, value, left in (("language", "zh", ["clip0003"]), ("level", "long", ["clip0001", "clip0002"])):
        browser.run("const s = document.querySelector(`[data-choice=${arguments[0]}]`); s.value = '=' + arguments[1];"
                    "s.dispatchEvent(new Event('change'))", name, value)  # fmt: skip
        assert shown(browser) == left
        browser.click("#clear")
    browser.click("#plot-languages .bars button.name")
    assert shown(browser) == ["clip0000", "clip0001", "clip0002", "clip0004"]
    browser.click("#clear")
    browser.run("const o = document.getElementById('order'); o.value = 'worst'; o.dispatchEvent(new Event('change'))")
    assert browser.run(NAMES) == ["clip0002", "clip0001", "clip0004", "clip0003", "clip0000"]
    browser.type("#search", "no such word anywhere")
    assert browser.texts("#count") == ["0 of 5 clips, 0 labels"]
    assert browser.errors() == []


def test_clips_are_ordered_and_chosen_by_signals_and_the_manifests_numbers(
    browser: Browser, folder: Path, tmp_path: Path
) -> None:
    table = pq.read_table(write_own(folder / "measured.parquet", CHANGES))
    measured = pa.array([0.5, 0.1, 0.1, None, 0.9, 0.3])  # a value a clip, and one has none
    table = table.append_column("motion", measured).append_column("letterboxed", pa.array([True, *[False] * 5]))
    pq.write_table(table.rename_columns({"score": "my score"}), folder / "measured.parquet")
    opened(browser, report(folder / "measured.parquet", "--root", folder, "--out", folder / "measured.html"))

    def order(value: str) -> list[str]:
        browser.run(f"const o = document.getElementById('order'); o.value = '{value}'; "
                    "o.dispatchEvent(new Event('change'))")  # fmt: skip
        names: list[str] = browser.run(NAMES)
        return [name[-1] for name in names]

    assert order("most motion") == ["3", "0", "4", "1", "2"]
    assert order("least motion") == ["1", "4", "0", "3", "2"]
    assert order("most my score") == ["4", "3", "2", "1", "0"]
    browser.run("const s = document.getElementById('range'); s.value = 'motion'; s.dispatchEvent(new Event('change'))")
    browser.type("#range-least", "0.3")
    assert order("name") == ["0", "3", "4"]
    browser.type("#range-most", "0.5")
    assert order("name") == ["0", "4"]
    browser.screenshot(tmp_path / "report-range.png")
    browser.click("#clear")
    assert order("name") == ["0", "1", "2", "3", "4"]
    browser.run("const s = document.querySelector('[data-choice=letterboxed]'); s.value = '=True'; "
                "s.dispatchEvent(new Event('change'))")  # fmt: skip
    assert order("name") == ["0"]
    assert browser.errors() == []


def test_a_clip_plays_in_place_from_its_start_to_its_end(browser: Browser, page: Path, tmp_path: Path) -> None:
    opened(browser, page)
    for number in (1, 4):  # both kinds of files
        browser.click("#clear")
        browser.type("#search", f"clip000{number}")
        browser.click(".play")
        span = browser.wait(
            "(v => v && v.currentTime > 0 && [v.currentTime, v.duration])(document.querySelector('video'))"
        )
        assert 1.0 <= span[0] <= 2.1
        assert span[1] > 3
        if number == 1:
            browser.screenshot(tmp_path / "report-playing.png")
        browser.wait("document.querySelector('video').paused")
        assert 1.9 <= browser.run("return document.querySelector('video').currentTime") <= 2.4
    assert browser.errors() == []


def test_everything_can_be_done_by_keys(browser: Browser, page: Path, tmp_path: Path) -> None:
    opened(browser, page)
    order = browser.run("return window.vidlabel.list.gallery.names")
    assert browser.run(f"return {HERE}") == order[0]
    browser.press("j")
    browser.press("j")
    browser.press("j")
    assert browser.run(f"return {HERE}") == order[2]
    browser.press("k")
    browser.press("Down")
    assert browser.run(f"return {HERE}") == order[2]
    assert browser.run("return document.activeElement.classList.contains('card')")
    at = order.index("clip0001")
    browser.run("window.vidlabel.list.go(arguments[0])", at)
    browser.press("n")
    assert browser.texts(".label.at .prompt") == ["Who runs?"]
    browser.press("p")
    assert browser.texts(".label.at .text") == ["A dog"]
    browser.press("Enter")
    assert browser.texts(".card.wide h3") == ["clip0001"]
    assert "score" in browser.texts(".card.wide .more dt")
    browser.press(" ")
    browser.wait("document.querySelector('.card.wide video')?.currentTime > 1")
    browser.press("Escape")
    assert browser.run("return document.querySelector('video')") is None
    browser.press("/")
    assert browser.run("return document.activeElement.id") == "search"
    browser.press(*"jjk")  # letters, there
    assert browser.run("return document.getElementById('search').value") == "jjk"
    browser.click("#clear")
    before = browser.run("return document.documentElement.dataset.theme")
    browser.press("t")
    assert browser.run("return document.documentElement.dataset.theme") != before
    browser.press("?")
    assert browser.run("return document.getElementById('keys').open")
    browser.screenshot(tmp_path / "report-keys.png")
    browser.click("#keys-on")
    browser.press("Escape")
    browser.press("t")
    assert browser.run("return document.documentElement.dataset.theme") != before  # single keys are off


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 480])
def test_words_can_be_read_and_things_have_names(
    browser: Browser, page: Path, tmp_path: Path, theme: str, width: int
) -> None:
    browser.resize(width, 1000)
    try:
        opened(browser, page)
        if browser.run("return document.documentElement.dataset.theme") != theme:
            browser.click("#theme")
        browser.run("document.getElementById('gallery').scrollIntoView()")
        browser.screenshot(tmp_path / f"report-{theme}-{width}.png")
        assert browser.run(FAINT) == []
        assert browser.run(NAMELESS) == []
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    finally:
        browser.resize(*TALL)


# texts whose contrast with what is behind them is under WCAG's 4.5
FAINT = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const behind = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0.7) return c.slice(0, 3); } return [255, 255, 255]; };
const faint = [];
for (const e of document.querySelectorAll('h1,h2,h3,p,span,button,select,output,dt,dd,div,summary')) {
  if (e.tagName === 'DIV' && !e.matches('.text,.prompt,.name,.value')) continue;
  if (!e.innerText?.trim() || e.closest('.off') || e.closest('dialog') || !e.offsetParent) continue;
  const [a, b] = [light(rgb(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
  if ((a + 0.05) / (b + 0.05) < 4.5) faint.push(`${e.className || e.tagName}: ${e.innerText.slice(0, 30)}`);
}
return faint;
"""
NAMELESS = """
return [...document.querySelectorAll('button,select,input,img,video,textarea,[role=img],article')].filter((e) =>
  !(e.innerText?.trim() || e.getAttribute('aria-label') || e.alt || e.labels?.length || e.querySelector?.('h3')))
  .map((e) => e.outerHTML.slice(0, 80));
"""


def test_hostile_labels_are_shown_and_do_nothing(browser: Browser, tmp_path: Path) -> None:
    changes = [
        clip(n, caption=text, clip_id=text, video_path=text, instruction=text, flags=[text], language=text, level=text)
        for n, text in enumerate(HOSTILE)
    ]
    labels = write_own(tmp_path / "labels.parquet", changes)
    opened(browser, report(labels, "--out", tmp_path / "report.html", "--worst"))
    texts = browser.run("return [...document.querySelectorAll('.label .text')].map((e) => e.textContent)")
    assert sorted(texts) == sorted(HOSTILE)
    browser.press("j")
    browser.press(" ")
    browser.press("Enter")
    browser.type("#search", "<img")
    assert len(shown(browser)) == 1
    assert browser.run("return window.hacked") is None
    assert browser.run("return document.querySelectorAll('.card script, .card img[src=x], .card style').length") == 0
    assert [error for error in browser.errors() if "Security Policy" in error] == []


def test_two_files_stand_side_by_side(browser: Browser, folder: Path, tmp_path: Path) -> None:
    other = [
        {**change, "caption": change.get("caption") and str(change["caption"]).replace("dog", "large cat")}
        for change in CHANGES[:-1]
    ]
    second = write_own(tmp_path / "second.parquet", other)
    out = report(folder / "labels.parquet", "--compare", second, "--root", folder, "--out", folder / "compare.html")
    opened(browser, out)
    assert browser.texts(".legend span")[1].endswith("second.parquet")
    browser.run("document.getElementById('gallery').scrollIntoView()")
    browser.type("#search", "meadow")
    assert browser.texts(".pair .side.a ins") == ["dog"]
    assert browser.texts(".pair .side.b ins") == ["large", "cat"]
    browser.click("#clear")
    browser.run("const s = document.querySelector('[data-choice=comparison]'); s.value = '=only in the first';"
                "s.dispatchEvent(new Event('change'))")  # fmt: skip
    assert shown(browser) == ["clip0004"]
    browser.click("#clear")
    browser.screenshot(tmp_path / "report-compare.png")
    assert browser.errors() == []


def test_a_long_list_holds_few_cards_and_scrolls_to_its_end(browser: Browser, tmp_path: Path) -> None:
    changes = [clip(n, caption=f"Caption number {n}.") for n in range(3000)]
    labels = write_own(tmp_path / "labels.parquet", changes)
    opened(browser, report(labels, "--out", tmp_path / "report.html", "--sample", 0))
    names = browser.run("return window.vidlabel.list.gallery.names")
    browser.run("scrollTo(0, document.body.scrollHeight)")
    browser.wait("[...document.querySelectorAll('.card h3')].some((e) => e.textContent === arguments[0])", names[-1])
    assert browser.run("return document.querySelectorAll('.card').length") < 20
    browser.run("window.vidlabel.list.go(1500)")
    assert browser.run(f"return {HERE}") == names[1500]
    box = "const r = document.querySelector('.card.here').getBoundingClientRect();"
    assert browser.run(box + "return r.top >= 0 && r.bottom <= innerHeight")


def test_a_review_by_keys_is_kept(browser: Browser, folder: Path, tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", CHANGES)
    ids = [row["label_id"] for row in own_rows(CHANGES)]
    file = tmp_path / "labels.review.parquet"
    with served_review(labels, "--root", folder, "--workers", 1) as served:
        opened(browser, served.url)
        browser.run("document.getElementById('gallery').scrollIntoView()")
        browser.wait("[...document.querySelectorAll('.media img')].every((image) => image.naturalWidth)")
        rows = browser.run("const g = window.vidlabel.gallery; return g.clip.map((_, row) => g.get('label_id', row))")
        assert sorted(rows) == sorted(ids)

        def decided(count: int) -> None:
            browser.wait(f"document.getElementById('progress').textContent.startsWith('{count} of 6')")
            assert len(read_reviews(file)) == count

        browser.press("a", "a", "a")  # faster than they can be kept: none is lost, no label is passed over
        decided(3)
        assert set(read_reviews(file)) == set(rows[:3])
        for left in (2, 1, 0):
            browser.press("u")
            decided(left)
        browser.press("a")
        decided(1)
        browser.wait("hereRow(window.vidlabel.list) === 1")
        browser.press("r")
        decided(2)
        browser.wait("hereRow(window.vidlabel.list) === 2")
        browser.press("e")
        browser.wait("document.activeElement.tagName === 'TEXTAREA'")
        browser.press(*" Indeed r.")
        browser.screenshot(tmp_path / "review-edit.png")
        browser.press("Control", "Enter")
        decided(3)
        browser.wait("hereRow(window.vidlabel.list) === 3")
        browser.press("u")
        decided(2)
        browser.press("u")
        decided(1)
        browser.press("e")
        browser.wait("document.activeElement.tagName === 'TEXTAREA'")
        browser.press(*"x")
        browser.press("Escape")
        assert browser.run("return document.activeElement.classList.contains('card')")
        reviews = read_reviews(file)
        assert {key: review.decision for key, review in reviews.items()} == {rows[0]: "accept"}
        browser.click(".play")
        browser.wait("document.querySelector('video').currentTime > 0")
        assert browser.errors() == []
        browser.screenshot(tmp_path / "review.png")
        opened(browser, served.url)
        browser.wait("document.getElementById('progress').textContent.startsWith('1 of 6')")

        served.process.kill()
        served.process.wait()
        browser.press("r")
        browser.wait("document.getElementById('say').textContent.startsWith('Not saved')")
        browser.wait("document.getElementById('progress').textContent.startsWith('1 of 6')")
    assert set(read_reviews(file)) == {rows[0]}
