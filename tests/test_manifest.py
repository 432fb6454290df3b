"""Folders, files and manifests -> videos: what is read, what is one video, and what is refused, and how."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlabel.data import Span, Video, stable_id
from vidlabel.errors import InputError
from vidlabel.manifest import read_inputs
from vidlabel.times import parse_time


def read(*inputs: str | Path, root: str | Path | None = None, lines: list[str] | None = None) -> list[Video]:
    given_inputs = [str(given) for given in inputs]
    return list(read_inputs(given_inputs, root=None if root is None else str(root), lines=lines))


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    """The same rows as csv, tsv, jsonl or parquet, by the extension."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if path.suffix in (".jsonl", ".ndjson"):
        return write(path, "".join(json.dumps(row) + "\n" for row in rows))
    mark = "," if path.suffix == ".csv" else "\t"
    cells = [list(rows[0]), *[["" if cell is None else str(cell) for cell in row.values()] for row in rows]]
    return write(path, "".join(mark.join(row) + "\n" for row in cells))


# --- times


@given(st.integers(0, 10**8))
def test_every_way_to_write_a_time_reads_the_same(millis: int) -> None:
    seconds, rest = divmod(millis, 1000)
    minutes, hours = seconds // 60, seconds // 3600
    expected = millis / 1000
    clock = f"{seconds % 60:02d}.{rest:03d}"
    for written in (
        expected,
        f"{seconds}.{rest:03d}",
        f" {minutes}:{clock} ",
        f"{hours}:{minutes % 60:02d}:{clock}",
        f"{hours:02d}:{minutes % 60:02d}:{clock}".replace(".", ","),
    ):
        assert parse_time(written) == expected


@given(st.text(max_size=12))
def test_any_text_is_a_time_of_0_or_later_or_refused(text: str) -> None:
    try:
        seconds = parse_time(text)
    except ValueError:
        return
    assert seconds is None or (0 <= seconds < math.inf)


@pytest.mark.parametrize("value", ["-1", "-0:01", "1:60", "0:60:00", "1e3", "inf", "soon", "1,200", "0:00:01:02", "١"])
@pytest.mark.parametrize("kind", [str, lambda text: [text]])
def test_what_is_no_time_is_refused(value: str, kind: Callable[[str], object]) -> None:
    with pytest.raises(ValueError, match="is no time"):
        parse_time(kind(value))


def test_times_of_other_types() -> None:
    assert parse_time(timedelta(minutes=1, milliseconds=5)) == 60.005
    assert [parse_time(empty) for empty in (None, "", "  ", math.nan, "NaN")] == [None] * 5
    for wrong in (True, -1, math.inf, {}):
        with pytest.raises(ValueError, match="is no time"):
            parse_time(wrong)


# --- what is read


@pytest.mark.parametrize("extension", ["csv", "tsv", "jsonl", "ndjson", "parquet", "CSV"])
def test_all_manifest_formats_give_the_same_videos(tmp_path: Path, extension: str) -> None:
    rows: list[dict[str, object]] = [
        {"video": "a.mp4", "id": "A", "start": None, "end": None, "subtitle": "a.vtt"},
        {"video": "sub/b.mp4", "id": "B1", "start": "0:01.5", "end": "0:00:04", "subtitle": None},
        {"video": "/far/c.mp4", "id": None, "start": None, "end": "9.5", "subtitle": "/far/c.srt"},
    ]
    first, second, third = read(write_rows(tmp_path / f"m.{extension}".replace("CSV", "csv"), rows))
    assert first == Video("A", "a.mp4", f"{tmp_path}/a.mp4", subtitle=f"{tmp_path}/a.vtt")
    assert second == Video(
        stable_id(f"{tmp_path}/sub/b.mp4"), "sub/b.mp4", f"{tmp_path}/sub/b.mp4", span=Span(1.5, 4.0), clip_id="B1"
    )
    assert third == Video(
        stable_id("/far/c.mp4"), "/far/c.mp4", "/far/c.mp4", span=Span(0.0, 9.5), subtitle="/far/c.srt"
    )


@pytest.mark.parametrize("name", ["video", "path", "file_name", "video_path", "Video", " FILE_NAME "])
def test_video_column_has_several_names(tmp_path: Path, name: str) -> None:
    assert [video.path for video in read(write(tmp_path / "m.csv", f"{name},x\na.mp4,1\n"))] == ["a.mp4"]


def test_of_several_video_columns_the_first_in_order_counts_and_the_rest_are_carried(tmp_path: Path) -> None:
    (video,) = read(write(tmp_path / "m.csv", "video_path,path,Video\np.mp4,q.mp4,r.mp4\n"))
    assert (video.path, video.extra) == ("r.mp4", {"video_path": "p.mp4", "path": "q.mp4"})


def test_other_columns_keep_their_types_where_the_format_has_types(tmp_path: Path) -> None:
    row = {
        "video": "a.mp4",
        "n": 3,
        "x": 0.5,
        "ok": True,
        "tags": ["a", "b"],
        "none": None,
        "text": "",
        "map": {"k": 1},
    }
    for extension in ("jsonl", "parquet"):
        (video,) = read(write_rows(tmp_path / f"m.{extension}", [row]))
        assert video.extra == {name: value or None for name, value in row.items() if name != "video"}
    (video,) = read(write(tmp_path / "m.csv", "video,n,x,none,gap\na.mp4,3,0.50,,NaN\n"))
    assert video.extra == {"n": "3", "x": "0.50", "none": None, "gap": None}


def test_missing_numbers_are_none_and_whole_ones_are_ids(tmp_path: Path) -> None:
    table = pa.table({"video": ["a.mp4", "b.mp4"], "id": [7.0, math.nan], "score": [math.nan, 1.5]})
    pq.write_table(table, tmp_path / "m.parquet")
    first, second = read(tmp_path / "m.parquet")
    assert (first.video_id, first.extra) == ("7", {"score": None})
    assert (second.video_id, second.extra) == (stable_id(f"{tmp_path}/b.mp4"), {"score": 1.5})


def test_csv_of_the_wild_is_read(tmp_path: Path) -> None:
    long = "word " * 60_000
    text = f'\ufeff,video,caption\r\n0,a.mp4,"two\r\nlines, ""quoted"""\r\n\r\n1,b.mp4,{long}\r\n'
    first, second = read(write(tmp_path / "m.csv", text))
    assert first.extra == {"column_1": "0", "caption": 'two\r\nlines, "quoted"'}
    assert second.extra["caption"] == long


def test_stdin_lists_one_path_a_line_exactly_as_it_is(tmp_path: Path) -> None:
    videos = read("-", root=tmp_path, lines=["a.mp4\n", "\n", "sub/ b .mp4\r\n", f"{tmp_path}/c.mp4"])
    assert [video.path for video in videos] == ["a.mp4", "sub/ b .mp4", "c.mp4"]
    with (
        write(tmp_path / "list", b"a.mp4\ncaf\xe9.mp4\n").open(encoding="utf-8") as lines,
        pytest.raises(InputError, match="standard input, after line 0: not UTF-8"),
    ):
        read_inputs(["-"], root=None, lines=lines)
    (here,) = read("-", lines=["x.mp4"])
    assert (here.path, here.location) == ("x.mp4", str(Path.cwd() / "x.mp4"))


def test_folders_files_and_manifests_mix_and_come_in_order(tmp_path: Path) -> None:
    write(tmp_path / "f/b.mp4", "x")
    write(tmp_path / "f/a.mp4", "x")
    single = write(tmp_path / "notes.weird", "x")
    manifest = write(tmp_path / "m.jsonl", '{"video": "f/c.mp4"}\n')
    videos = read(manifest, tmp_path / "f", single)
    assert [video.path for video in videos] == ["f/c.mp4", "a.mp4", "b.mp4", str(single)]
    assert [video.location for video in videos][1:3] == [f"{tmp_path}/f/a.mp4", f"{tmp_path}/f/b.mp4"]


def test_empty_inputs_give_no_videos(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    for name, text in (("a.csv", ""), ("b.csv", "video\n"), ("c.jsonl", "\n"), ("d.tsv", "\n\n")):
        assert read(write(tmp_path / name, text)) == []
    pq.write_table(pa.table({"video": pa.array([], pa.string())}), tmp_path / "e.parquet")
    assert read(tmp_path / "e.parquet") == []
    assert read(tmp_path / "f") == []
    assert read("-", lines=[]) == []
    assert read() == []


def test_missing_file_is_kept_to_fail_alone_later(tmp_path: Path) -> None:
    assert len(read(write(tmp_path / "m.csv", "video\nnot/there.mp4\n"))) == 1


def test_columns_of_our_own_split_output_read_as_spans_with_their_ids(tmp_path: Path) -> None:
    row = {"clip_id": "v-0-1500", "video_id": "v", "video_path": "a.mp4", "start_seconds": 0.0, "end_seconds": 1.5}
    (video,) = read(write_rows(tmp_path / "clips.parquet", [row]))
    assert video == Video("v", "a.mp4", f"{tmp_path}/a.mp4", span=Span(0.0, 1.5), clip_id="v-0-1500")


def test_video_id_shared_by_whole_files_is_a_column_like_any_other(tmp_path: Path) -> None:
    videos = read(write(tmp_path / "m.csv", "video,video_id\na_1.mp4,a\na_2.mp4,a\n"))
    assert [video.extra for video in videos] == [{"video_id": "a"}] * 2
    assert len({video.video_id for video in videos}) == 2


# --- what is one video


def test_same_basename_in_two_folders_is_two_videos(tmp_path: Path) -> None:
    write(tmp_path / "x/a.mp4", "x")
    write(tmp_path / "y/a.mp4", "x")
    assert len({video.video_id for video in read(tmp_path / "x", tmp_path / "y")}) == 2
    assert [video.path for video in read(tmp_path)] == ["x/a.mp4", "y/a.mp4"]


def test_file_reached_several_ways_is_one_video_and_the_first_mention_wins(tmp_path: Path) -> None:
    file = write(tmp_path / "f/a.mp4", "x")
    manifest = write(tmp_path / "m.csv", "video,id,question\nf/a.mp4,A,Who?\nf/../f/./a.mp4,,Why?\n")
    (video,) = read(tmp_path / "f", manifest, file)
    assert (video.path, video.video_id) == ("a.mp4", stable_id(str(file)))
    assert [question.text for question in video.questions] == ["Who?", "Why?"]
    assert read(manifest, tmp_path / "f")[0].video_id == "A"


def test_rows_of_one_span_are_one_video_with_several_questions(tmp_path: Path) -> None:
    text = (
        "video,start,end,question,id,language,level\n"
        "a.mp4,0,5,Who?,q1,,easy\na.mp4,0:00,0:05,Why?,q2,,hard\na.mp4,5,9,Who?,q3,,\n"
        "a.mp4,0,5,Who?,,,again\na.mp4,,,谁？,,zh,\n"
    )
    first, second, whole = read(write(tmp_path / "m.csv", text))
    assert (first.span, first.clip_id) == (Span(0.0, 5.0), "q1")
    assert [(q.text, q.pool, q.task, q.language) for q in first.questions] == [
        ("Who?", "manifest", "qa", "en"),
        ("Why?", "manifest", "qa", "en"),
    ]
    assert [q.extra for q in first.questions] == [{"id": "q1", "level": "easy"}, {"id": "q2", "level": "hard"}]
    assert (second.span, second.clip_id, len(second.questions)) == (Span(5.0, 9.0), "q3", 1)
    assert (whole.span, whole.questions[0].language) == (None, "zh")


def test_id_of_the_video_is_no_column_of_its_questions(tmp_path: Path) -> None:
    rows = "a.mp4,A,Who?\na.mp4,A,Why?\nb.mp4,B,Who?\n"
    videos = read(write(tmp_path / "m.csv", f"video,id,question\n{rows}"))
    assert [(video.video_id, [q.extra for q in video.questions]) for video in videos] == [("A", [{}, {}]), ("B", [{}])]


def test_language_without_a_question_is_a_column_like_any_other(tmp_path: Path) -> None:
    (video,) = read(write(tmp_path / "m.csv", "video,language\na.mp4,fr\n"))
    assert video.extra == {"language": "fr"}


def test_ids_do_not_follow_links_and_are_relative_to_the_root(tmp_path: Path) -> None:
    write(tmp_path / "real/a.mp4", "x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert read(tmp_path / "link")[0].video_id == stable_id(f"{tmp_path}/link/a.mp4")
    (tmp_path / "moved").mkdir()
    for root in (tmp_path, tmp_path / "link"):
        (video,) = read(root / "real" if root == tmp_path else root, root=root)
        relative = "real/a.mp4" if root == tmp_path else "a.mp4"
        assert (video.path, video.video_id) == (relative, stable_id(relative))


def test_name_that_is_no_utf8_is_kept_as_it_is(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    (tmp_path / name).write_bytes(b"x")
    (video,) = read(tmp_path)
    assert (video.path, video.location) == (name, f"{tmp_path}/{name}")
    with pytest.raises(InputError) as caught:
        read(tmp_path, root=write(tmp_path / "in/x.mp4", "x").parent)
    assert "caf\\xe9.mp4 is outside of --root" in str(caught.value).encode().decode()


# --- what is refused


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "m.csv",
            "url,caption\nx,y\n",
            "m.csv, line 2: no video column among url, caption; name one of them video, path",
        ),
        ("m.jsonl", '{"video": "a"}\n\n{"clip": "b"}\n', "m.jsonl, line 3: no video column among clip;"),
        ("m.csv", "video,end\na.mp4,4\n,5\n", "m.csv, line 3: column video is empty"),
        ("m.csv", 'video,x\na.mp4,"1\n2\n3"\n  ,\n', "m.csv, line 5: column video is empty"),
        ("m.csv", "video,start,end\na.mp4,5,5\n", "m.csv, line 2: end 5 s is not after start 5 s"),
        ("m.csv", "video,end\na.mp4,0\n", "m.csv, line 2: end 0 s is not after start 0 s"),
        ("m.csv", "video,start\na.mp4,-1\n", "m.csv, line 2: start '-1' is no time"),
        ("m.csv", "video,end_seconds\na.mp4,later\n", "m.csv, line 2: end_seconds 'later' is no time"),
        ("m.jsonl", '{"video": "a", "start": -2}\n', "m.jsonl, line 1: start -2 is no time; it must be 0 or later"),
        ("m.csv", "video,x\na.mp4,1\nb.mp4\n", "m.csv, line 3: 1 cells, but the header has 2 columns"),
        ("m.tsv", "video\tx\na.mp4\t1\t2\n", "m.tsv, line 2: 3 cells, but the header has 2 columns"),
        ("m.csv", "video,video\na,b\n", "m.csv, line 1: column 'video' is there twice"),
        ("m.csv", 'video,x\na.mp4,"never closed\nb.mp4,2\n', "m.csv, line 2: a quoted cell is not well formed"),
        ("m.csv", b"video\na.mp4\ncaf\xe9.mp4\n", "m.csv, line 3: not UTF-8"),
        ("m.jsonl", b'{"video": "a"}\n{"video": "\xff"}\n', "m.jsonl, line 2: not UTF-8"),
        ("m.jsonl", '{"video": "a"}\n{"video": \n', "m.jsonl, line 2: not JSON"),
        ("m.jsonl", '["a.mp4"]\n', "m.jsonl, line 1: a line must be one JSON object"),
        ("m.jsonl", "[" * 100_000 + "\n", "m.jsonl, line 1: not JSON"),
        ("m.jsonl", '{"video": ["a.mp4"]}\n', "m.jsonl, line 1: video must be a text, got ['a.mp4']"),
        ("m.jsonl", '{"video": "a\\u0000.mp4"}\n', "m.jsonl, line 1: 'a\\x00.mp4': a path has no zero byte"),
        ("m.csv", "video\nftp://host/a.mp4\n", "m.csv, line 2: ftp://host/a.mp4: only s3://, gs://,"),
        ("m.csv", "video,subtitle\na.mp4,smb://h/a.vtt\n", "m.csv, line 2: smb://h/a.vtt: only s3://, gs://,"),
        ("m.parquet", "not parquet", "m.parquet: not a whole parquet file"),
    ],
)
def test_malformed_manifest_is_one_line_that_names_the_row(
    tmp_path: Path, name: str, text: str | bytes, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        read(write(tmp_path / name, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_parquet_row_is_named_and_a_damaged_page_is_refused(tmp_path: Path) -> None:
    file = write_rows(tmp_path / "m.parquet", [{"video": "a.mp4", "start": 1.0}, {"video": None, "start": 2.0}])
    with pytest.raises(InputError, match=r"m\.parquet, row 2: column video is empty"):
        read(file)
    rows: list[dict[str, object]] = [{"video": f"{stable_id(str(i))}.mp4"} for i in range(3000)]
    data = bytearray(write_rows(tmp_path / "n.parquet", rows).read_bytes())
    data[1000:9000] = bytes(8000)
    with pytest.raises(InputError, match=r"n\.parquet: not a whole parquet file"):
        read(write(tmp_path / "n.parquet", bytes(data)))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a.mp4,A,,\nb.mp4,A,,\n", "line 3: id 'A' of b.mp4 is already that of a.mp4 in {file}, line 2"),
        ("a.mp4,A,0,1\na.mp4,A,1,2\n", "line 3: id 'A' of a.mp4 is already that of a.mp4 in {file}, line 2"),
        ("a.mp4,,,\na.mp4,B,,\nb.mp4,B,0,1\n", "line 4: id 'B' of b.mp4 is already that of a.mp4 in {file}, line 2"),
    ],
)
def test_one_id_for_two_videos_is_refused_and_names_both_rows(tmp_path: Path, rows: str, message: str) -> None:
    file = write(tmp_path / "m.csv", f"video,id,start,end\n{rows}")
    with pytest.raises(InputError) as caught:
        read(file)
    assert message.format(file=file) in str(caught.value)


def test_one_video_id_for_spans_of_two_files_is_refused(tmp_path: Path) -> None:
    text = "video,video_id,start,end\na.mp4,v,0,1\na.mp4,v,1,2\nb.mp4,v,0,1\n"
    with pytest.raises(InputError, match=r"line 4: video_id 'v' of b\.mp4 is already that of a\.mp4 in .*line 2"):
        read(write(tmp_path / "m.csv", text))


def test_input_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.mp4: cannot be opened: No such file"):
        read(tmp_path / "absent.mp4")
    with pytest.raises(InputError, match=r"ftp://host/a\.mp4: only s3://"):
        read("ftp://host/a.mp4")
    with pytest.raises(InputError, match=r"--root .*absent: no such folder"):
        read("-", root=tmp_path / "absent", lines=[])


@pytest.mark.parametrize("path", ["../out.mp4", "in/../../out.mp4", "/etc/out.mp4", "leaving.mp4", "away/out.mp4"])
@pytest.mark.parametrize("column", ["video", "subtitle"])
def test_paths_that_leave_the_root_are_refused(tmp_path: Path, path: str, column: str) -> None:
    write(tmp_path / "out/out.mp4", "x")
    write(tmp_path / "root/in.mp4", "x")
    (tmp_path / "root/leaving.mp4").symlink_to(tmp_path / "out/out.mp4")
    (tmp_path / "root/away").symlink_to(tmp_path / "out")
    (tmp_path / "root/within.mp4").symlink_to("in.mp4")
    cells = f"{path},in.vtt" if column == "video" else f"in.mp4,{path}"
    file = write(tmp_path / "m.csv", f"video,subtitle\nin.mp4,\nwithin.mp4,\n{cells}\n")
    with pytest.raises(InputError, match=r"m\.csv, line 4: .* is outside of --root"):
        read(file, root=tmp_path / "root")


def test_inputs_outside_of_the_root_are_refused(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    file = write(tmp_path / "out/a.mp4", "x")
    for given_input in (file, file.parent):
        with pytest.raises(InputError, match=r"a\.mp4 is outside of --root"):
            read(given_input, root=tmp_path / "root")
    with pytest.raises(InputError, match=r"standard input, line 2: \.\./a\.mp4 is outside of --root"):
        read("-", root=tmp_path / "root", lines=["b.mp4", "../a.mp4"])
