"""Subtitles from speech: heard where somebody speaks and nowhere else, once a video, and not made up."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.file_server import file_server
from tests.make_speech import (
    FIRST,
    SECOND,
    SENTENCES,
    SPEECH,
    Sound,
    music,
    noise,
    silence,
    sound_of,
    spoken,
    tiny_whisper,
    video_with,
)
from tests.make_videos import make_clip, noise_scene, write_video
from tests.runs import echo_settings, job, label, rows
from vidlabel.cli import app
from vidlabel.config import FrameSettings, Limits, Settings
from vidlabel.data import Cue, Frames, Question, Span
from vidlabel.decoders.sound import SAMPLE_RATE, SoundBlock, sound_blocks
from vidlabel.errors import InputError, VideoError
from vidlabel.executors.speech import SpeechStage
from vidlabel.models.preset import HubFiles
from vidlabel.models.presets import PRESETS, list_presets, resolve
from vidlabel.models.speech import resolve_speech
from vidlabel.speech.activity import FRAME_SECONDS, MAX_FRAMES, Stretch, speech_stretches
from vidlabel.speech.cache import SpeechCache, speech_key
from vidlabel.speech.made_up import believable, is_made_up, without_loops
from vidlabel.speech.transcribing import Speech, transcribe
from vidlabel.speech.whisper import Segment, Transcript, Whisper, language_tag, load_whisper

needs_voice_model = pytest.mark.skipif(
    importlib.util.find_spec("onnxruntime") is None or importlib.util.find_spec("silero_vad") is None,
    reason="needs the extra `whisper`: pip install 'vidlabel[whisper]'",
)
SCRIPT = "<|0.20|> A ball rolls<|1.00|><|1.40|> A dog barks<|2.00|>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_whisper(tmp_path_factory.mktemp("whisper") / "tiny", SCRIPT)


@pytest.fixture(scope="module")
def whisper(folder: Path) -> Whisper:
    return load_whisper(folder, "cpu")


def command(*words: str, home: Path) -> Result:
    return CliRunner().invoke(app, list(words), env={"VIDLABEL_HOME": str(home)})


def blocks_of(sound: Sound) -> list[SoundBlock]:
    return [SoundBlock(at / SAMPLE_RATE, sound[at : at + 1600], at > 0) for at in range(0, len(sound), 1600)]


def stretch_of(*is_speech: tuple[float, bool], start_seconds: float = 0.0) -> Stretch:
    flags = np.concatenate([np.full(round(seconds / FRAME_SECONDS), speech) for seconds, speech in is_speech])
    return Stretch(start_seconds, np.zeros(len(flags) * 512, np.float32), flags)


# ---- the sound of a file


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_sound_stands_where_it_is_in_the_video(tmp_path: Path, suffix: str) -> None:
    path = video_with(tmp_path / f"a{suffix}", np.concatenate([silence(1.0), noise(1.0)]), start_seconds=0.5)

    blocks = list(sound_blocks(str(path)))
    loud = [block.start_seconds for block in blocks if np.abs(block.samples).max() > 0.05]

    assert blocks[0].start_seconds == pytest.approx(0.5, abs=0.08)
    assert loud[0] == pytest.approx(1.5, abs=0.08)
    assert loud[-1] == pytest.approx(2.5, abs=0.08)
    assert [block.follows for block in blocks] == [False] + [True] * (len(blocks) - 1)


def test_a_video_without_sound_has_none(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", noise_scene(10, (9, 9, 9), width=64, height=48))

    assert list(sound_blocks(str(path))) == []


def test_a_file_that_breaks_off_is_heard_up_to_there(tmp_path: Path) -> None:
    path = video_with(tmp_path / "a.mkv", noise(4.0))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    assert 0.5 < len(sound_of(path)) / SAMPLE_RATE < 3.5


def test_what_is_no_video_is_a_video_error(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video" * 99)

    with pytest.raises(VideoError):
        list(sound_blocks(str(tmp_path / "a.mp4")))


# ---- where there is speech


@needs_voice_model
def test_speech_is_found_where_it_is() -> None:
    first, second = speech_stretches(sound_blocks(str(SPEECH)))

    for stretch, (start, end) in ((first, FIRST), (second, SECOND)):
        assert stretch.start_seconds == pytest.approx(start, abs=0.35)
        assert stretch.start_seconds + stretch.seconds == pytest.approx(end, abs=0.35)
        assert stretch.speech_seconds(0.0, 99.0) > 0.8 * (end - start)


@needs_voice_model
@pytest.mark.parametrize("sound", [silence(5.0), noise(5.0), music(8.0), 0.001 * noise(5.0)])
def test_silence_noise_and_music_are_no_speech(sound: Sound) -> None:
    assert list(speech_stretches(blocks_of(sound))) == []


@needs_voice_model
def test_speech_without_end_is_cut_into_what_whisper_can_hear_and_none_is_lost() -> None:
    sentence = sound_of(SPEECH)[int(FIRST[0] * SAMPLE_RATE) : int(FIRST[1] * SAMPLE_RATE)]
    sound = np.tile(sentence, 15)

    stretches = list(speech_stretches(blocks_of(sound)))

    assert len(stretches) == 2
    assert all(len(stretch.is_speech) <= MAX_FRAMES for stretch in stretches)
    assert stretches[1].start_seconds == pytest.approx(stretches[0].start_seconds + stretches[0].seconds)
    assert sum(stretch.seconds for stretch in stretches) == pytest.approx(len(sound) / SAMPLE_RATE, abs=0.5)


@needs_voice_model
def test_speech_does_not_reach_over_a_gap_in_the_sound() -> None:
    sentence = sound_of(SPEECH)[int(FIRST[0] * SAMPLE_RATE) : int(FIRST[1] * SAMPLE_RATE)]
    later = [replace(block, start_seconds=block.start_seconds + 60.0) for block in blocks_of(sentence)]

    first, second = speech_stretches([*blocks_of(sentence), *later])

    assert first.start_seconds + first.seconds < 5.0
    assert second.start_seconds == pytest.approx(60.0, abs=0.35)


@needs_voice_model
def test_fresh_speech_is_found(tmp_path: Path) -> None:
    if shutil.which("espeak-ng") is None:
        pytest.skip("needs espeak-ng: apt install espeak-ng")
    sound = np.concatenate([silence(1.0), spoken(SENTENCES[1]), silence(1.0)])

    stretches = list(speech_stretches(blocks_of(sound)))

    assert len(stretches) == 1
    assert stretches[0].seconds == pytest.approx(len(sound) / SAMPLE_RATE - 2.0, abs=0.6)


# ---- what is said


@needs_voice_model
def test_cues_stand_where_the_words_are_in_the_video(whisper: Whisper) -> None:
    speech = transcribe(str(SPEECH), whisper)

    starts = [stretch.start_seconds for stretch in speech_stretches(sound_blocks(str(SPEECH)))]
    expected = [
        (start + begin, start + end, text)
        for start in starts
        for begin, end, text in ((0.2, 1.0, "A ball rolls"), (1.4, 2.0, "A dog barks"))
    ]
    assert len(expected) == 4
    assert [cue.text for cue in speech.cues] == [text for _, _, text in expected]
    assert [cue.start_seconds for cue in speech.cues] == pytest.approx([start for start, _, _ in expected])
    assert [cue.end_seconds for cue in speech.cues] == pytest.approx([end for _, end, _ in expected])
    assert speech.language == "en"


@needs_voice_model
@pytest.mark.parametrize("sound", [silence(3.0), music(4.0)])
def test_a_video_in_which_nobody_speaks_has_no_cues_and_no_language(
    tmp_path: Path, whisper: Whisper, sound: Sound
) -> None:
    assert transcribe(str(video_with(tmp_path / "a.mp4", sound)), whisper) == Speech((), None)


@needs_voice_model
def test_chinese_is_written_as_chinese_and_recorded(tmp_path: Path) -> None:
    whisper = load_whisper(tiny_whisper(tmp_path / "zh", "<|0.20|>一个红球滚过地板<|2.00|>", language="zh"), "cpu")

    speech = transcribe(str(SPEECH), whisper)

    assert {cue.text for cue in speech.cues} == {"一个红球滚过地板"}
    assert speech.language == "zh"


@pytest.mark.parametrize(("code", "tag"), [("en", "en"), ("zh", "zh"), ("jw", "jv")])
def test_languages_are_named_as_in_bcp_47(code: str, tag: str) -> None:
    assert language_tag(code) == tag


def test_a_stretch_is_transcribed_alike_alone_and_among_others(whisper: Whisper) -> None:
    stretches = [stretch_of((seconds, True)) for seconds in (1.0, 5.0, 28.0)]

    together = whisper.transcribe(whisper.hear(stretches), "en")
    alone = [whisper.transcribe(whisper.hear([stretch]), "en")[0] for stretch in stretches]

    assert [t.segments for t in together] == [t.segments for t in alone]
    assert [t.mean_logprob for t in together] == pytest.approx([t.mean_logprob for t in alone], abs=1e-4)


def test_a_transcript_without_end_loses_what_broke_off(tmp_path: Path) -> None:
    script = "<|0.00|> A ball rolls<|1.00|><|1.00|>" + " and on" * 40
    whisper = load_whisper(tiny_whisper(tmp_path / "endless", script), "cpu")

    transcript = whisper.transcribe(whisper.hear([stretch_of((3.0, True))]), "en")[0]

    assert not transcript.finished
    assert [segment.text for segment in transcript.segments] == ["A ball rolls"]


@needs_voice_model
@pytest.mark.parametrize(
    "script",
    [
        "<|0.00|> Thanks for watching!<|2.00|>",
        "<|0.00|> Subtitles by the Amara.org community<|2.00|>",
        "<|0.00|>" + " I'm going to the" * 9 + "<|2.00|>",
        "<|0.00|> [Music]<|2.00|>",
    ],
)
def test_what_whisper_makes_up_gives_no_cues(tmp_path: Path, script: str) -> None:
    assert transcribe(str(SPEECH), load_whisper(tiny_whisper(tmp_path / "liar", script), "cpu")) == Speech((), None)


# ---- what was made up


@pytest.mark.parametrize(
    "text",
    [
        "Thanks for watching!",
        "THANK YOU FOR WATCHING.",
        "Don't forget to like and subscribe!",
        "Subtitles by the Amara.org community",
        "Subtitles made by Jane Doe",
        "Transcription by CastingWords",
        "Translated by John Doe",
        "Untertitel im Auftrag des ZDF, 2021",
        "Untertitelung des ZDF, 2020",
        "Sous-titrage ST' 501",
        "Sous-titres réalisés para la communauté d'Amara.org",
        "Subtítulos realizados por la comunidad de Amara.org",
        "¡Gracias por ver el vídeo!",
        "Субтитры сделал DimaTorzok",
        "Продолжение следует...",
        "ご視聴ありがとうございました",
        "시청해주셔서 감사합니다.",
        "谢谢观看",
        "謝謝觀看!",
        "感谢收看。",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
        "請不吝點贊訂閱轉發打賞支持明鏡與點點欄目",
        "字幕由Amara.org社区提供",
        "字幕志愿者 李某",
        "中文字幕志愿者 李某",
        "优优独播剧场——YoYo Television Series Exclusive",
        "[Music]",
        "(applause)",
        "（掌声）",
        "♪ la la la ♪",
        "*sighs*",
        "♪♪",
        "...",
        "",
        "I am going to the I am going to the I am going to the I am going to the",
        "哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈",
    ],
)
def test_stock_phrases_sounds_and_loops_are_made_up(text: str) -> None:
    assert is_made_up(text)


@pytest.mark.parametrize(
    "text",
    [
        *SENTENCES,
        "Thank you.",
        "Yes.",
        "No, no, no.",
        "We were watching the birds, thanks to your binoculars.",
        "He wants to subscribe to the magazine.",
        "The translation was made by hand.",
        "She reads the caption by the window.",
        "[Music] and then he said hello",
        "Der Untertitel ist falsch.",
        "Ich sehe dich am Montag.",
        "Continuará mañana, dijo.",
        "他说谢谢大家来看他的画。",
        "这部电影没有字幕。",
        "一个红球滚过地板。",
        "赤いボールが転がります。",
    ],
)
def test_plain_speech_is_kept(text: str) -> None:
    assert not is_made_up(text)


@given(st.lists(st.sampled_from(["Go.", "go!", "Stop.", "A dog barks."]), max_size=12))
def test_no_words_stand_three_times_in_a_row(texts: list[str]) -> None:
    cues = [Cue(number, number + 1, text) for number, text in enumerate(texts)]

    kept = without_loops(cues)
    words = [cue.text.lower().strip("!.") for cue in kept]

    assert all(not words[at] == words[at + 1] == words[at + 2] for at in range(len(words) - 2))
    assert {cue.text.lower().strip("!.") for cue in cues} == set(words)
    assert [cue for cue in cues if cue in kept] == kept


def test_words_written_into_a_pause_are_dropped() -> None:
    stretch = stretch_of((2.0, True), (1.5, False), (2.0, True))
    said = (Segment(0.0, 1.9, "A ball rolls"), Segment(2.2, 3.3, "Okay"), Segment(3.6, None, "A dog barks"))

    kept = believable(stretch, Transcript(said, -0.2, 0.0, finished=True))

    assert [segment.text for segment in kept] == ["A ball rolls", "A dog barks"]
    assert kept[1].end_seconds == pytest.approx(stretch.seconds)


def test_times_behind_the_end_of_the_sound_are_cut_to_it() -> None:
    stretch = stretch_of((2.0, True))

    kept = believable(
        stretch, Transcript((Segment(1.0, 29.0, "A ball"), Segment(29.0, None, "A dog")), -0.2, 0.0, True)
    )

    assert [(segment.start_seconds, segment.text) for segment in kept] == [(1.0, "A ball")]
    assert kept[0].end_seconds == pytest.approx(stretch.seconds)


@pytest.mark.parametrize(
    ("mean_logprob", "no_speech", "kept"), [(-0.3, 0.1, 1), (-0.3, 0.9, 1), (-1.4, 0.1, 1), (-1.4, 0.9, 0)]
)
def test_what_whisper_itself_doubts_twice_is_dropped(mean_logprob: float, no_speech: float, kept: int) -> None:
    said = (Segment(0.0, 2.0, "A ball rolls"),)

    assert len(believable(stretch_of((2.0, True)), Transcript(said, mean_logprob, no_speech, True))) == kept


# ---- the model and the cache


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("mistral", "a model of pictures; those of speech are whisper, whisper-turbo"),
        ("nowhere", "neither a folder, nor a hub repository, nor one of whisper, whisper-turbo"),
        ("some-body/some-whisper", "hf download some-body/some-whisper"),
    ],
)
def test_what_is_no_speech_model_is_refused(name: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        resolve_speech(name)


def test_a_folder_of_another_model_is_refused(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "other")
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "other" / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))

    with pytest.raises(InputError, match="a model of type llama, not whisper"):
        resolve_speech(str(tmp_path / "other"))


def test_a_speech_model_is_no_labeller() -> None:
    with pytest.raises(InputError, match="a model of speech, for --whisper"):
        resolve("whisper")
    assert any(line.startswith("whisper ") for line in list_presets())


def test_whisper_is_pulled_checked_and_loaded_like_other_models(tmp_path: Path, folder: Path) -> None:
    source = PRESETS["whisper"].files[0]
    assert isinstance(source, HubFiles)
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    with file_server() as server:
        server.add_repository(source.repo, source.revision, contents | {"flax_model.msgpack": b"0" * 200})
        pulled = command("models", "pull", "whisper", "--mirror", server.url, home=tmp_path)

    assert pulled.exit_code == 0, pulled.output
    fetched = tmp_path / "models" / "whisper" / "whisper"
    assert sorted(path.name for path in fetched.iterdir()) == sorted(contents)
    assert resolve_speech(str(fetched)).fingerprint == resolve_speech(str(folder)).fingerprint
    assert load_whisper(fetched, "cpu").batch_size > 0
    assert command("models", "check", "whisper", home=tmp_path).exit_code == 0

    (fetched / "model.safetensors").write_bytes(b"damaged")
    assert command("models", "check", "whisper", home=tmp_path).exit_code == 1


def test_speech_is_kept_from_run_to_run(tmp_path: Path) -> None:
    speech = Speech((Cue(1.0, 2.0, "A ball"), Cue(2.5, 3.0, "球")), "zh")
    with SpeechCache(tmp_path) as cache:
        cache.put("one", speech)
        cache.put("two", Speech())
        assert cache.get("one") == speech

    with SpeechCache(tmp_path) as again:
        assert again.get("one") == speech
        assert again.get("two") == Speech()
        assert again.get("three") is None


def test_a_file_that_changed_is_listened_to_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    before = speech_key(str(path), "model")
    path.write_bytes(b"other")

    assert before != speech_key(str(path), "model")
    assert speech_key(str(path), "model") != speech_key(str(path), "other model")
    assert speech_key(str(tmp_path / "gone.mp4"), "model") is None


# ---- whole runs


def speech_settings(folder: Path) -> Settings:
    settings, model = echo_settings(), resolve_speech(str(folder))
    frames = FrameSettings(4, 32, subtitles="whisper", whisper=model.name, whisper_fingerprint=model.fingerprint)
    scenes = replace(settings.scenes, split="fixed", max_clip_seconds=6.0)
    return replace(settings, frames=frames, scenes=scenes)


def test_settings_without_speech_are_what_they_were_before_there_was_any(folder: Path) -> None:
    assert "whisper" not in echo_settings().to_json()
    settings = speech_settings(folder)
    assert Settings.from_json(settings.to_json()) == settings


@needs_voice_model
def test_clips_are_shown_what_is_said_in_them_unless_there_are_subtitles(tmp_path: Path, folder: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copyfile(SPEECH, videos / "spoken.mp4")
    shutil.copyfile(SPEECH, videos / "written.mp4")
    (videos / "written.srt").write_text("1\n00:00:01,000 --> 00:00:03,000\nFrom the file beside.\n")
    video_with(videos / "music.mp4", music(4.0))
    made = job(tmp_path / "labels.parquet", settings=speech_settings(folder), speech_device="cpu")

    summary = label(videos, made)

    assert summary.exit_code == 0
    by_clip = {(row["video_path"], row["start_seconds"]): row for row in rows(tmp_path / "labels.parquet")}
    assert {
        clip: (row["subtitle_source"], row["subtitle_language"], row["num_subtitle_words"])
        for clip, row in by_clip.items()
    } == {
        ("spoken.mp4", 0.0): ("speech", "en", 6),
        ("spoken.mp4", 6.0): ("speech", "en", 6),
        ("written.mp4", 0.0): ("sidecar", None, 4),
        ("written.mp4", 6.0): ("sidecar", None, 0),
        ("music.mp4", 0.0): ("none", None, 0),
    }
    assert not made.output.work.exists()


@needs_voice_model
def test_a_resumed_run_does_not_listen_again(tmp_path: Path, folder: Path) -> None:
    video = shutil.copyfile(SPEECH, tmp_path / "a.mp4")
    made = job(tmp_path / "labels.parquet", settings=speech_settings(folder), speech_device="cpu")
    made.output.work.mkdir()
    with SpeechCache(made.output.work) as cache:  # what a killed run leaves
        key = speech_key(str(video), made.settings.frames.whisper_fingerprint or "")
        assert key is not None
        cache.put(key, Speech((Cue(1.0, 8.0, "Heard before."),), "de"))

    label(video, made)

    found = rows(tmp_path / "labels.parquet")
    assert [("Heard before." in str(row["caption"]), row["subtitle_language"]) for row in found] == [(True, "de")] * 2


@needs_voice_model
def test_all_spans_of_a_file_share_one_pass_and_a_file_that_cannot_be_heard_says_so(
    tmp_path: Path, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = speech_settings(folder).frames
    whole = make_clip(SPEECH)
    spans = [
        replace(whole, clip_id=f"{start}", video=replace(whole.video, span=Span(start, start + 5.0)))
        for start in (0.0, 5.0, 7.0)
    ]
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 99)
    broken = replace(whole, video=replace(whole.video, location=str(tmp_path / "broken.mp4")))
    question = (Question("What?", "test"),)
    with SpeechCache(tmp_path) as cache, SpeechStage(settings, Limits(), cache, device="cpu") as stage:
        stage.load()
        for clip in (*spans[:2], broken):
            assert stage.add(clip.video, [(clip, question)]) == []
        assert len(stage) == 3
        ready = [planned for _ in range(2) for planned in stage.finished(60.0)]
        assert [clip for clip, _ in ready] == [*spans[:2], broken]
        for clip in (spans[2], broken):
            assert stage.add(clip.video, [(clip, question)]) == [(clip, question)]

        frames = Frames(np.zeros((1, 2, 2, 3), np.uint8), np.zeros(1))
        assert stage.with_speech(spans[0], frames).subtitle_source == "speech"
        assert stage.with_speech(broken, frames).subtitle_source == "unreadable"
    assert "labelled without its speech" in caplog.text


@needs_voice_model
def test_a_run_stops_when_its_speech_model_cannot_be_loaded(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"not weights")
    made = job(tmp_path / "labels.parquet", settings=speech_settings(tmp_path / "broken"), speech_device="cpu")

    with pytest.raises(InputError, match=r"^--whisper .*broken.* holds no Whisper model that can be loaded: "):
        label(shutil.copyfile(SPEECH, tmp_path / "a.mp4"), made)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--whisper", "whisper"], "--whisper whisper: belongs to --subtitles whisper"),
        (["--subtitles", "whisper"], "vidlabel models pull whisper|pip install 'vidlabel\\[whisper\\]'"),
    ],
)
def test_the_command_line_says_what_is_missing(tmp_path: Path, options: list[str], why: str) -> None:
    out = str(tmp_path / "labels.parquet")

    result = command("caption", str(SPEECH), "--model", "echo", "--out", out, *options, home=tmp_path)

    assert result.exit_code == 2
    assert re.search(why, result.stderr)
    assert len(result.stderr.splitlines()) == 1
