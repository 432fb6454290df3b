"""`vidlabel report`: what labels say is on the page, as data, with their clips; nothing stops it and nothing leaks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.label_files import own_rows, write_foreign, write_own
from tests.make_videos import noise_scene, write_video
from tests.report_pages import HOSTILE, blocks, column
from vidlabel.cli import app
from vidlabel.report.content import Source, choose_clips
from vidlabel.report.figures import figures
from vidlabel.report.html import SCRIPTS
from vidlabel.report.places import address
from vidlabel.tables.reviews import ReviewLog, review_file
from vidlabel.tables.stats import stats


def report(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["report", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr


def clip(number: int, **more: Any) -> dict[str, Any]:
    return {"clip_id": f"clip{number}", "video_id": "v", "video_path": "v.mp4", **more}


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "good.mp4", noise_scene(50, (200, 60, 40)))
    write_video(folder / "tall#1 &?.mp4", noise_scene(10, (20, 160, 40), width=48, height=96))
    (folder / "bad.mp4").write_bytes(b"this is no video" * 100)
    return folder


@pytest.mark.parametrize("form", ["labels.parquet", "labels.jsonl", "labels"])
def test_all_that_labels_say_is_on_the_page(tmp_path: Path, form: str) -> None:
    changes: list[dict[str, Any]] = [
        clip(1, caption="One dog.", flags=["short"], grounding=0.25),
        clip(2, caption="Two dogs.", mean_logprob=None),
        clip(1, caption=None, task="qa", question="What?", answer="A dog.", language="de"),
    ]
    labels, out = write_own(tmp_path / form, changes), tmp_path / "report.html"
    code, err = report(labels, "--out", out, "--sample", 0)
    assert code == 0
    assert "3 labels, 2 clips, 0 contact sheets" in err
    page = blocks(out)
    of_clip = [page["gallery"]["names"][at] for at in page["gallery"]["clip"]]
    rows = dict(zip(column(out, "text"), zip(of_clip, column(out, "flags"), strict=True), strict=True))
    assert rows == {"One dog.": ("clip1", ["short"]), "Two dogs.": ("clip2", []), "A dog.": ("clip1", [])}
    assert sorted(column(out, "prompt")) == ["Describe the video.", "Describe the video.", "What?"]
    assert sorted(column(out, "score")) == [0.0, 0.5, 1.0]  # the manifest's own
    assert sorted(column(out, "label_id")) == sorted(row["label_id"] for row in own_rows(changes))
    assert page["summary"]["files"][0]["labels"] == 3
    assert page["summary"]["files"][0]["flags"] == {"short": 1}


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_labels_of_other_tools_are_shown_too(tmp_path: Path, suffix: str) -> None:
    rows = [{"video": "a.mp4", "said": "A dog.", "source": "x"}, {"video": "a.mp4", "said": "A cat.", "source": "x"}]
    labels, out = write_foreign(tmp_path / f"labels{suffix}", rows), tmp_path / "report.html"
    assert report(labels, "--out", out, "--sample", 0, "--text-column", "said")[0] == 0
    assert column(out, "text") == ["A dog.", "A cat."]
    assert column(out, "source") == ["x", "x"]
    assert blocks(out)["gallery"]["names"] == ["a.mp4 0-end"]


def test_hostile_labels_never_become_markup(tmp_path: Path) -> None:
    changes = [
        clip(n, caption=text, clip_id=text, video_path=text, instruction=text, flags=[text], language=text)
        for n, text in enumerate(HOSTILE)
    ]
    name = "</title><script>window.hacked = 6</script>.parquet".replace("/", "\u2215")
    labels, out = write_own(tmp_path / name, changes), tmp_path / "report.html"
    assert report(labels, "--out", out)[0] == 0
    text = out.read_text(encoding="utf-8")
    assert sorted(column(out, "text")) == sorted(HOSTILE)
    assert "hacked" not in re.sub(r"<title>.*</title>", "", text)
    assert "<script>window" not in text
    assert len(re.findall(r"<script[ >]", text)) == len(blocks(out)) + 1
    for url in blocks(out)["gallery"]["videos"]:
        assert re.fullmatch(r"[\w.~/%-]+", url, re.ASCII)


def test_the_policy_lets_nothing_in_but_the_page_itself(tmp_path: Path) -> None:
    labels, out = write_own(tmp_path / "labels.parquet", [{}]), tmp_path / "report.html"
    assert report(labels, "--out", out, "--sample", 0)[0] == 0
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', out.read_text())
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["connect-src"] == rules["form-action"] == "'none'"
    assert re.fullmatch(r"'sha256-[\w+/=]+'", rules["script-src"])
    assert "http" not in policy.replace("http-equiv", "")


def test_the_page_is_made_by_text_only() -> None:
    """No way by which a text could be read as markup or as a script is in the page's own scripts."""
    folder = Path(__file__).parent.parent / "vidlabel" / "report" / "page"
    assert {path.name for path in folder.glob("*.js")} == set(SCRIPTS)
    for path in folder.glob("*.js"):
        source = path.read_text()
        for danger in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "srcdoc",
        ):
            assert danger not in source, f"{path.name}: {danger}"
        assert len(source.splitlines()) <= 300


def test_contact_sheets_are_pictures_or_say_why_not(tmp_path: Path, videos: Path) -> None:
    span = {"start_seconds": 0.5, "end_seconds": 1.5}
    changes = [
        clip(1, video_path="good.mp4", **span),
        clip(2, video_path="bad.mp4", **span),
        clip(3, video_path="missing.mp4", **span),
        clip(4, video_path="tall#1 &?.mp4", start_seconds=0.0, end_seconds=0.4),
        clip(5, video_path="good.mp4", start_seconds=90.0, end_seconds=91.0),
    ]
    labels, out = write_own(tmp_path / "labels.parquet", changes), tmp_path / "pages" / "report.html"
    out.parent.mkdir()
    code, err = report(labels, "--out", out, "--root", videos, "--workers", 1)
    assert code == 0
    assert "5 clips, 2 contact sheets" in err
    page = blocks(out)
    sheets = dict(zip(page["gallery"]["names"], page["sheets"], strict=True))
    for name, size in (("clip1", (3 * 178, 2 * 108)), ("clip4", (6 * 68, 134))):
        assert _webp_size(sheets[name]) == size
    assert sheets["clip2"]["why"] == "not a video in a format that is read"
    assert sheets["clip3"]["why"] == "cannot be opened: No such file or directory"
    assert "no frame could be decoded" in sheets["clip5"]["why"]
    addresses = {page["gallery"]["videos"][at] for at in page["gallery"]["video"]}
    assert address(videos / "tall#1 &?.mp4", out) in addresses
    assert all("#" not in one and "?" not in one and "&" not in one for one in addresses)


def _webp_size(coded: str) -> tuple[int, int]:
    import base64

    import cv2
    import numpy as np

    image = cv2.imdecode(np.frombuffer(base64.b64decode(coded), np.uint8), cv2.IMREAD_COLOR)
    return image.shape[1], image.shape[0]


def test_sheets_are_kept_until_the_file_changes(tmp_path: Path, videos: Path) -> None:
    source = tmp_path / "v.mp4"
    source.write_bytes((videos / "good.mp4").read_bytes())
    labels, out = (
        write_own(tmp_path / "labels.parquet", [clip(1, start_seconds=0.0, end_seconds=1.0)]),
        tmp_path / "r.html",
    )
    assert report(labels, "--out", out)[0] == 0
    (kept,) = (tmp_path / "r.sheets").iterdir()
    kept.write_bytes(b"the kept one")
    assert report(labels, "--out", out)[0] == 0
    assert blocks(out)["sheets"] == ["dGhlIGtlcHQgb25l"]
    write_video(source, noise_scene(40, (0, 90, 200)))
    assert report(labels, "--out", out)[0] == 0
    assert _webp_size(blocks(out)["sheets"][0]) == (3 * 178, 2 * 108)
    assert len(list((tmp_path / "r.sheets").iterdir())) == 2


def test_a_sample_is_whole_clips_by_lot_and_the_same_every_time(tmp_path: Path) -> None:
    changes = [clip(number // 2, caption=f"Caption {number}.") for number in range(60)]
    labels = write_own(tmp_path / "labels.parquet", changes)
    pages = []
    for name in ("a.html", "b.html"):
        assert report(labels, "--out", tmp_path / name, "--sample", 0, "--max-labels", 21)[0] == 0
        pages.append(blocks(tmp_path / name)["gallery"])
    assert pages[0]["names"] == pages[1]["names"]
    assert len(pages[0]["names"]) == 10
    assert len(pages[0]["clip"]) == 20
    assert pages[0]["names"] != sorted(pages[0]["names"])
    assert blocks(tmp_path / "a.html")["summary"]["files"][0]["labels"] == 60
    code, err = report(labels, "--out", tmp_path / "c.html", "--sample", 0, "--max-labels", 1)
    assert code == 2
    assert "--max-labels 1" in err


def test_worst_first_is_by_flags_then_by_grounding(tmp_path: Path) -> None:
    changes = [
        clip(1, grounding=0.5),
        clip(2, flags=["short"], grounding=0.9),
        clip(3, grounding=0.1),
        clip(4, flags=["repetitive", "truncated"], grounding=0.9),
        clip(4, grounding=0.9),
        clip(5, grounding=None),
        clip(6, flags=["short"], grounding=0.2),
    ]
    source = Source.read(write_own(tmp_path / "labels.parquet", changes), None)
    expected = ["clip4", "clip6", "clip2", "clip3", "clip1", "clip5"]
    assert choose_clips(source, worst=True, max_labels=100) == expected
    assert choose_clips(source, worst=True, max_labels=3) == expected[:2]


def test_two_files_are_joined_by_clip(tmp_path: Path) -> None:
    one = write_own(tmp_path / "one.parquet", [clip(n, caption=f"One says {n}.") for n in range(3)])
    two = write_own(tmp_path / "two.parquet", [clip(n, caption=f"Two says {n}.", agreement=0.5) for n in (1, 2, 7)])
    assert report(one, "--compare", two, "--out", tmp_path / "r.html", "--sample", 0)[0] == 0
    page = blocks(tmp_path / "r.html")
    gallery = page["gallery"]
    rows = zip(gallery["clip"], gallery["side"], column(tmp_path / "r.html", "text"), strict=True)
    assert sorted((gallery["names"][at], side, text) for at, side, text in rows) == [
        ("clip0", 0, "One says 0."),
        ("clip1", 0, "One says 1."),
        ("clip1", 1, "Two says 1."),
        ("clip2", 0, "One says 2."),
        ("clip2", 1, "Two says 2."),
    ]
    assert [file["labels"] for file in page["summary"]["files"]] == [3, 3]
    agreement = column(tmp_path / "r.html", "agreement")
    assert [value for value in agreement if value is not None] == [0.5, 0.5]
    assert all(len(figure["series"]) == 2 for figure in page["summary"]["figures"])


def test_plots_add_up(tmp_path: Path) -> None:
    minutes = [f"2026-01-0{1 + n % 2}T03:0{n}:05.000000Z" for n in range(6)]
    changes = [
        clip(n, caption="word " * (n + 1), created_at=_time(at), grounding=n / 10) for n, at in enumerate(minutes)
    ]
    changes += [clip(0, flags=["short", "leak"])]
    labels = write_own(tmp_path / "labels.parquet", changes)
    (tmp_path / "labels.failures.jsonl").write_text(
        json.dumps({"id": "a", "video_id": "a", "path": "a", "stage": "open", "reason": "gone"}) + "\n"
    )
    found = {one["name"]: one for one in figures([Source.read(labels, None).gathered], [stats(labels)])}
    assert dict(zip(found["flags"]["labels"], found["flags"]["series"][0], strict=True)) == {
        "clean": 6, "short": 1, "leak": 1,
    }  # fmt: skip
    for name, total in (("words", 7), ("seconds", 6), ("grounding", 6), ("per-clip", 6), ("failures", 1)):
        assert sum(found[name]["series"][0]) == total, name  # type: ignore[index]
    edges, values = found["throughput"]["edges"], found["throughput"]["series"][0]  # type: ignore[index]
    assert sum(values) * (edges[1] - edges[0]) / 3600 == pytest.approx(7, abs=0.1)


def _time(text: str) -> Any:
    from datetime import datetime

    return datetime.fromisoformat(text)


def test_decisions_are_shown(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", [clip(1), clip(2)])
    label_id = pq.read_table(labels)["label_id"][1].as_py()
    with ReviewLog(review_file(labels)) as log:
        log.decide(label_id, "edit", "A better one.")
    assert report(labels, "--out", tmp_path / "r.html", "--sample", 0)[0] == 0
    assert blocks(tmp_path / "r.html")["reviews"] == {label_id: ["edit", "A better one."]}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--out", "report.txt"], "whose name ends in .html"),
        (["--out", "nowhere/report.html"], "there is no folder"),
        (["--out", "r.html", "--root", "nowhere"], "--root nowhere: no such folder"),
        (["--out", "r.html", "--compare", "nowhere.parquet"], "nowhere.parquet: there are no labels"),
        (["--out", "r.html", "--text-column", "nope"], "no column nope"),
    ],
)
def test_wrong_options_are_one_clear_line(tmp_path: Path, args: list[str], said: str) -> None:
    from contextlib import chdir

    labels = write_own(tmp_path / "labels.parquet", [{}])
    with chdir(tmp_path):
        code, err = report(labels, *args)
    assert code == 2
    assert said in err
    assert err.count("\n") == 1
    assert not (tmp_path / "r.html").exists()


def test_labels_without_rows_are_a_page_that_says_so(tmp_path: Path) -> None:
    labels = write_own(tmp_path / "labels.parquet", [])
    assert report(labels, "--out", tmp_path / "r.html")[0] == 0
    assert blocks(tmp_path / "r.html")["gallery"]["names"] == []
