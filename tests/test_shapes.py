"""The `shapes` model: its world says only what is true of it, and the shipped weights see what is there."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch
from typer.testing import CliRunner

import vidlabel
from vidlabel.cli import app
from vidlabel.config import AnswerSettings, FrameSettings, SceneSettings
from vidlabel.data import AskedClip, Cue, Question, Video
from vidlabel.decoders import probe
from vidlabel.frames import sample_frames
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.minigpt4_video.loading import load_model
from vidlabel.models.minigpt4_video.model import MiniGPT4Video, normalise
from vidlabel.models.minigpt4_video.prompt import build_prefix, build_suffix
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer
from vidlabel.quality import Said, flags_of
from vidlabel.scenes import find_clips
from vidlabel.train import shapes_text_zh
from vidlabel.train.shapes_batch import (
    answer_loss,
    at_frame_ends,
    collate,
    make_sample,
    read,
    sample_shares,
    thing_truth,
)
from vidlabel.train.shapes_draws import Style
from vidlabel.train.shapes_exam import examine
from vidlabel.train.shapes_parts import make_parts
from vidlabel.train.shapes_score import score_caption
from vidlabel.train.shapes_set import SetPlan, write_set
from vidlabel.train.shapes_text import caption, captions, question
from vidlabel.train.shapes_video import write_examples, write_video
from vidlabel.train.shapes_wear import wear
from vidlabel.train.shapes_world import COLOURS, Language, Scene, Stream, Thing, make_scene, render

REPOSITORY = Path(vidlabel.__file__).parent.parent
WEIGHTS = Path(vidlabel.__file__).parent / "models" / "weights" / "shapes"

Shipped = tuple[MiniGPT4Video, PromptTokenizer]


@pytest.fixture(scope="module")
def shipped() -> Shipped:
    return load_model(WEIGHTS)


def ask(shipped: Shipped, scene: Scene, folder: Path, *questions: str) -> list[str]:
    """The answers to questions about a scene that went through a real video file."""
    model, tokenizer = shipped
    path = folder / "scene.mp4"
    write_video(path, [scene])
    (clip,) = find_clips(Video("scene", path.name, str(path)), SceneSettings(split="none"))
    frames = sample_frames(clip, FrameSettings(model.config.num_frames, model.config.vision.image_size))
    settings = AnswerSettings(model="shapes", model_fingerprint="", pool="", pool_fingerprint="")
    asked = AskedClip(clip, frames, tuple(Question(text, "test") for text in questions))
    answers = {
        answer.question.text: answer.text for answer in GenerateCaptioner(model, tokenizer, settings).answer([asked])
    }
    return [answers[text] for text in questions]


def one_thing(motion: str = "right", cues: tuple[Cue, ...] = ()) -> Scene:
    end = {"right": (1.0, 0.5), "left": (0.1, 0.5)}.get(motion, (0.3, 0.5))
    thing = Thing("red", "circle", motion, "large", 0.2, (215, 30, 35), (0.3, 0.5), end)  # type: ignore[arg-type]
    return Scene(320, 240, 12.0, 3.0, "grey", (120, 120, 120), (thing,), cues)


@pytest.mark.parametrize("stream", ["train", "held-out"])
def test_a_scene_is_the_same_every_time(stream: Stream) -> None:
    assert make_scene(stream, 5) == make_scene(stream, 5)
    assert make_scene(stream, 5) != make_scene(stream, 6)


def test_held_out_scenes_are_no_training_scenes() -> None:
    trained = {repr(make_scene("train", number)) for number in range(2000)}
    assert trained.isdisjoint(repr(make_scene(stream, n)) for stream in ("check", "held-out") for n in range(2000))  # type: ignore[arg-type]


def test_a_negative_scene_number_is_refused() -> None:
    with pytest.raises(ValueError, match="number = -1"):
        make_scene("train", -1)


def middle_of(image: npt.NDArray[np.int_], rgb: tuple[int, int, int]) -> npt.NDArray[np.float64] | None:
    """Where this colour is in the picture, x and y; None where it is not."""
    rows, columns = np.nonzero(np.abs(image - np.array(rgb)).max(axis=-1) < 3)
    return np.array([columns.mean(), rows.mean()]) if len(rows) > 20 else None


@pytest.mark.parametrize("number", range(30))
def test_pictures_show_what_the_scene_says(number: int) -> None:
    scene = make_scene("held-out", number)
    first, last = render(scene, [0.0, 1.0], 160, 120).astype(int)
    for thing in scene.things:
        before, after = middle_of(first, thing.rgb), middle_of(last, thing.rgb)
        assert (before is None) == (thing.motion == "appears")
        assert (after is None) == (thing.motion == "disappears")
        if before is not None and after is not None:
            sides = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "still": (0, 0)}
            assert tuple(np.sign(np.round((after - before) / 10))) == sides[thing.motion]


@pytest.mark.parametrize("style", ["plain", "short", "detailed"])
def test_captions_state_the_truth(style: Style) -> None:
    for number in range(200):
        scene = make_scene("held-out", number)
        assert all(score_caption(scene, caption(scene, style)).values()), caption(scene, style)


def test_a_false_caption_is_found_out() -> None:
    scene = one_thing(cues=(Cue(0.5, 2.0, "hello garden"),))
    told = caption(scene, "plain")
    assert told == 'A red circle moves to the right. A voice says "hello garden".'
    for wrong, part in (("blue", "colour"), ("star", "shape"), ("left", "direction"), ("goodbye", "subtitle")):
        right = {"colour": "red", "shape": "circle", "direction": "right", "subtitle": "hello"}[part]
        assert [name for name, good in score_caption(scene, told.replace(right, wrong)).items() if not good] == [part]
    silent = dataclasses.replace(scene, cues=())
    assert not score_caption(silent, told)["subtitle"]
    assert not any(score_caption(scene, "Nothing to see.").values())


def test_questions_have_one_answer_each() -> None:
    """The same question about the same scene is never answered in two ways."""
    for number in range(50):
        scene, known = make_scene("held-out", number), {}
        for draw in range(60):
            asked, answer = question(scene, np.random.default_rng(draw))
            assert known.setdefault(asked, answer) == answer


def test_worn_pictures_keep_their_size_and_about_their_colour() -> None:
    images = render(make_scene("train", 0), [0.1, 0.5], 64, 64)
    worn = wear(images, np.random.default_rng(0))
    assert worn.shape == images.shape
    assert worn.dtype == np.uint8
    assert not np.array_equal(worn, images)
    assert np.abs(worn.astype(int) - images).mean() < 25


def test_training_rows_give_the_loss_of_inference(shipped: Shipped) -> None:
    """All questions of a clip in one row, as in training, against one prompt each, as in a run."""
    model, tokenizer = shipped
    random = np.random.default_rng(0)
    scenes = [make_scene("train", number) for number in (2, 3)]
    samples = []
    for scene in scenes:
        asked = [captions(scene, random), question(scene, random), question(scene, random)]
        samples.append(make_sample(scene, asked, sample_shares(random, 8), tokenizer, model.config))
    batch = collate(samples, model.config.tokens_per_frame)
    losses = []
    with torch.no_grad():
        images = model.encode_images(normalise(batch.images.permute(0, 3, 1, 2)))
        together = answer_loss(model, batch, read(model, batch, images))
        for sample, embeds in zip(samples, images.split(8), strict=True):
            prefix = model.embed_segments(sample.segments, embeds)
            for suffix, answer in sample.asked:
                row = torch.cat([prefix, model.embed_ids([*suffix, *answer[:-1]])])[None]
                logits = model.llama_model(inputs_embeds=row).logits[0, -len(answer) :]
                losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="none"))
    assert together.item() == pytest.approx(torch.cat(losses).mean().item(), abs=1e-5)


def test_thing_truth_is_what_and_where_things_are_and_how_far_they_came() -> None:
    truth = thing_truth(one_thing(), np.array([0.0, 0.5, 1.0]))
    red = truth[:, list(COLOURS).index("red")]
    x = 2 * np.array([0.3, 0.65, 1.0]) / (4 / 3) - 1
    since_last = 2 * np.array([0.0, x[1] - x[0], x[2] - x[1]])  # as if every step of the two were that long
    assert red[:, :7].numpy() == pytest.approx(
        np.stack([np.ones(3), x, np.zeros(3), x - x[0], np.zeros(3), since_last, np.zeros(3)], axis=1), abs=1e-6
    )
    assert red[:, 7:].tolist() == [[1, 0, 0, 0, 1]] * 3  # a large circle
    assert not truth[:, list(COLOURS).index("blue")].any()
    gone = thing_truth(one_thing("disappears"), np.array([0.4, 0.6]))
    assert gone[:, list(COLOURS).index("red"), 0].tolist() == [1, 0]


def test_frame_ends_are_the_last_image_tokens(shipped: Shipped) -> None:
    model, tokenizer = shipped
    scene = one_thing(cues=(Cue(1.0, 2.0, "hello garden"),))
    sample = make_sample(scene, [("Describe.", "Yes.")], np.linspace(0, 0.9, 8), tokenizer, model.config)
    batch = collate([sample, sample], model.config.tokens_per_frame)
    ends = at_frame_ends(batch, torch.arange(batch.ids.shape[1])[None, :, None].expand(2, -1, 1), 8)[0, :, 0]
    lengths = np.cumsum([len(segment) for segment in sample.segments[:8]])
    assert ends.tolist() == [length + 16 * (t + 1) - 1 for t, length in enumerate(lengths)]


def test_prompts_of_training_are_those_of_a_run(shipped: Shipped) -> None:
    model, tokenizer = shipped
    scene = one_thing(cues=(Cue(1.0, 2.0, "hello garden"),))
    sample = make_sample(scene, [("Describe.", "Yes.")], np.linspace(0, 0.9, 8), tokenizer, model.config)
    heard: list[list[str]] = [[] for _ in range(8)]
    heard[3] = ["hello garden"]  # the first frame that is not before 1.0 of 3.0 seconds
    assert sample.segments == build_prefix(tokenizer, model.config, heard, max_tokens=512).segments
    assert sample.asked[0][0] == build_suffix(tokenizer, model.config, "Describe.")


def test_video_files_have_the_scene_and_its_subtitles(tmp_path: Path) -> None:
    scene = one_thing(cues=(Cue(0.5, 1.25, "hello garden"),))
    write_video(tmp_path / "two.mp4", [scene, scene])
    info = probe(str(tmp_path / "two.mp4"))
    assert (info.width, info.height, info.codec) == (320, 240, "h264")
    assert info.video_seconds == pytest.approx(6.0)
    text = (tmp_path / "two.vtt").read_text()
    assert "00:00:00.500 --> 00:00:01.250\nhello garden" in text
    assert "00:00:03.500 --> 00:00:04.250\nhello garden" in text


def test_examples_in_the_repository_are_what_the_command_writes(tmp_path: Path) -> None:
    written = write_examples(tmp_path)
    shipped_folder = REPOSITORY / "examples" / "videos"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in shipped_folder.iterdir())
    for path in written:  # encoders differ between versions; the pictures hardly do
        info, expected = probe(str(path)), probe(str(shipped_folder / path.name))
        assert dataclasses.replace(info, video_seconds=0) == dataclasses.replace(expected, video_seconds=0)
        assert info.video_seconds == pytest.approx(expected.video_seconds)


def test_three_scenes_are_split_where_they_were_joined() -> None:
    path = REPOSITORY / "examples" / "videos" / "three-scenes.mp4"
    clips = find_clips(Video("three", path.name, str(path)), SceneSettings())
    assert [round(clip.start_seconds, 1) for clip in clips] == [0.0, 3.0, 6.0]


def test_shipped_weights_are_a_few_megabytes() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) < 6_000_000


@pytest.mark.parametrize("motion", ["right", "still", "appears"])
def test_motion_is_told(shipped: Shipped, tmp_path: Path, motion: str) -> None:
    (told,) = ask(shipped, one_thing(motion), tmp_path, "What happens in this video?")
    assert all(score_caption(one_thing(motion), told).values()), told


def test_subtitles_are_used_and_never_invented(shipped: Shipped, tmp_path: Path) -> None:
    spoken = one_thing(cues=(Cue(0.4, 2.0, "seven lemons by the sea"),))
    questions = ("Describe this video.", "What is said?")
    told, said = ask(shipped, spoken, tmp_path, *questions)
    assert '"seven lemons by the sea"' in told
    assert '"seven lemons by the sea"' in said
    (tmp_path / "scene.vtt").unlink()
    told, said = ask(shipped, one_thing(), tmp_path, *questions)
    assert "voice" not in told
    assert said == "Nothing is said."


def test_a_dozen_unseen_clips_are_described_rightly(tmp_path: Path) -> None:
    result = examine(WEIGHTS, tmp_path, num_scenes=12, first=500)
    for asked in ("caption en", "caption-short en", "caption-detailed en"):
        assert all(share >= 11 / 12 for share in result.shares[asked].values()), result.mistakes


@pytest.mark.slow
def test_two_hundred_unseen_clips_are_described_rightly(tmp_path: Path) -> None:
    result = examine(WEIGHTS, tmp_path, num_scenes=200)
    assert result.worst >= 0.95, (result.shares, result.mistakes)
    assert len(result.question_kinds) == 9
    assert result.worst_kind >= 0.9, (result.question_kinds, result.mistakes)


def test_training_writes_a_model_folder_that_loads(tmp_path: Path) -> None:
    """A few steps: nothing is learnt, but every stage runs and the folder is whole."""
    command = [sys.executable, "-m", "vidlabel.train.shapes", "--out", str(tmp_path / "tiny"), "--share", "0.0005"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    model, tokenizer = load_model(tmp_path / "tiny")
    assert model.config.num_frames == 8
    assert tokenizer.encode("hello")
    assert (tmp_path / "tiny" / "self_test.json").exists()
    assert not (tmp_path / "tiny.work").exists()


def test_a_set_of_both_languages_is_true_and_the_same_every_time(tmp_path: Path) -> None:
    plan = SetPlan(stream="check", first=40, num_scenes=6, languages="both")
    for name in ("one", "two"):
        write_set(tmp_path / name, plan)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert files == sorted(
        path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*") if path.is_file()
    )
    assert all((tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes() for path in files)

    rows = [json.loads(line) for line in (tmp_path / "one" / "captions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 6 * plan.num_captions
    assert {row["language"] for row in rows} == {"en", "zh"}
    for row in rows:
        scene = make_scene("check", int(Path(row["video"]).stem), wild_words=False, language=row["language"])
        if int(Path(row["video"]).stem) % 4:  # the others say made-up words
            assert all(score_caption(scene, row["caption"], row["language"]).values()), row
        assert probe(str(tmp_path / "one" / row["video"])).width == scene.width


def test_a_set_may_have_fewer_frames_a_second_and_says_the_same(tmp_path: Path) -> None:
    write_set(tmp_path / "all", SetPlan(first=2, num_scenes=3))
    write_set(tmp_path / "few", SetPlan(first=2, num_scenes=3, max_fps=9))
    rates = {
        name: [probe(str(path)).fps for path in (tmp_path / name / "videos").glob("*.mp4")] for name in ("all", "few")
    }
    assert max(rates["all"]) > 9
    assert max(rates["few"]) == pytest.approx(9)
    for name in ("captions", "questions", "tracks"):
        assert (tmp_path / "all" / f"{name}.jsonl").read_text() == (tmp_path / "few" / f"{name}.jsonl").read_text()
    with pytest.raises(ValueError, match="max_fps=0"):
        SetPlan(max_fps=0)


@pytest.mark.parametrize("number", range(12))
def test_a_chinese_caption_says_what_is_true_and_nothing_else_passes(number: int) -> None:
    scene, random = make_scene("check", number, language="zh"), np.random.default_rng(0)
    for style in get_args(Style):
        assert all(score_caption(scene, shapes_text_zh.caption(scene, style), "zh").values())
        said = Said(text=shapes_text_zh.caption(scene, style), language="zh", finish_reason="stop")
        assert flags_of(said) == (), said.text
    other = make_scene("check", number + 100, language="zh")
    assert not all(score_caption(scene, shapes_text_zh.caption(other, "plain"), "zh").values())
    _, (asked, answer) = shapes_text_zh.question_of_kind(scene, random)
    assert asked.endswith("？")
    assert answer.endswith("。")


@pytest.mark.parametrize(("language", "words"), [("en", "red circle moves to"), ("zh", "红色的圆形")])
def test_a_labeller_is_made_by_the_three_commands(language: Language, words: str, tmp_path: Path) -> None:
    """A few steps of the shipped recipes: nothing is learnt, but each command takes what the one before has made."""
    made = tmp_path / "set"
    write_set(made, SetPlan(num_scenes=4, languages=language, hard=True))
    make_parts(tmp_path / "parts", language, tower=WEIGHTS if language == "zh" else None, share=0.001)
    for stage, start, data, more in (
        ("align", "parts", "pictures", ()),
        ("pretrain", "align", "captions.jsonl", ("--data", str(made / "tracks.jsonl"))),
        ("instruct", "pretrain", "questions.jsonl", ("--caption-data", str(made / "captions.jsonl"))),
    ):
        name = f"{stage}-shapes-zh.toml" if language == "zh" and stage != "align" else f"{stage}-shapes.toml"
        recipe = ("--recipe", str(REPOSITORY / "examples" / "recipes" / name))
        short = ("--steps", "2", "--warmup-steps", "1", "--device", "cpu", "--samples", "0", "--workers", "0")
        line = ["train", stage, "--from", str(tmp_path / start), "--data", str(made / data), *recipe, *short, *more]
        done = CliRunner().invoke(app, [*line, "--out", str(tmp_path / stage)])
        assert done.exit_code == 0, done.output
    model, tokenizer = load_model(tmp_path / "instruct")
    assert model.config.num_frames == 8
    assert tokenizer.decode(tokenizer.encode(words)) == words
    assert len(tokenizer.encode(words)) < 5
