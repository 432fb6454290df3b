"""`labels.skipped.parquet`: each clip once, by the last decision, and known again by what it was decided by."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidlabel.data import Clip, Span, Video, VideoInfo
from vidlabel.errors import InputError
from vidlabel.outputs import Output, parse_output
from vidlabel.selection import Rejection
from vidlabel.skip_merge import merge_skipped
from vidlabel.skips import Skip, read_skipped, skip_writer

INFO = VideoInfo(64, 48, 25.0, 9.0, "h264")


def video(name: str, *, span: bool = False) -> Video:
    return Video(video_id=name, path=f"{name}.mp4", location=f"/{name}.mp4", span=Span(1.0, 2.0) if span else None)


def clip(name: str, number: int) -> Clip:
    return Clip(f"{name}-{number}", video(name), INFO, float(number), number + 1.0)


def skip(name: str, number: int | None, key: str, **signals: object) -> Skip:
    """Of a clip, or of a whole video."""
    rejection = Rejection(f"condition {key}")
    if number is None:
        return Skip(video(name), key, rejection, key)
    return Skip(video(name), key, rejection, key, clip=clip(name, number), signals=signals)


def anew(name: str, key: str) -> Skip:
    return Skip(video(name), key)


def write_part(output: Output, *skips: Skip) -> None:
    output.work.mkdir(parents=True, exist_ok=True)
    with skip_writer(output.work, flush_seconds=60) as writer:
        for one in skips:
            writer.add(one)


def merged(output: Output, *, incomplete: tuple[str, ...] = ()) -> list[tuple[object, object, object]]:
    merge_skipped(output, incomplete, has_spans=False, replacing=False)
    assert not list(output.work.glob("skipped-*.parquet"))
    if not output.skipped.exists():
        return []
    return [(row["video_id"], row["clip_id"], row["where"]) for row in pq.read_table(output.skipped).to_pylist()]


@pytest.mark.parametrize("runs", ["one after the other", "killed before they merge"])
@pytest.mark.parametrize(
    ("parts", "left"),
    [
        ([[skip("v", 1, "A"), skip("v", 2, "A")]], [("v", "v-1", "A"), ("v", "v-2", "A")]),
        ([[skip("v", 1, "A")], [skip("v", 1, "A")]], [("v", "v-1", "A")]),  # found twice, as two rows of a manifest do
        ([[skip("v", 1, "A")], [skip("v", 1, "B")]], [("v", "v-1", "B")]),
        ([[skip("v", 1, "A"), skip("v", 2, "A")], [skip("v", 2, "B"), anew("v", "B")]], [("v", "v-2", "B")]),
        ([[skip("v", 1, "A"), skip("w", 1, "A")], [anew("v", "")]], [("w", "w-1", "A")]),  # all of v is wanted now
        ([[skip("v", 1, "A"), skip("v", 2, "A")], [skip("v", None, "B")]], [("v", None, "B")]),
        ([[skip("v", None, "A")], [skip("v", 1, "B"), anew("v", "B")]], [("v", "v-1", "B")]),
        ([[skip("v", None, "A")], [anew("v", "B")]], []),
        ([[skip("v", None, "A"), anew("v", "A")]], [("v", None, "A")]),
    ],
)
def test_the_last_decision_about_a_clip_counts(
    tmp_path: Path, parts: list[list[Skip]], left: list[tuple[object, object, object]], runs: str
) -> None:
    output = parse_output(tmp_path / "labels.parquet")
    for part in parts:
        write_part(output, *part)
        if runs == "one after the other":
            merged(output)
    assert merged(output) == left


def test_a_span_that_is_decided_anew_ends_only_itself(tmp_path: Path) -> None:
    output = parse_output(tmp_path / "labels.jsonl")
    spans = [Skip(video("v", span=True), "A", Rejection("a"), "A", clip_id=name) for name in ("one", "two")]
    write_part(output, *spans)
    write_part(output, Skip(video("v", span=True), "B", clip_id="one"))
    assert merged(output) == [("v", "two", "A")]


def test_what_is_known_is_told_apart_by_what_it_was_decided_by(tmp_path: Path) -> None:
    output = parse_output(tmp_path / "labels")
    write_part(output, skip("v", 1, "A"), skip("w", None, "A"), skip("x", 1, "A"))
    merged(output, incomplete=("x",))
    write_part(output, skip("y", 1, "A"), skip("z", None, "A"))
    known = read_skipped(output)
    assert [known.has(thing, "A") for thing in ("v-1", "v-2", "w", "y-1")] == [True, False, True, True]
    assert [known.has("v-1", key) for key in ("B", "")] == [False, False]
    assert [known.is_stale("v", key) for key in ("A", "B", "")] == [False, True, True]
    assert not known.is_stale("never seen", "B")
    assert [known.is_decided(name, "A") for name in ("v", "w", "y")] == [True, True, False]  # y: its run did not end
    assert [known.is_whole(name, "A") for name in ("v", "w", "z")] == [False, True, True]
    assert known.incomplete_videos == {"x"}
    assert known.videos_in_parts == {"y"}  # of z there is no more to be known


def test_names_that_are_no_text_and_signals_of_several_runs_come_back(tmp_path: Path) -> None:
    output = parse_output(tmp_path / "labels.parquet")
    odd = "caf\udce9\\x41"
    write_part(output, skip(odd, 1, "A", brightness=0.25))
    merged(output)
    write_part(output, skip("v", 1, "A", letterboxed=True, blur=None))
    merged(output)
    table = pq.read_table(output.skipped)
    assert table.schema.names[-3:] == ["brightness", "blur", "letterboxed"]
    by_video = {row["video_id"]: row for row in table.to_pylist()}
    assert by_video["v"]["letterboxed"] is True
    assert by_video["v"]["brightness"] is None
    assert by_video["caf\\xe9\\x5cx41"]["brightness"] == 0.25
    assert read_skipped(output).has(f"{odd}-1", "A")


@pytest.mark.parametrize("content", [b"", b"PAR1 cut short", None])
def test_a_file_that_is_not_ours_is_refused(tmp_path: Path, content: bytes | None) -> None:
    output = parse_output(tmp_path / "labels.parquet")
    if content is None:
        pq.write_table(pa.table({"clip_id": ["a"]}), output.skipped)
    else:
        output.skipped.write_bytes(content)
    with pytest.raises(InputError, match=r"labels\.skipped\.parquet is not .*; restore it, or remove it"):
        read_skipped(output)


def test_a_damaged_part_is_set_aside_and_its_clips_are_decided_again(tmp_path: Path) -> None:
    output = parse_output(tmp_path / "labels.parquet")
    write_part(output, skip("v", 1, "A"))
    (part,) = output.work.glob("skipped-*")
    part.write_bytes(part.read_bytes()[:-20])
    with pytest.raises(InputError, match="it is set aside, run the same command again"):
        merge_skipped(output, (), has_spans=False, replacing=False)
    assert merged(output) == []
