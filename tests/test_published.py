"""Published manifests, as they are published: every row finds its clip, nothing is cut, what is missing is told."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.make_videos import noise_scene, write_video
from vidlabel.cli import app
from vidlabel.data import Span, Video, stable_id
from vidlabel.errors import InputError
from vidlabel.manifest import read_inputs
from vidlabel.manifests.index import FileIndex
from vidlabel.manifests.literals import MAX_LITERAL
from vidlabel.manifests.sets import ManifestFormat

PANDA = (
    "videoID,url,timestamp,caption,matching_score,desirable_filtering,shot_boundary_detection\n"
    "-2yHu5qgTzM,https://www.youtube.com/watch?v=-2yHu5qgTzM,"
    "\"[['0:01:20.880', '0:01:23.983'], ['0:02:00.000', '0:02:05.500']]\","
    '"[\'A neuron in a black background.\', \'It\\\'s a ""cell"".\']","[0.4514, 0.5]",'
    "\"['desirable', '0_low_desirable_score']\","
    "\"[[['0:00:00.000', '0:00:03.069']], [['0:00:00.000', '0:00:05.500']]]\"\n"
)
HDVILA = (
    '{"video_id":"QMi8x8o55Ns","url":"https://www.youtube.com/watch?v=QMi8x8o55Ns",'
    '"clip":[{"clip_id":"QMi8x8o55Ns.1.mp4","span":["00:00:17.759","00:00:23.279"]},'
    '{"clip_id":"QMi8x8o55Ns.2.mp4","span":["00:00:30.000","00:00:33.000"]}]}\n'
)
INTERNVID = (
    '{"YoutubeID":"qJrOyggIB-w","Start_timestamp":"00:07:33.689","End_timestamp":"00:07:51.085",'
    '"Caption":"a screen shot","Aesthetic_Score":4.29,"UMT_Score":0.45}\n'
)
WEBVID = (
    "videoid,name,page_idx,page_dir,duration,contentUrl\n"
    "1053841541,Travel blogger shoot a story,27732,027701_027750,PT00H00M17S,https://host/1053841541.mp4\n"
)
KOALA = (
    "videoID,url,timestamp,caption,clarity_score,aesthetic_score,motion_score,video_training_suitability_score\n"
    "_a_b-c_d_e-_12,https://youtu.be/_a_b-c_d_e-,\"['0:00:10.000', '0:00:20.000']\",A cat.,0.9,4.5,3,2.1\n"
)
OPENVID = (
    "video,caption,aesthetic score,motion score,temporal consistency score,camera motion,frame,fps,seconds\n"
    "---_iRTHryQ_13_0to241.mp4,cap a,5.1,3.2,0.99,static,241,24.0,4.1\n"
)
MIRADATA = (
    "index,video_id,start_frame,end_frame,main_object_caption,background_caption,style_caption,camera_caption,"
    "short_caption,dense_caption,fps,start_timestep,end_timestep,,\n"
    "000000008783_AJp-ANXoGoM-000114,AJp-ANXoGoM,300,390,m,b,s,c,sh,d,30,0:00:10,0:00:13,,\n"
)


def read(
    manifest: Path, manifest_format: ManifestFormat = "auto", video_root: Path | None = None, root: Path | None = None
) -> list[Video]:
    return list(
        read_inputs(
            [str(manifest)],
            root=None if root is None else str(root),
            lines=None,
            manifest_format=manifest_format,
            video_root=None if video_root is None else str(video_root),
        )
    )


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def places(videos: Sequence[Video], folder: Path) -> list[tuple[str, Span | None]]:
    return [(str(Path(video.location).relative_to(folder)), video.span) for video in videos]


# --- each set: by its header alone, the cut clips and the source videos, under every name that people give them


@pytest.mark.parametrize(
    ("extension", "text", "files", "expected"),
    [
        ("csv", PANDA, ["-2yHu5qgTzM_0.mp4", "x/-2yHu5qgTzM_1.mp4"], [None, None]),
        ("csv", PANDA, ["-2yHu5qgTzM.0.mp4", "-2yHu5qgTzM.1.mp4"], [None, None]),
        ("csv", PANDA, [f"panda70m_part_7/-2yHu5qgTzM/-2yHu5qgTzM_segment_{i}.mp4" for i in (0, 1)], [None, None]),
        ("csv", PANDA, ["-2yHu5qgTzM.mkv"], [Span(80.88, 83.983), Span(120.0, 125.5)]),
        ("csv", PANDA, ["A title. [of it] [-2yHu5qgTzM].webm"], [Span(80.88, 83.983), Span(120.0, 125.5)]),
        ("jsonl", HDVILA, [f"video_clips/QMi8x8o55Ns/QMi8x8o55Ns.{i}.mp4" for i in (1, 2)], [None, None]),
        ("jsonl", HDVILA, ["download_videos/QMi8x8o55Ns.mp4"], [Span(17.759, 23.279), Span(30.0, 33.0)]),
        ("jsonl", INTERNVID, ["qJrOyggIB-w_00:07:33.689_00:07:51.085.mp4"], [None]),
        ("jsonl", INTERNVID, ["qJrOyggIB-w.mp4"], [Span(453.689, 471.085)]),
        ("csv", WEBVID, ["videos/027701_027750/1053841541.mp4"], [None]),
        ("csv", WEBVID, ["1053841541.mp4"], [None]),
        ("csv", KOALA, ["_a_b-c_d_e-_12.mp4"], [None]),
        ("csv", KOALA, ["_a_b-c_d_e-.mp4"], [Span(10.0, 20.0)]),
        ("csv", OPENVID, ["part1/---_iRTHryQ_13_0to241.mp4"], [None]),
        ("csv", MIRADATA, ["clip_video/000000008/000000008783_AJp-ANXoGoM-000114.mp4"], [None]),
        ("csv", MIRADATA, ["raw_video/000000008/000000008783_AJp-ANXoGoM.mp4"], [Span(10.0, 13.0)]),
        ("csv", MIRADATA, ["raw_video/000000008/000000008783_AJp.mp4"], [Span(10.0, 13.0)]),  # as its script names it
        ("csv", MIRADATA, ["AJp-ANXoGoM.mp4"], [Span(10.0, 13.0)]),
    ],
)
def test_rows_find_their_files_by_the_sets_own_names(
    tmp_path: Path, extension: str, text: str, files: list[str], expected: list[Span | None]
) -> None:
    videos = tmp_path / "videos"
    for file in [*files, "notes/-2yHu5qgTzM.txt", "other.mp4"]:
        write(videos / file, "x")
    found = read(write(tmp_path / f"set.{extension}", text), video_root=videos)
    assert places(found, videos) == [
        (files[at] if len(files) > 1 else files[0], span) for at, span in enumerate(expected)
    ]
    assert [video.path for video in found] == [path for path, _ in places(found, videos)]


def test_a_cut_clip_is_taken_before_its_source(tmp_path: Path) -> None:
    for name in ("-2yHu5qgTzM.mp4", "-2yHu5qgTzM_1.mp4"):
        write(tmp_path / name, "x")
    found = read(write(tmp_path / "p.csv", PANDA))
    assert places(found, tmp_path) == [("-2yHu5qgTzM.mp4", Span(80.88, 83.983)), ("-2yHu5qgTzM_1.mp4", None)]


def test_captions_and_scores_go_with_their_clip(tmp_path: Path) -> None:
    write(tmp_path / "-2yHu5qgTzM.mp4", "x")
    first, second = read(write(tmp_path / "p.csv", PANDA))
    assert (first.video_id, first.clip_id) == ("-2yHu5qgTzM", None)
    assert first.extra == {
        "videoID": "-2yHu5qgTzM",
        "url": "https://www.youtube.com/watch?v=-2yHu5qgTzM",
        "timestamp": ["0:01:20.880", "0:01:23.983"],
        "caption": "A neuron in a black background.",
        "matching_score": 0.4514,
        "desirable_filtering": "desirable",
        "shot_boundary_detection": [["0:00:00.000", "0:00:03.069"]],
        "clip_index": 0,
    }
    assert (second.extra["caption"], second.extra["matching_score"]) == ('It\'s a "cell".', 0.5)


def test_ids_and_scores_of_the_other_sets(tmp_path: Path) -> None:
    for name in (
        "QMi8x8o55Ns.mp4",
        "qJrOyggIB-w.mp4",
        "_a_b-c_d_e-.mp4",
        "---_iRTHryQ_13_0to241.mp4",
        "1053841541.mp4",
    ):
        write(tmp_path / "v" / name, "x")

    def only(name: str, text: str) -> Video:
        return read(write(tmp_path / name, text), video_root=tmp_path / "v")[0]

    clip = only("h.jsonl", HDVILA)
    assert (clip.video_id, clip.clip_id) == ("QMi8x8o55Ns", "QMi8x8o55Ns.1.mp4")
    assert clip.extra["span"] == ["00:00:17.759", "00:00:23.279"]
    assert "clip" not in clip.extra
    clip = only("i.jsonl", INTERNVID)
    assert (clip.extra["Caption"], clip.extra["Aesthetic_Score"], clip.extra["UMT_Score"]) == (
        "a screen shot",
        4.29,
        0.45,
    )
    clip = only("k.csv", KOALA)
    assert (clip.video_id, clip.clip_id) == ("_a_b-c_d_e-", "_a_b-c_d_e-_12")
    assert (clip.extra["motion_score"], clip.extra["caption"]) == (3.0, "A cat.")
    clip = only("o.csv", OPENVID)
    assert (clip.video_id, clip.extra["temporal consistency score"]) == (stable_id("---_iRTHryQ_13_0to241.mp4"), 0.99)
    clip = only("w.csv", WEBVID)
    assert (clip.extra["duration"], clip.extra["name"]) == ("PT00H00M17S", "Travel blogger shoot a story")


def test_columns_may_come_in_any_order_and_releases_may_lack_some(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", "x")
    write(tmp_path / "7.mp4", "x")
    old = "caption,matching_score,timestamp,videoID\n\"['c']\",[0.5],\"[['0:00:01.000', '0:00:02.000']]\",a\n"
    (clip,) = read(write(tmp_path / "p.csv", old))
    assert (clip.span, clip.extra["caption"]) == (Span(1.0, 2.0), "c")
    (clip,) = read(write(tmp_path / "w.csv", "page_dir,contentUrl,VideoID\n1_50,u,7\n"))
    assert (clip.path, clip.span) == ("7.mp4", None)


def test_mira_without_frame_numbers_takes_its_time_steps(tmp_path: Path) -> None:
    write(tmp_path / "v.mp4", "x")
    text = "index,video_id,start_timestep,end_timestep\n0_v-1,v,0:00:10,0:00:13\n"
    assert read(write(tmp_path / "m.csv", text))[0].span == Span(10.0, 13.0)


# --- video2dataset


def test_shards_of_video2dataset_name_their_clips_by_key(tmp_path: Path) -> None:
    for name in ("00000/000000000_00000.mp4", "00000/000000000_00001.mp4", "00000/000000003.mp4"):
        write(tmp_path / name, "x")
    url = "https://www.youtube.com/watch?v=-2yHu5qgTzM"
    rows = [
        {"url": url, "key": "000000000_00000", "clips": [["00:00:01.000", "00:00:02.000"]], "status": "success"},
        {"url": url, "key": "000000000_00001", "clips": [["00:00:03.000", "00:00:04.000"]], "status": "success"},
        {"url": "https://youtu.be/failed_one0", "key": "000000001", "clips": None, "status": "failed_to_download"},
        {"url": "https://youtu.be/whole_video", "key": "000000003", "clips": None, "status": "success"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "00000.parquet")
    found = read(tmp_path / "00000.parquet")
    assert places(found, tmp_path) == [
        ("00000/000000000_00000.mp4", None),
        ("00000/000000000_00001.mp4", None),
        ("00000/000000003.mp4", None),
    ]
    assert found[1].extra["clips"] == [["00:00:03.000", "00:00:04.000"]]


@pytest.mark.parametrize(
    "clips", ["[['00:00:01.000', '00:00:02.500'], ['00:00:03.000', '00:00:04.000']]", "[[1, 2.5], [3, 4]]"]
)
def test_list_of_addresses_for_video2dataset_names_spans_of_the_sources(tmp_path: Path, clips: str) -> None:
    write(tmp_path / "-2yHu5qgTzM.mp4", "x")
    file = tmp_path / "list.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [["url", "caption", "clips"], ["https://www.youtube.com/watch?v=-2yHu5qgTzM&t=3", "c", clips]]
        )
    found = read(file)
    assert places(found, tmp_path) == [("-2yHu5qgTzM.mp4", Span(1.0, 2.5)), ("-2yHu5qgTzM.mp4", Span(3.0, 4.0))]


def test_one_pair_is_one_clip_and_keys_with_a_number_are_cut_files(tmp_path: Path) -> None:
    write(tmp_path / "000000007_00000.mp4", "x")
    rows: list[Mapping[str, object]] = [{"url": "u", "key": "000000007", "clips": [[1.0, 2.0], [2.0, 3.0]]}]
    assert places(read(write(tmp_path / "a.jsonl", json.dumps(rows[0]))), tmp_path) == [("000000007_00000.mp4", None)]
    write(tmp_path / "abcdefghijk.mp4", "x")
    row = {"url": "https://youtu.be/abcdefghijk", "clip": [1.0, 2.0]}
    assert places(read(write(tmp_path / "b.jsonl", json.dumps(row))), tmp_path) == [("abcdefghijk.mp4", Span(1.0, 2.0))]


# --- recognised or told


def test_plain_manifests_stay_plain_and_the_option_overrules_what_auto_sees(tmp_path: Path) -> None:
    write(tmp_path / "v/a.mp4", "x")
    text = OPENVID.replace("---_iRTHryQ_13_0to241", "a")
    file = write(tmp_path / "o.csv", text)
    assert read(file)[0].path == "v/a.mp4"
    assert read(file, "plain")[0].location == f"{tmp_path}/a.mp4"
    both = write(tmp_path / "b.csv", "video,videoID,timestamp,matching_score\nv/a.mp4,a,,\n")
    assert read(both)[0].extra["videoID"] == "a"
    few = write(tmp_path / "f.csv", "video,caption\na.mp4,c\n")
    assert read(few, "openvid")[0].path == "v/a.mp4"


def test_wrong_option_is_one_line_that_names_it(tmp_path: Path) -> None:
    write(tmp_path / "v/a.mp4", "x")
    plain = write(tmp_path / "p.csv", "video\na.mp4\n")
    for arguments, message in (
        ({"video_root": tmp_path / "v"}, r"--video-root .*/v: belongs to published manifests"),
        (
            {"manifest_format": "panda70m"},
            r"p\.csv, line 2: panda70m has a column timestamp, which is missing among video",
        ),
        ({"video_root": tmp_path / "absent"}, r"--video-root .*absent: no such folder"),
    ):
        with pytest.raises(InputError, match=message):
            read(plain, **arguments)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"--manifest-format hdvila: none of the inputs is a manifest with rows"):
        read(tmp_path / "v", "hdvila")


# --- what is wrong with a row


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "p.csv",
            PANDA.replace("[['0:01:20.880'", "[[open('x')"),
            "p.csv, line 2: column timestamp is no list as Python",
        ),
        ("p.csv", PANDA.replace("'0:01:20.880'", "'soon'"), "p.csv, line 2: column timestamp: 'soon' is no time"),
        (
            "p.csv",
            PANDA.replace(", '0:01:23.983']", "]"),
            "p.csv, line 2: column timestamp must hold pairs of start and end",
        ),
        (
            "p.csv",
            PANDA.replace("[0.4514, 0.5]", "[0.4514]"),
            "p.csv, line 2: column matching_score has 1 entries for 2",
        ),
        ("p.csv", PANDA.replace("\n-2yHu5qgTzM,", "\n,"), "p.csv, line 2: column videoID is empty"),
        (
            "h.jsonl",
            HDVILA.replace('"clip_id"', '"clipid"'),
            "h.jsonl, line 1: column clip must hold objects with clip_id",
        ),
        (
            "h.jsonl",
            HDVILA.replace('"00:00:17.759"', "null"),
            "h.jsonl, line 1: column clip must hold a start and an end",
        ),
        (
            "k.csv",
            KOALA.replace("['0:00:10.000', '0:00:20.000']", "[" * 9999),
            "k.csv, line 2: column timestamp is no list",
        ),
        ("m.csv", MIRADATA.replace(",30,", ",fast,"), "m.csv, line 2: column fps must be a number, got 'fast'"),
    ],
)
def test_wrong_row_is_one_line_that_names_file_row_and_column(
    tmp_path: Path, name: str, text: str, message: str
) -> None:
    for file in ("-2yHu5qgTzM.mp4", "QMi8x8o55Ns.mp4"):
        write(tmp_path / file, "x")
    with pytest.raises(InputError) as caught:
        read(write(tmp_path / name, text))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_huge_cells_are_read_and_those_beyond_all_reason_refused(tmp_path: Path) -> None:
    write(tmp_path / "v.mp4", "x")
    num_clips = 9000
    spans = [[f"0:00:{second % 60:02d}.{second // 60:03d}", "0:01:00.000"] for second in range(num_clips)]
    captions = ["a long caption with a backslash \\d" for _ in spans]
    assert len(repr(spans)) > 131_072 * 2

    def panda(**cells: str) -> Path:
        row = {"videoID": "v", "timestamp": repr(spans), "caption": repr(captions), "matching_score": "[]"} | cells
        with (tmp_path / "p.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(row))
            writer.writeheader()
            writer.writerow(row)
        return tmp_path / "p.csv"

    found = read(panda(matching_score=repr([0.5] * num_clips)))
    assert len(found) == num_clips
    assert found[-1].extra["caption"] == captions[-1]
    with pytest.raises(InputError, match=r"line 2: column timestamp is 8,388,610 characters long; at most 8,388,608"):
        read(panda(timestamp="[" + " " * MAX_LITERAL + "]"))


# --- what has no file


def test_rows_without_a_file_are_counted_with_examples(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "videos/there_00000.mp4", "x")
    write(tmp_path / "videos/-2yHu5qgTzM_1.mp4", "x")
    gone = PANDA.splitlines()[1].replace("-2yHu5qgTzM", "gone_number0")
    file = write(tmp_path / "p.csv", PANDA + "".join(gone.replace("number0", f"number{i}") + "\n" for i in range(5)))
    with caplog.at_level(logging.WARNING):
        found = read(file, video_root=tmp_path / "videos")
    assert [video.path for video in found] == ["-2yHu5qgTzM_1.mp4"]
    missing, clips = [record.getMessage() for record in caplog.records]
    assert "p.csv: 5 of 6 rows found no file among the 2 videos below" in missing
    assert "p.csv, line 3 (looked for gone_number0...)" in missing
    assert "line 5 (" in missing
    assert "line 6 (" not in missing
    assert "p.csv: 1 of 2 clips found no file, of rows where others have one" in clips


def test_spans_without_length_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "-2yHu5qgTzM.mp4", "x")
    found = read(
        write(
            tmp_path / "p.csv", PANDA.replace("0:02:05.500'],", "0:02:00.000']").replace("0:02:05.500", "0:02:00.000")
        )
    )
    assert [video.span for video in found] == [Span(80.88, 83.983)]
    assert "p.csv: 1 clips have no length and are left out, e.g. " in caplog.text


def test_of_two_files_of_one_name_the_one_nearest_to_the_top_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("b/1053841541.mp4", "a/x/1053841541.mp4", "z/027701_027750/1053841541.mp4"):
        write(tmp_path / name, "x")
    assert read(write(tmp_path / "w.csv", WEBVID))[0].path == "z/027701_027750/1053841541.mp4"
    assert caplog.text == ""
    assert read(write(tmp_path / "w.csv", WEBVID.replace("027701_", "9_")))[0].path == "b/1053841541.mp4"
    assert "1 clips have several files of their name; the one nearest to the top counts" in caplog.text


# --- where files may lie


def test_ids_are_made_of_paths_from_the_root_that_was_given_and_else_of_whole_paths(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        write(tmp_path / folder / "1053841541.mp4", "x")
        write(tmp_path / folder / "w.csv", WEBVID)
    found = read_inputs([f"{tmp_path}/one/w.csv", f"{tmp_path}/two/w.csv"], root=None, lines=None)
    assert len({video.video_id for video in found}) == 2
    (video,) = read(tmp_path / "one/w.csv", video_root=tmp_path / "one")
    assert video.video_id == stable_id("1053841541.mp4")
    (video,) = read(tmp_path / "one/w.csv", root=tmp_path)
    assert (video.path, video.video_id) == ("one/1053841541.mp4", stable_id("one/1053841541.mp4"))


def test_links_that_leave_the_video_root_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "out/1053841541.mp4", "x")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/away").symlink_to(tmp_path / "out")
    with pytest.raises(InputError, match=r"w\.csv, line 2: away/1053841541\.mp4 is outside of --video-root"):
        read(write(tmp_path / "w.csv", WEBVID), video_root=tmp_path / "in")
    with pytest.raises(InputError, match=r"--video-root .*/in: .* is outside of --root"):
        read(tmp_path / "w.csv", video_root=tmp_path / "in", root=tmp_path / "out")


def test_index_finds_exact_names_only(tmp_path: Path) -> None:
    for name in (
        "a.b.mp4",
        "A.MP4",
        "deep/a_1.mkv",
        "deep/er/a_1.mp4",
        ".hidden/x.mp4",
        "part.mp4.part",
        "t [id-1].mp4",
    ):
        write(tmp_path / name, "x")
    index = FileIndex(str(tmp_path))
    assert index.num_files == 5
    assert index.find(["a", "a.b"]) == ["a.b.mp4"]
    assert index.find(["A"]) == ["A.MP4"]
    assert index.find(["a_1"]) == ["deep/a_1.mkv", "deep/er/a_1.mp4"]
    assert index.find(["er/a_1"]) == ["deep/er/a_1.mp4"]
    assert index.find(["p/a_1", "id-1"]) == ["t [id-1].mp4"]
    assert index.find(["x", "part", "part.mp4", ""]) == []


def test_index_knows_which_ids_begin_no_name(tmp_path: Path) -> None:
    for name in ("-2yHu5qgTzM_3.mp4", "A title [_a_b-c_d_e-].webm"):
        write(tmp_path / name, "x")
    index = FileIndex(str(tmp_path))
    assert [index.may_hold(id_) for id_ in ("-2yHu5qgTzM", "_a_b-c_d_e-", "-2yHu5qgTzN", "too short")] == [
        True,
        True,
        False,
        True,
    ]


# --- end to end


@pytest.fixture(scope="module")
def panda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of three rows: a source, a cut clip, and one whose video is gone."""
    folder = tmp_path_factory.mktemp("panda")
    (folder / "videos").mkdir()
    images = noise_scene(75, (200, 60, 40), width=64, height=48, seed=1)
    write_video(folder / "videos/-2yHu5qgTzM.mp4", images)
    write_video(folder / "videos/_cut_video__0.mp4", images[:25])
    rows = [
        ["videoID", "url", "timestamp", "caption", "matching_score"],
        [
            "-2yHu5qgTzM",
            "u",
            "[['0:00:00.500', '0:00:01.500'], ['0:00:01.500', '0:00:02.900']]",
            "['one', 'two']",
            "[0.1, 0.2]",
        ],
        ["_cut_video_", "u", "[['0:10:00.500', '0:10:01.500']]", "['three']", "[0.3]"],
        ["not_on_disk", "u", "[['0:00:00.000', '0:00:01.000']]", "['four']", "[0.4]"],
    ]
    with (folder / "panda70m_testing.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return folder


def test_published_set_is_captioned_without_cutting_anything(panda: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.parquet"
    arguments = ["--model", "echo", "--video-root", str(panda / "videos"), "--out", str(out)]
    done = CliRunner().invoke(app, ["caption", str(panda / "panda70m_testing.csv"), *arguments])
    assert done.exit_code == 0, done.output
    assert "1 of 3 rows found no file" in done.stderr
    before = pq.read_table(out).to_pylist()
    labels = sorted(before, key=lambda label: str(label["manifest_caption"]))
    assert [
        (
            label["manifest_caption"],
            label["matching_score"],
            label["video_path"],
            label["start_seconds"],
            label["end_seconds"],
        )
        for label in labels
    ] == [
        ("one", 0.1, "-2yHu5qgTzM.mp4", 0.5, 1.5),
        ("three", 0.3, "_cut_video__0.mp4", 0.0, 1.0),
        ("two", 0.2, "-2yHu5qgTzM.mp4", 1.5, 2.9),
    ]
    assert sorted(path.name for path in (panda / "videos").iterdir()) == ["-2yHu5qgTzM.mp4", "_cut_video__0.mp4"]
    again = CliRunner().invoke(app, ["caption", str(panda / "panda70m_testing.csv"), *arguments])
    assert again.exit_code == 0, again.output
    assert [label["label_id"] for label in pq.read_table(out).to_pylist()] == [label["label_id"] for label in before]


def test_split_makes_of_a_published_set_a_manifest_that_caption_takes(panda: Path, tmp_path: Path) -> None:
    clips = tmp_path / "clips.jsonl"
    arguments = ["--manifest-format", "panda70m", "--video-root", str(panda / "videos"), "--out", str(clips)]
    done = CliRunner().invoke(app, ["split", str(panda / "panda70m_testing.csv"), *arguments])
    assert done.exit_code == 0, done.output
    assert [row["caption"] for row in map(json.loads, clips.read_text().splitlines())] == ["one", "two", "three"]
    assert len(read(clips)) == 3


def test_questions_beside_a_published_row_are_asked(panda: Path, tmp_path: Path) -> None:
    row = {"YoutubeID": "-2yHu5qgTzM", "Start_timestamp": "0:00:01", "End_timestamp": "0:00:02", "question": "Who?"}
    file = write(tmp_path / "q.jsonl", json.dumps(row))
    arguments = ["--model", "echo", "--video-root", str(panda / "videos"), "--out", str(tmp_path / "qa.jsonl")]
    done = CliRunner().invoke(app, ["qa", str(file), *arguments])
    assert done.exit_code == 0, done.output
    (label,) = map(json.loads, (tmp_path / "qa.jsonl").read_text().splitlines())
    assert (label["question"], label["start_seconds"], label["end_seconds"]) == ("Who?", 1.0, 2.0)
