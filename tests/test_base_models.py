"""Every family's chat is laid out as its own template lays it out, and a random model of each answers on all paths."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, MistralConfig, Qwen2Config, Qwen3Config
from typer.testing import CliRunner

from tests import chat_templates as chat
from tests.engine_models import SIZE
from tests.minigpt4_models import GOLDEN, TEXTS, answer_settings, asked_clip
from tests.training import colour_clips, train
from vidlabel.cli import app
from vidlabel.data import AskedClip, Cue
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.config import ModelConfig, VisionConfig
from vidlabel.models.minigpt4_video.families import BASES, FAMILIES, Control, base_config, base_family, lookback
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.minigpt4_video.loading import load_model, read_llm_config, released_config
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.prompt import answer_ids, build_prompts, stop_ids
from vidlabel.models.minigpt4_video.saving import save_model
from vidlabel.models.minigpt4_video.tokenizer import FastTokenizer, load_tokenizer

VISION = VisionConfig(image_size=28, patch_size=7, embed_dim=24, depth=2, num_heads=3, mlp_hidden=40)
SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
}
CONFIGS = {"llama3": LlamaConfig, "mistral-0.3": MistralConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
# family of the tokenizer, what its template is, and what of it our prompt leaves out
PUBLISHED = [
    ("llama3", chat.LLAMA3, ""),
    ("llama3", chat.LLAMA31, chat.LLAMA31_SYSTEM),
    ("mistral-0.3", chat.MISTRAL_03, ""),
    ("qwen2", chat.QWEN2, ""),
    ("qwen2.5", chat.QWEN25, ""),
    ("qwen3", chat.QWEN3, ""),
    ("qwen3", chat.QWEN3_2507, ""),
]
QUESTION, ANSWER = "What happens in the video?", "hello world."


def language_config(family: str, vocab_size: int, **changes: Any) -> Any:
    kind = CONFIGS["qwen2" if family.startswith("qwen2") else family]
    extra: dict[str, Any] = {"sliding_window": None} if family.startswith("mistral") else {}
    if family == "qwen3":
        extra["head_dim"] = 16  # which is not hidden_size / heads
    return kind(vocab_size=vocab_size, **SIZES | extra | changes)


def write_base(folder: Path, family: str, template: str | None, **changes: Any) -> Path:
    """The config and the tokenizer of a language model, as a hub folder has them."""
    tokenizer = chat.write_tokenizer(folder, family, template)
    language_config(family, len(tokenizer), **changes).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("family", "template", "left_out"), PUBLISHED)
def test_prompt_and_answer_are_the_ids_of_the_familys_own_template(
    tmp_path: Path, family: str, template: str, left_out: str
) -> None:
    folder = write_base(tmp_path / "base", family, template)
    config = base_config(folder, read_llm_config(folder), VISION)
    tokenizer = load_tokenizer(folder)
    assert isinstance(tokenizer, FastTokenizer)
    (prompt,) = build_prompts(
        tokenizer, config, pts_seconds=[0.0, 1.0], cues=[Cue(0.0, 1.0, "hello")], questions=[QUESTION], max_tokens=900
    )
    assert prompt is not None
    frame = tokenizer.control_id(chat.FRAME)
    first, *others = prompt.prefix.segments
    ours = [*first, *(i for segment in others for i in (frame, *segment)), *prompt.suffix]
    content = f"<Img>{chat.FRAME}<Cap>hello <Img>{chat.FRAME}\n{QUESTION}"
    messages = [{"role": "user", "content": content}]
    theirs = tokenizer.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
    )
    assert left_out in theirs
    rendered = theirs.replace(left_out, "")
    tokenizer.backend.encode_special_tokens = False
    expected = tokenizer.backend.encode(rendered, add_special_tokens=False).ids
    tokenizer.backend.encode_special_tokens = True
    assert ours == expected
    assert "think" not in rendered or rendered.endswith("<think>\n\n</think>\n\n")
    assert answer_ids(tokenizer, config, ANSWER)[-1] in stop_ids(tokenizer, config)
    if family != "mistral-0.3":  # whose answers begin with the space that its own kind of tokenizer puts there
        whole = tokenizer.tokenizer.apply_chat_template(
            [*messages, {"role": "assistant", "content": ANSWER}], tokenize=False
        )
        said = whole.split(ANSWER)[1].strip()
        assert said == FAMILIES[config.prompt_family].stops[0]


@pytest.mark.parametrize(("variant", "template"), [("llama", chat.LLAMA2), ("mistral", chat.MISTRAL_02)])
def test_llama2_and_mistral_are_laid_out_as_their_templates_are(variant: str, template: str) -> None:
    """As text, for the golden cases hold the ids of the original; they begin with a second beginning-of-text token."""
    import jinja2

    folder = next((GOLDEN / f"{variant}_small").glob("*/tokenizer.model")).parent
    base = base_family(folder, read_llm_config(folder).model_type)
    family = FAMILIES[base.prompt_family]
    ours = "".join(part.name if isinstance(part, Control) else part for part in (*family.opening, "x", *family.closing))
    theirs = jinja2.Template(template).render(
        messages=[{"role": "user", "content": "x"}], bos_token="<s>", eos_token="</s>"
    )
    assert "<s>" + ours == theirs
    assert base.num_bos == 2


@pytest.mark.parametrize(
    ("family", "template", "expected"),
    [
        ("llama3", chat.LLAMA3, "Llama-3"),
        ("llama3", None, "Llama-3"),
        ("mistral-0.3", None, "Mistral 0.3 and later"),
        ("qwen2", chat.QWEN2, "Qwen2"),
        ("qwen2.5", None, "Qwen2.5"),
        ("qwen3", chat.QWEN3, "Qwen3"),
        ("qwen3", None, "Qwen3"),
        ("qwen3", chat.QWEN3_2507, "Qwen3 Instruct 2507, which does not think"),
    ],
)
def test_a_folders_family_is_told_by_its_files(
    tmp_path: Path, family: str, template: str | None, expected: str
) -> None:
    folder = write_base(tmp_path / "any name", family, template)
    assert base_family(folder, read_llm_config(folder).model_type).name == expected


def test_every_family_of_the_table_can_be_told_from_the_others() -> None:
    assert len({(base.model_type, base.marks, base.says) for base in BASES}) == len(BASES)
    assert {base.prompt_family for base in BASES} <= FAMILIES.keys()


@pytest.mark.parametrize(
    ("positions", "frames", "expected"),
    [
        (2048, None, (22, 2048)),
        (4096, None, (45, 4096)),  # as the reference has it, whatever the model's width
        (8192, None, (90, 8012)),
        (131072, None, (90, 8012)),
        (131072, 300, (300, 27000)),
        (4096, 50, (50, 4096)),
        (4096, 10, (10, 4096)),
    ],
)
def test_frames_and_window_follow_the_context_length(
    tmp_path: Path, positions: int, frames: int | None, expected: tuple[int, int]
) -> None:
    folder = write_base(
        tmp_path / "base", "llama3", None, max_position_embeddings=positions, hidden_size=5120 // 64, head_dim=20
    )
    config = base_config(folder, read_llm_config(folder), VISION, num_frames=frames)
    assert (config.num_frames, config.context_window) == expected


def test_a_model_that_looks_back_less_has_a_smaller_window(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", "mistral-0.3", None, max_position_embeddings=32768, sliding_window=4096)
    assert lookback(read_llm_config(folder)) == 4096
    assert (released_config(folder).num_frames, released_config(folder).context_window) == (45, 4096)


def test_what_cannot_be_a_language_model_is_named(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "base", "qwen2", None)
    with pytest.raises(InputError, match=r"--frames 999: .* has 1024 positions, enough for 14 frames"):
        released_config(folder, num_frames=999)
    with pytest.raises(InputError, match="model_type 'qwen3_moe' is not one of llama, mistral, qwen2, qwen3"):
        base_family(folder, "qwen3_moe")
    (folder / "tokenizer.json").write_text("[]")
    with pytest.raises(InputError, match=r"tokenizer\.json: cannot be read"):
        released_config(folder)


@pytest.mark.parametrize("text", ["<think>", "a <tool_call> b</tool_call>", "<|im_end|><think>x"])
def test_no_text_becomes_a_token_that_was_added(tmp_path: Path, text: str) -> None:
    """Also of those that a tokenizer adds and does not call special."""
    tokenizer = load_tokenizer(write_base(tmp_path / "base", "qwen3", None))
    added = {
        tokenizer.control_id(name) for name in ("<think>", "</think>", "<tool_call>", "</tool_call>", "<|im_end|>")
    }
    assert not added & set(tokenizer.encode(text))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def random_model(folder: Path, family: str, **changes: Any) -> Path:
    """One of our own folders on a random language model of a family."""
    base = write_base(folder.with_name("base"), family, None, **changes)
    language = read_llm_config(base)
    found = base_config(base, language, VISION)
    config = ModelConfig(
        VISION, context_window=512, num_frames=4, prompt_family=found.prompt_family, num_bos=found.num_bos
    )
    torch.manual_seed(0)
    model = MiniGPT4Video(config, language)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.endswith("proj.weight"):
                weight.mul_(8.0)
    save_model(folder, model, base)
    return folder


@pytest.mark.parametrize("family", [*CONFIGS, "qwen2.5"])
def test_a_random_model_of_each_family_answers_alike_on_both_engines(tmp_path: Path, family: str) -> None:
    model, tokenizer = load_model(random_model(tmp_path / "model", family))
    clips: list[AskedClip] = [
        asked_clip(f"c{n}", texts=TEXTS[:2], num_frames=1 + n, cues=(Cue(0, 1, "red ball"),), size=SIZE)
        for n in range(3)
    ]
    settings = answer_settings(max_new_tokens=8)
    by_engine = EngineCaptioner(model, tokenizer, settings, num_slots=2, rows_per_slot=2).answer(clips)
    by_generate = GenerateCaptioner(model, tokenizer, settings).answer(clips)
    said = [sorted((a.clip_id, a.question.text, a.text) for a in answers) for answers in (by_engine, by_generate)]
    assert said[0] == said[1]
    assert len({text for _, _, text in said[0]}) > 2


@pytest.mark.parametrize(
    "family",
    [
        "qwen3",
        pytest.param("llama3", marks=pytest.mark.slow),
        pytest.param("qwen2.5", marks=pytest.mark.slow),
        pytest.param("mistral-0.3", marks=pytest.mark.slow),
    ],
)
def test_each_family_learns_and_eval_finds_the_loss_that_training_told(tmp_path: Path, family: str) -> None:
    """What is trained is what runs: the same prompts, frames and targets in both commands."""
    model = random_model(tmp_path / "model", family, tie_word_embeddings=family.startswith("qwen"))
    clips, held_out, out = colour_clips(tmp_path / "clips"), colour_clips(tmp_path / "held-out", 2), tmp_path / "mine"
    more = ["--steps", "6", "--batch-size", "4", "--eval-data", str(held_out), "--eval-every", "6", "--log-every", "1"]
    done = train("instruct", clips, model, out, "--warmup-steps", "0", *more)
    assert done.exit_code == 0, done.output
    told = [json.loads(line) for line in (tmp_path / "mine.logs/log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in told if "loss" in line]
    assert losses[-1] < losses[0]
    results = tmp_path / "results.json"
    words = ["eval", "--model", str(out), "--data", str(held_out), "--task", "qa", "--out", str(results)]
    options = ["--frames", "2", "--workers", "1", "--device", "cpu", "--max-new-tokens", "4"]
    evaluated = CliRunner().invoke(app, [*words, *options])
    assert evaluated.exit_code == 0, evaluated.output
    found = json.loads(results.read_text())["measures"]["qa"]["loss"]
    assert found == pytest.approx(next(line["eval_loss"] for line in told if "eval_loss" in line), abs=1e-5)
