"""Subtitles: cue files as they are found in the wild, rolling captions, which file belongs to which video."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.make_videos import numbered_frames, write_video
from vidlabel.cue_files import ShownCue, decode_text, parse_cues, read_cue_file
from vidlabel.data import Cue, Video
from vidlabel.errors import VideoError
from vidlabel.rolling_cues import read_once
from vidlabel.subtitles import cut_cues, find_cues

VTT = "WEBVTT\n\n00:01.000 --> 00:02.500\n{}\n"
SRT = "1\n00:00:01,000 --> 00:00:02,500\n{}\n"

FRENCH = "Où est le garçon ? Là-bas, à côté de la fenêtre, il rêve d'être à la plage."
CHINESE = "今天我们去公园看看花，那里的风景真的非常漂亮，你想不想一起去呢？"
RUSSIAN = "Сегодня мы пойдём в парк смотреть на цветы"
JAPANESE = "今日は公園へ花を見に行きましょう。とても綺麗ですよ"
KOREAN = "오늘 우리는 공원에 꽃을 보러 갑니다 같이 가실래요"


def video_at(path: Path, subtitle: Path | None = None) -> Video:
    return Video("v", path.name, str(path), subtitle=None if subtitle is None else str(subtitle))


def texts(cues: list[ShownCue]) -> list[str]:
    return [" / ".join(cue.lines) for cue in cues]


# --- reading cue files


@pytest.mark.parametrize(
    ("timing", "start", "end"),
    [
        ("00:00:01.000 --> 00:00:02.500", 1.0, 2.5),
        ("00:00:01,000 --> 00:00:02,500", 1.0, 2.5),
        ("00:01.000 --> 00:02.500 align:start position:0%", 1.0, 2.5),
        ("100:00:01.005-->100:00:02.5", 360001.005, 360002.5),
        ("0:0:1 -> 0:0:2 X1:40 X2:600 Y1:20 Y2:50", 1.0, 2.0),
        ("00:00:01:000 --> 00:00:02:500", 1.0, 2.5),
    ],
)
@pytest.mark.parametrize("head", ["WEBVTT - title\nKind: captions\nLanguage: en\n\n", "\ufeff1\n"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_timing_lines_are_read_however_they_are_written(
    timing: str, start: float, end: float, head: str, newline: str
) -> None:
    text = f"{head}{timing}\nhello\nworld\n".replace("\n", newline)
    assert parse_cues(text) == [ShownCue(start, end, ("hello", "world"))]


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<v Bob>Hello <i>there</i></v>", "Hello there"),
        ("<v.loud Mary Ann>Hi", "Hi"),
        ("one<00:00:01.200><c.yellow> two</c><00:00:01.400><c> three</c>", "one two three"),
        (r"{\an8}{\i1}up{\i0} there", "up there"),
        ('<font color="#fff">red</font>', "red"),
        ("Tom &amp; Jerry&nbsp;&lt;3&lrm;", "Tom & Jerry <3"),
        ("a < b and c > d, I <3 you", "a < b and c > d, I <3 you"),
        ("[Music]", "[Music]"),
        (r"two\Nlines", "two lines"),
    ],
)
@pytest.mark.parametrize("layout", [VTT, SRT])
def test_tags_go_and_words_stay(layout: str, written: str, read: str) -> None:
    assert texts(parse_cues(layout.format(written))) == [read]


def test_webvtt_notes_styles_regions_and_identifiers_are_not_text() -> None:
    text = (
        "WEBVTT\nX-TIMESTAMP-MAP=LOCAL:00:00:00.000,MPEGTS:900000\n\nSTYLE\n::cue { color: red }\n\n"
        "REGION\nid:fred\nwidth:40%\n\nNOTE\nnot to be\nshown\n\nintro\n00:01.000 --> 00:02.000\nfirst\n\n"
        "NOTE later\n\n00:03.000 --> 00:04.000\nsecond\n00:05.000 --> 00:06.000\nthird\n"
    )
    assert parse_cues(text) == [
        ShownCue(1.0, 2.0, ("first",)),
        ShownCue(3.0, 4.0, ("second",)),
        ShownCue(5.0, 6.0, ("third",)),
    ]


def test_damaged_srt_gives_its_good_cues_in_order_of_time() -> None:
    text = (
        "junk\n\n3\n00:00:05,000 --> 00:00:06,000\n\nlate\n\nafter an empty line\n"
        "4\n00:00:01,000 --> 00:00:02,000\n1984\n\n"
        "5\n00:00:03,000 --> 00:00:02,000\nends before it starts\n\n"
        "6\n00:00:xx --> 00:00:09,000\n\n7\n00:00:07,000 --> 00:00:08,000\n<i></i>\n"
    )
    cues = parse_cues(text)
    assert [cue.start_seconds for cue in cues] == [1.0, 5.0]
    assert texts(cues) == ["1984", "late / after an empty line"]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (CHINESE, "utf-8"),
        (CHINESE, "utf-8-sig"),
        (CHINESE, "utf-16"),
        (FRENCH, "utf-16-le"),
        (FRENCH, "utf-16-be"),
        (FRENCH, "latin-1"),
        ("“Café – naïve”", "cp1252"),
        (CHINESE, "gbk"),
        ("你好", "gb2312"),
        ("plain", "ascii"),
    ],
)
def test_encodings_are_told_apart(text: str, encoding: str) -> None:
    assert texts(parse_cues(decode_text(SRT.format(text).encode(encoding)))) == [text]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [(RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (JAPANESE, "shift_jis"), (JAPANESE, "euc_jp"), (KOREAN, "euc_kr")],
)
def test_other_encodings_are_refused_rather_than_read_as_nonsense(text: str, encoding: str) -> None:
    with pytest.raises(ValueError, match="save it as UTF-8"):
        decode_text(SRT.format(text).encode(encoding))


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        cues = parse_cues(decode_text(data))
    except ValueError:
        return
    assert all(cue.end_seconds > cue.start_seconds and cue.lines for cue in cues)


def test_file_that_is_no_cue_file_is_refused_and_an_empty_one_is_not(tmp_path: Path) -> None:
    file = tmp_path / "x.srt"
    for junk in (b"<html>hello</html>", bytes(range(1, 255)) * 9):
        file.write_bytes(junk)
        with pytest.raises(ValueError, match=r"no cue in it|encoding"):
            read_cue_file(file)
    for empty in (b"", b"\n \n", b"WEBVTT\n", "\ufeffWEBVTT\n\nNOTE nothing said\n".encode()):
        file.write_bytes(empty)
        assert read_cue_file(file) == []


def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.vtt")
    with pytest.raises(ValueError, match="not a regular file"):
        read_cue_file(tmp_path / "x.vtt")


# --- running speech


def test_rolling_automatic_captions_read_as_the_running_speech_once() -> None:
    cues = parse_cues(
        "WEBVTT\nKind: captions\nLanguage: en\n\n"
        "00:00:00.000 --> 00:00:02.000 align:start position:0%\n \nhello<00:00:00.500><c> dear</c><c> friends</c>\n\n"
        "00:00:02.000 --> 00:00:02.010 align:start position:0%\nhello dear friends\n \n\n"
        "00:00:02.010 --> 00:00:04.000 align:start position:0%\nhello dear friends\nhello<c> dear</c><c> world</c>\n\n"
        "00:00:04.000 --> 00:00:04.010 align:start position:0%\nhello dear world\n \n\n"
        "00:00:07.000 --> 00:00:09.000 align:start position:0%\nhello dear world\n[Music]\n\n"
    )
    assert read_once(cues) == (
        Cue(0.0, 2.01, "hello dear friends"),
        Cue(2.01, 4.01, "hello dear world"),
        Cue(7.0, 9.0, "[Music]"),
    )


def test_three_line_roll_up_and_growing_lines_read_once() -> None:
    shown = [
        ShownCue(0, 1, ("one two",)),
        ShownCue(1, 2, ("one two", "three")),
        ShownCue(2, 3, ("one two", "three four")),
        ShownCue(3, 4, ("one two", "three four", "five six")),
        ShownCue(4, 5, ("three four", "five six", "seven")),
    ]
    assert [(cue.start_seconds, cue.text) for cue in read_once(shown)] == [
        (0, "one two"),
        (1, "three"),
        (2, "four"),
        (3, "five six"),
        (4, "seven"),
    ]


def test_growing_chinese_lines_read_once() -> None:
    shown = [ShownCue(i, i + 1, ("今天天气很好"[: 2 * i + 2],)) for i in range(3)]
    assert [cue.text for cue in read_once(shown)] == ["今天", "天气", "很好"]


def test_text_shown_in_two_cues_is_one_and_text_said_again_is_two() -> None:
    shown = [ShownCue(0, 1, ("Wait!",)), ShownCue(1, 2, ("Wait!",)), ShownCue(5, 6, ("Wait!",))]
    assert read_once(shown) == (Cue(0, 2, "Wait!"), Cue(5, 6, "Wait!"))


def test_ordinary_dialogue_keeps_its_repeated_words() -> None:
    said = ["No", "No, wait", "wait for me", "I know", "I know you know", "you know"]
    shown = [ShownCue(3 * i, 3 * i + 2, (text,)) for i, text in enumerate(said)]
    assert [cue.text for cue in read_once(shown)] == said
    assert [cue.text for cue in read_once([ShownCue(0, 1, ("No",)), ShownCue(1, 2, ("No, wait",))])] == said[:2]


@given(st.lists(st.sampled_from("abcd"), min_size=3, max_size=12), st.integers(2, 4))
def test_every_roll_up_gives_back_the_lines_that_were_said(letters: list[str], height: int) -> None:
    lines = [f"{letter} {number}" for number, letter in enumerate(letters)]
    shown = [ShownCue(i, i + 1, tuple(lines[max(0, i - height + 1) : i + 1])) for i in range(len(lines))]
    assert read_once(shown) == tuple(Cue(i, i + 1, line) for i, line in enumerate(lines))


# --- cutting


def test_cues_are_cut_to_the_half_open_span() -> None:
    cues = [Cue(0, 2, "before"), Cue(1, 3, "across"), Cue(3, 4, "inside"), Cue(4.5, 9, "over"), Cue(5, 6, "after")]
    assert cut_cues(cues, 2, 5) == (Cue(2, 3, "across"), Cue(3, 4, "inside"), Cue(4.5, 5, "over"))
    assert cut_cues(cues, 20, 30) == ()


# --- finding


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["x.en.vtt", "x.vtt", "x.srt"], "x.vtt"),
        (["x.en.vtt", "x.srt", "x.de-orig.vtt"], "x.srt"),
        (["x.en.vtt", "x.de-orig.vtt"], "x.de-orig.vtt"),
        (["x.de.vtt", "x.en-US.srt", "x.zh-Hans.vtt"], "x.en-US.srt"),
        (["x.zh-Hans.srt", "x.de.srt", "x.de.vtt"], "x.de.vtt"),
        (["x.SRT", "y.vtt", "xx.vtt"], "x.SRT"),
        (["x.y.en.vtt", "x.part2.vtt", "x.en.srt"], "x.en.srt"),
    ],
)
def test_sidecars_are_taken_in_the_documented_order(tmp_path: Path, names: list[str], taken: str) -> None:
    for name in names:
        (tmp_path / name).write_text(VTT.format(name))
    cues, source = find_cues(video_at(tmp_path / "x.mp4"))
    assert (source, [cue.text for cue in cues]) == ("sidecar", [taken])


def test_sidecar_that_comes_or_goes_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "x.vtt"
    file.write_text(VTT.format("now"))
    os.utime(tmp_path, (1e9, 1e9))  # as if nothing had changed for long
    assert find_cues(video_at(tmp_path / "x.mp4"))[1] == "sidecar"
    file.rename(tmp_path / "y.vtt")
    assert find_cues(video_at(tmp_path / "y.mp4"))[1] == "sidecar"


def test_manifest_subtitle_comes_before_a_sidecar(tmp_path: Path) -> None:
    (tmp_path / "x.vtt").write_text(VTT.format("beside"))
    (tmp_path / "other.txt").write_text(SRT.format("named"))
    assert find_cues(video_at(tmp_path / "x.mp4", tmp_path / "other.txt")) == ((Cue(1.0, 2.5, "named"),), "manifest")


def test_manifest_subtitle_that_cannot_be_read_costs_the_video_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"subtitle file .*absent\.vtt: No such file"):
        find_cues(video_at(tmp_path / "x.mp4", tmp_path / "absent.vtt"))
    (tmp_path / "bad.vtt").write_text("hello")
    with pytest.raises(VideoError, match=r"subtitle file .*bad\.vtt: no cue in it"):
        find_cues(video_at(tmp_path / "x.mp4", tmp_path / "bad.vtt"))


def test_sidecar_that_cannot_be_read_costs_only_the_subtitles(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "x.vtt").write_bytes(b"\x81\x8d" * 50)
    assert find_cues(video_at(tmp_path / "x.mp4")) == ((), "unreadable")
    assert "x.vtt cannot be read" in caplog.text


def test_track_inside_the_video_is_read_where_no_file_is_beside_it(tmp_path: Path) -> None:
    said = [(0.0, 0.5, "hello"), (0.5, 1.0, "hello\nworld")]
    file = write_video(tmp_path / "x.mkv", numbered_frames(30), subtitles=said)
    assert find_cues(video_at(file)) == ((Cue(0.0, 0.5, "hello"), Cue(0.5, 1.0, "world")), "track")
    (tmp_path / "x.srt").write_text(SRT.format("beside"))
    assert find_cues(video_at(file))[1] == "sidecar"


def test_video_without_subtitles_is_normal(tmp_path: Path) -> None:
    assert find_cues(video_at(write_video(tmp_path / "x.mp4", numbered_frames(5)))) == ((), "none")
