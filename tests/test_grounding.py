"""Grounding: how much likelier the video makes an answer, the same whoever computes it and whatever is in flight."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from benchmarks.grounding import main, roc_auc, separation
from benchmarks.shapes import SHIPPED
from tests.engine_models import (
    KINDS,
    SIZE,
    STOP_IDS,
    TOKENIZER,
    Kind,
    clips,
    engine,
    language_config,
    model_of,
    said,
    tiny_model,
)
from tests.make_labels import SETTINGS, label
from tests.minigpt4_models import (
    TEXTS,
    answer_settings,
    asked_clip,
    golden_config,
    golden_model,
    qwen_folder,
    qwen_model,
)
from tests.slot_cases import packed_attention
from vidlabel.cli import app
from vidlabel.config import AnswerSettings, Grounding, Settings, differences
from vidlabel.data import Answer, AskedClip, Cue
from vidlabel.engine.attention import Kernels, PromptsWork, ScoreWork
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.engine.flash import FlashKernels
from vidlabel.engine.maths import MathsKernels
from vidlabel.jsonl import json_line
from vidlabel.labels import Label
from vidlabel.merge import merge
from vidlabel.models.minigpt4_video.answers import Asked, ask
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.minigpt4_video.grounding import prompts_without_video, support
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.outputs import Output, label_files, parse_output
from vidlabel.parts import part_writer
from vidlabel.readers import read_labels
from vidlabel.resume import read_existing

Key = tuple[str, str]
EXAMPLES = Path(__file__).parent.parent / "examples" / "videos"


def settings_for(grounding: Grounding, *, max_new_tokens: int = 8) -> AnswerSettings:
    return replace(answer_settings(max_new_tokens=max_new_tokens), grounding=grounding)


def found(answers: Sequence[Answer]) -> dict[Key, float | None]:
    return {(answer.clip_id, answer.question.text): answer.grounding for answer in answers}


def logprob(model: MiniGPT4Video, prompt: torch.Tensor, ids: Sequence[int]) -> float:
    """Token after token, each by a pass over everything before it: no batch, no padding, no packing."""
    total = 0.0
    with torch.no_grad():
        for i, token in enumerate(ids):
            embeds = torch.cat([prompt, model.embed_ids(ids[:i])]) if i else prompt
            logits = model.llama_model(inputs_embeds=embeds[None]).logits[0, -1].float()
            total += float(logits.log_softmax(-1)[token])
    return total / len(ids)


def prompts_of(model: MiniGPT4Video, clip: AskedClip) -> dict[Key, tuple[Asked, torch.Tensor]]:
    """Each question, and its clip's embedded prefix."""
    asked, _ = ask(clip, TOKENIZER, model.config, max_tokens=400)
    with torch.no_grad():
        images = model.encode_images(model.preprocess(clip.frames.images))
        return {
            (clip.clip.clip_id, one.question.text): (one, model.embed_prefix(one.prompt.prefix, images))
            for one in asked
        }


def ids_of(answer: Answer, model: MiniGPT4Video, prompt: torch.Tensor) -> list[int]:
    """The answer's tokens (they are spelt out in its text) with the end token that the model would say next."""
    ids = [int(word) for word in answer.text.split()]
    if answer.finish_reason == "stop":
        with torch.no_grad():
            embeds = torch.cat([prompt, model.embed_ids(ids)]) if ids else prompt
            scores = model.llama_model(inputs_embeds=embeds[None]).logits[0, -1].float()
        seen = scores[ids]
        scores[ids] = torch.where(seen < 0, seen * 1.1, seen / 1.1)  # the penalty of these settings
        ids.append(int(scores.argmax()))
        assert ids[-1] in STOP_IDS
    return ids


@pytest.mark.parametrize("kind", KINDS)
def test_grounding_is_the_answers_logprob_minus_that_without_the_video(kind: Kind) -> None:
    model, asked = model_of(kind), clips(3)
    answers = list(engine(model, settings_for("video")).answer(asked))
    assert {answer.finish_reason for answer in answers} == {"stop", "length"}
    prompts = {key: prompt for clip in asked for key, prompt in prompts_of(model, clip).items()}
    for answer in answers:
        one, prefix = prompts[answer.clip_id, answer.question.text]
        suffix = model.embed_ids(one.prompt.suffix)
        ids = ids_of(answer, model, torch.cat([prefix, suffix]))
        (bare,) = prompts_without_video(TOKENIZER, model.config, [one.prompt.suffix])
        assert logprob(model, torch.cat([prefix, suffix]), ids) == pytest.approx(answer.mean_logprob, abs=1e-4)
        assert answer.mean_logprob is not None
        expected = answer.mean_logprob - logprob(model, model.embed_ids(bare), ids)
        assert answer.grounding == pytest.approx(expected, abs=1e-4)
    assert len({round(answer.grounding or 0.0, 3) for answer in answers}) == len(answers)


@pytest.mark.parametrize("kind", KINDS)
def test_strict_takes_away_the_likelier_of_no_video_and_another_clips(kind: Kind) -> None:
    model, asked = model_of(kind), clips(2, texts=TEXTS[:3])
    answers = list(engine(model, settings_for("strict")).answer(asked))
    by_video = found(list(engine(model, settings_for("video")).answer(asked)))
    prompts = {key: prompt for clip in asked for key, prompt in prompts_of(model, clip).items()}
    prefixes = {key[0]: prefix for key, (_, prefix) in prompts.items()}
    assert len(answers) == 6
    for answer in answers:
        one, prefix = prompts[answer.clip_id, answer.question.text]
        suffix = model.embed_ids(one.prompt.suffix)
        ids = ids_of(answer, model, torch.cat([prefix, suffix]))
        (other,) = (prefix for clip_id, prefix in prefixes.items() if clip_id != answer.clip_id)
        assert answer.mean_logprob is not None
        by_other = answer.mean_logprob - logprob(model, torch.cat([other, suffix]), ids)
        without = by_video[answer.clip_id, answer.question.text]
        assert without is not None
        assert answer.grounding == pytest.approx(min(without, by_other), abs=1e-4)


@pytest.mark.parametrize("grounding", ["video", "strict"])
def test_generate_and_the_engine_give_the_same_numbers(grounding: Grounding) -> None:
    """With two clips there is one other clip, so that `strict` is the same too."""
    model, asked = model_of("mistral"), clips(2 if grounding == "strict" else 7, texts=TEXTS)
    generate = GenerateCaptioner(model, TOKENIZER, settings_for(grounding), batch_size=3)
    generate.stop_ids = STOP_IDS
    expected = found(list(generate.answer(asked)))
    assert len(expected) == 4 * len(asked)
    for num_slots, rows_per_slot in ((2, 3), (4, 8)) if grounding == "strict" else ((1, 1), (2, 3), (4, 8)):
        captioner = engine(model, settings_for(grounding), num_slots=num_slots, rows_per_slot=rows_per_slot)
        assert found(list(captioner.answer(asked))) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("grounding", ["video", "strict"])
def test_scoring_changes_no_answer(grounding: Grounding) -> None:
    model, asked = model_of("llama"), clips(6, texts=TEXTS[:3])
    plain = list(engine(model, answer_settings(max_new_tokens=8), num_slots=3).answer(asked))
    scored = list(engine(model, settings_for(grounding), num_slots=3).answer(asked))
    assert said(scored) == said(plain)
    assert all(answer.grounding is None for answer in plain)
    assert all(answer.grounding is not None for answer in scored)


@pytest.mark.parametrize("grounding", ["video", "strict"])
@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_a_path_that_steps_all_rows_at_once_scores_the_same(kind: Kind, grounding: Grounding) -> None:
    """Prefixes of clips that have left stay readable there too, and change no answer."""
    model, asked = model_of(kind), clips(6 if grounding == "video" else 2, texts=TEXTS[:3])
    kernels = FlashKernels(packed_attention)
    captioner = EngineCaptioner(
        model, TOKENIZER, settings_for(grounding), kernels=kernels, num_slots=2, rows_per_slot=2
    )
    captioner.stop_ids = STOP_IDS
    expected = list(engine(model, settings_for(grounding)).answer(asked))
    answers = list(captioner.answer(asked))
    assert said(answers) == said(expected)
    assert found(answers) == pytest.approx(found(expected), abs=1e-4)


@pytest.mark.parametrize("num_slots", [1, 4])
def test_a_clip_that_is_alone_has_no_strict_grounding_and_still_its_answers(num_slots: int) -> None:
    answers = list(engine(model_of("llama"), settings_for("strict"), num_slots=num_slots).answer(clips(1)))
    assert len(answers) == 2
    assert all(answer.grounding is None and answer.error is None for answer in answers)
    generate = GenerateCaptioner(model_of("llama"), TOKENIZER, settings_for("strict"), batch_size=1)
    assert [answer.grounding for answer in generate.answer(clips(1))] == [None, None]


def test_the_first_clip_of_strict_waits_for_the_second_even_in_batches_of_one() -> None:
    generate = GenerateCaptioner(model_of("llama"), TOKENIZER, settings_for("strict"), batch_size=1)
    generate.stop_ids = STOP_IDS
    expected = found(list(generate.answer(clips(4)[:2])))
    assert len(expected) == 4
    assert None not in expected.values()


def test_with_one_slot_strict_reads_an_answer_under_the_clip_that_comes_next() -> None:
    model, asked = model_of("llama"), clips(3)
    expected = found(list(engine(model, settings_for("strict"), num_slots=2).answer(asked[:2])))
    scored = found(list(engine(model, settings_for("strict"), num_slots=1, rows_per_slot=1).answer(asked)))
    first = {key: grounding for key, grounding in expected.items() if key[0] == "clip0"}
    assert {key: scored[key] for key in first} == pytest.approx(first, abs=1e-4)
    assert {key[0] for key, grounding in scored.items() if grounding is None} == {"clip2"}  # nobody came after it


def test_a_question_too_long_for_the_other_clips_prefix_goes_without_and_at_once() -> None:
    """Its own clip is short; under the other one's long prefix it would run out of the model's window."""
    model = model_of("llama")
    long = asked_clip("long", texts=("Why?",), num_frames=4, cues=(Cue(0.0, 1.0, "red ball " * 160),), size=SIZE)
    short = asked_clip("short", texts=("and what " * 80,), num_frames=1, size=SIZE)
    generate = GenerateCaptioner(model, TOKENIZER, settings_for("strict"))
    generate.stop_ids = STOP_IDS
    for captioner in (engine(model, settings_for("strict")), generate):
        grounding = found(list(captioner.answer([long, short])))
        assert [clip_id for (clip_id, _), value in grounding.items() if value is None] == ["short"]


def test_answers_wait_for_company_and_share_one_reading_of_their_question_a_pass() -> None:
    model = tiny_model(language_config("llama"))
    passes: list[int] = []
    prompts: list[tuple[int, ...]] = []

    def see(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        match kwargs["work"]:
            case ScoreWork(under=PromptsWork(lengths=lengths, num_prompts=count)):
                passes.append(kwargs["hidden_states"].shape[1])
                prompts.append(tuple(sorted(lengths[:count])))

    model.llama_model.model.layers[0].self_attn.register_forward_pre_hook(see, with_kwargs=True)
    captioner = engine(model, settings_for("video"), num_slots=4)
    answers = list(captioner.answer(clips(12)))
    assert len(passes) <= len(answers) // 4
    assert sum(passes) == captioner.stats.score_tokens
    suffixes = [one.prompt.suffix for one, _ in prompts_of(model, clips(1)[0]).values()]
    bare = prompts_without_video(TOKENIZER, model.config, suffixes)
    assert set(prompts) == {tuple(sorted(map(len, bare)))}
    spoken = sum(answer.num_tokens + (answer.finish_reason == "stop") for answer in answers)
    assert captioner.stats.score_tokens == len(passes) * sum(map(len, bare)) + spoken - len(answers)


@pytest.mark.parametrize("kernels", [MathsKernels(), FlashKernels(packed_attention)], ids=["maths", "flash"])
def test_answers_of_one_token_among_longer_ones_are_scored_like_any(kernels: Kernels) -> None:
    """Nothing follows them: of one question in a pass all answers may be such, or of every question."""
    model, asked = model_of("mistral"), clips(4, texts=TEXTS[:3])
    plain = list(engine(model, settings_for("video")).answer(asked))
    firsts = {int(answer.text.split()[0]) for answer in plain if answer.question.text == TEXTS[0] and answer.text}
    for stop_ids, most in (((*STOP_IDS, *firsts), 8), (STOP_IDS, 1)):
        generate = GenerateCaptioner(model, TOKENIZER, settings_for("video", max_new_tokens=most), batch_size=3)
        generate.stop_ids = stop_ids
        captioner = EngineCaptioner(
            model, TOKENIZER, settings_for("video", max_new_tokens=most), kernels=kernels, num_slots=4, rows_per_slot=3
        )
        captioner.stop_ids = stop_ids
        answers = list(captioner.answer(asked))
        counts = {answer.question.text: answer.num_tokens + (answer.finish_reason == "stop") for answer in answers}
        assert counts[TEXTS[0]] == 1
        assert found(answers) == pytest.approx(found(list(generate.answer(asked))), abs=1e-4)


def test_an_answer_does_not_wait_for_ever() -> None:
    """Others decode on and on; what has ended is scored and leaves."""
    captioner = engine(model_of("llama"), settings_for("video", max_new_tokens=300), num_slots=2, stop_ids=STOP_IDS[:9])
    clip_ids: list[str] = []

    def endless() -> Iterator[AskedClip]:
        while True:
            clip_ids.append(f"clip{len(clip_ids)}")
            yield asked_clip(clip_ids[-1], texts=TEXTS[:2], num_frames=1, size=SIZE)

    answer = next(iter(captioner.answer(endless())))
    assert answer.grounding is not None
    assert len(clip_ids) < 30


@pytest.mark.parametrize("grounding", ["video", "strict"])
def test_out_of_memory_while_scoring_halves_its_budget_alone_and_every_score_comes(grounding: Grounding) -> None:
    model = tiny_model(language_config("mistral"))

    def check(_module: nn.Module, _args: Any, kwargs: dict[str, Any]) -> None:
        if isinstance(kwargs["work"], ScoreWork) and kwargs["hidden_states"].shape[1] > limit[0]:
            raise torch.OutOfMemoryError("not enough memory")

    limit = [10_000]
    model.llama_model.model.layers[-1].self_attn.register_forward_pre_hook(check, with_kwargs=True)
    asked = clips(2, texts=TEXTS[:3])
    expected = list(engine(model, settings_for(grounding)).answer(asked))
    limit[0] = 60
    captioner = engine(model, settings_for(grounding))
    others = [captioner.budgets.prefill.size, captioner.budgets.extend.size, captioner.budgets.step.size]
    assert found(list(captioner.answer(asked))) == pytest.approx(found(expected), abs=1e-5)
    assert captioner.budgets.score.size <= 60
    assert others == [captioner.budgets.prefill.size, captioner.budgets.extend.size, captioner.budgets.step.size]
    limit[0] = 0
    without = list(engine(model, settings_for(grounding)).answer(asked))
    assert said(without) == said(expected)
    assert all(answer.grounding is None for answer in without)


@pytest.mark.parametrize(
    ("variant", "opening"), [("llama_small", "[INST]\nWhy? [/INST]"), ("mistral_small", "[INST]\nWhy? [/INST]")]
)
def test_the_prompt_without_video_is_the_question_between_the_marks_of_its_turn(variant: str, opening: str) -> None:
    _, tokenizer = golden_model(variant)
    config = golden_config(variant)
    clip = asked_clip("a", texts=("Why?",))
    (one,), _ = ask(clip, tokenizer, config, max_tokens=400)
    (bare,) = prompts_without_video(tokenizer, config, [one.prompt.suffix])
    bos = tokenizer.control_id("bos")
    assert bare[: config.num_bos] == (bos,) * config.num_bos
    assert bare[config.num_bos] != bos
    assert "".join(tokenizer.decode(bare[config.num_bos :]).split()) == "".join(opening.split())
    assert bare[-len(one.prompt.suffix) :] == one.prompt.suffix
    # and but for the frame's "<Img>" it is what the whole prompt begins and ends with
    before = one.prompt.prefix.segments[0]
    assert before[: len(bare) - len(one.prompt.suffix)] == bare[: -len(one.prompt.suffix)]


def test_chatml_opens_the_users_turn_without_video(tmp_path: Path) -> None:
    model, tokenizer = qwen_model(qwen_folder(tmp_path / "qwen"))
    (bare,) = prompts_without_video(tokenizer, model.config, [(1, 2)])
    assert bare[0] == tokenizer.control_id("<|im_start|>")
    assert tokenizer.decode(bare[1:-2]) == "user\n"


def test_support_is_unknown_where_a_number_is() -> None:
    assert support(-1.0, -3.0, -2.5) == 1.5
    assert support(-1.0, -3.0, None) is None
    assert support(-1.0, math.nan) is None
    assert support(-1.0, -math.inf) is None


def test_labels_from_before_grounding_are_added_to_and_others_are_not_mixed() -> None:
    """Without grounding the settings are word for word what they were before there was such a setting."""
    written = json.loads(SETTINGS.to_json())
    assert "grounding" not in written["answers"]
    assert Settings.from_json(json.dumps(written)) == SETTINGS
    asked = replace(SETTINGS, answers=replace(SETTINGS.answers, grounding="video"))
    assert Settings.from_json(asked.to_json()) == asked
    assert asked.fingerprint != SETTINGS.fingerprint
    assert differences(asked.to_json(), SETTINGS.to_json()) == ["answers.grounding: video, was absent"]


def merge_in(output: Output, labels: Sequence[Label]) -> int:
    output.work.mkdir(exist_ok=True)
    with part_writer(output.work, SETTINGS.to_json()) as parts:
        for made in labels:
            parts.add(made)
    return merge(output, SETTINGS)


def forget_the_column(output: Output) -> None:
    """As an older version wrote the file."""
    for path in label_files(output):
        if path.suffix == ".parquet":
            pq.write_table(pq.read_table(path).drop_columns("grounding"), path)
        else:
            rows = [json.loads(line) for line in path.read_text().splitlines()]
            kept = [{name: value for name, value in row.items() if name != "grounding"} for row in rows]
            path.write_text("".join(json_line(row) for row in kept))


@pytest.mark.parametrize("name", ["labels.parquet", "labels.jsonl", "labels"])
def test_a_file_without_the_column_is_read_and_gains_it_when_labels_are_added(tmp_path: Path, name: str) -> None:
    output = parse_output(tmp_path / name)
    merge_in(output, [label(1), label(2)])
    forget_the_column(output)
    (batch,) = read_labels(output.path)
    assert batch.num_rows == 2
    assert len(read_existing(output).done_label_ids) == 2
    assert merge_in(output, [label(2), replace(label(3), grounding=0.5)]) == 1
    rows = [row for batch in read_labels(output.path) for row in batch.to_pylist()]
    assert [row["grounding"] for row in rows] == [None, None, 0.5]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--model", "echo", "--grounding", "video"], "--grounding video: echo has no likelihoods"),
        (["--model", "shapes", "--grounding", "strict", "--slots", "1"], "--grounding strict: .* --slots 2"),
    ],
)
def test_grounding_that_cannot_be_had_is_refused(tmp_path: Path, args: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["caption", str(tmp_path), "--out", str(tmp_path / "l.parquet"), *args])
    assert result.exit_code == 2
    assert re.search(words, result.stderr)


@pytest.mark.parametrize("engine_name", ["slots", "generate"])
def test_a_run_grounds_its_labels_unless_told_otherwise(tmp_path: Path, engine_name: str) -> None:
    video = EXAMPLES / "red-triangle-appears.mp4"
    columns = {}
    for name, more in (("video", []), ("none", ["--grounding", "none"])):
        out = tmp_path / f"{name}.parquet"
        args = ["caption", str(video), "--out", str(out), "--model", "shapes", "--workers", "1", "--split", "none"]
        result = CliRunner().invoke(app, [*args, "--engine", engine_name, *more])
        assert result.exit_code == 0, result.stderr
        table = pq.read_table(out)
        columns[name] = table.select(["caption", "grounding"]).to_pylist()
        assert json.loads(table.schema.metadata[b"vidlabel.settings"])["answers"].get("grounding", "none") == name
    assert [row["caption"] for row in columns["video"]] == [row["caption"] for row in columns["none"]]
    assert all(row["grounding"] is None for row in columns["none"])
    assert all(row["grounding"] > 0.5 for row in columns["video"])


def test_auc_is_the_share_of_pairs_in_order() -> None:
    assert roc_auc([3.0, 2.0], [1.0, 2.0]) == (1 + 1 + 1 + 0.5) / 4
    assert roc_auc([1.0], [2.0]) == 0.0


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_captions_of_other_clips_are_told_from_right_ones(tmp_path: Path, count: int) -> None:
    found = separation(SHIPPED, tmp_path, count)
    assert found.num_right == count
    assert found.num_moved >= 2 * count
    assert found.auc["video"] >= 0.95
    assert found.auc["strict"] >= 0.95


def test_the_benchmark_of_the_cost_runs_every_mode_in_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    sizes = ["--size", "tiny", "--clips", "2", "--frames", "3", "--new-tokens", "4", "--rounds", "1", "--slots", "2"]
    main([*sizes, "--rows", "short:2,real:2", "--device", "cpu", "--dtype", "float32"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "times none" in line] == 2 * ["none", "video", "strict"]
    assert sum("1.000 times none" in line and "1.000 in CPU time" in line for line in lines) == 2
    assert [line.split("answers of ")[1].split(" tokens")[0] for line in lines if "prompts" in line] == [
        "4 4",
        "200 40",
    ]
    short, real = (int(line.split("prompts, ")[1].split()[0]) for line in lines if "prompts" in line)
    assert real - short == 3 * (64 - 4)  # tokens of three frames; the tiny model's own are 4 a frame
    assert all(int(line.split()[-4]) > 0 for line in lines if "tokens a round" in line)


def test_the_benchmark_of_the_cost_refuses_a_row_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--rows", "long:1"])
    assert "long:1: short:K or real:K" in capsys.readouterr().err
