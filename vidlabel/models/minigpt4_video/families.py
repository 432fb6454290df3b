"""The language models that a labeller can be made of: how each family's chat is laid out, what ends an answer, and how
many frames its window takes. One table; a folder's family is told by its `model_type` and its tokenizer's own tokens.

Chats are laid out as their families' chat templates do, with three exceptions: Llama-2's and Mistral's prompt begins
with two beginning-of-text tokens where released models run (see `ModelConfig.num_bos`); Llama-3.1 and later get no
system turn, for theirs holds the date of the day; Qwen3's thinking is off, by the empty block that its template writes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.config import ModelConfig, PromptFamilyName, VisionConfig

_WINDOW, _NUM_FRAMES = 7500 + 512, 90  # the reference's, with Mistral: more frames were never trained
_POSITIONS_PER_FRAME = 90  # where the window is smaller: 45 frames in Llama-2's 4096
_LEAST_PER_FRAME = 70  # a frame's tokens, what stands around it, and its share of question and answer


@dataclass(frozen=True, slots=True)
class Control:
    """One control token of the tokenizer: `bos`, `eos`, or its text."""

    name: str


@dataclass(frozen=True, slots=True)
class PromptFamily:
    """What stands before the first frame and after the question, and what ends an answer beside the end token."""

    opening: tuple[Control | str, ...]
    closing: tuple[Control | str, ...]
    stops: tuple[str, ...] = ()  # the first is what a right answer ends with
    bos_is_text: bool = True  # the first text is tokenised as following a control token


def _chatml(system: str | None, *, answer_begins: tuple[Control | str, ...] = ()) -> PromptFamily:
    start, end = Control("<|im_start|>"), Control("<|im_end|>")
    turn = () if system is None else (start, f"system\n{system}", end, "\n")
    return PromptFamily(
        opening=(*turn, start, "user\n"),
        closing=(end, "\n", start, "assistant\n", *answer_begins),
        stops=(end.name,),
    )


def _header(role: str) -> tuple[Control | str, ...]:
    return Control("<|start_header_id|>"), role, Control("<|end_header_id|>"), "\n\n"


FAMILIES: dict[PromptFamilyName, PromptFamily] = {
    "inst": PromptFamily(opening=("[INST] ",), closing=(" [/INST]",)),
    # as the reference's training lays it out (with num_bos 1), which its inference does not
    "inst_training": PromptFamily(opening=("[INST] ",), closing=("[/INST]",), bos_is_text=False),
    "inst_control": PromptFamily(opening=(Control("[INST]"), " "), closing=(Control("[/INST]"),)),
    "llama3": PromptFamily(
        opening=_header("user"), closing=(Control("<|eot_id|>"), *_header("assistant")), stops=("<|eot_id|>",)
    ),
    "chatml": _chatml(None),
    "qwen2": _chatml("You are a helpful assistant."),
    "qwen2.5": _chatml("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
    "qwen3": _chatml(None, answer_begins=(Control("<think>"), "\n\n", Control("</think>"), "\n\n")),
}


@dataclass(frozen=True, slots=True)
class BaseFamily:
    """Language models of one kind."""

    name: str
    model_type: str  # transformers' own
    prompt_family: PromptFamilyName
    num_bos: int
    marks: tuple[str, ...] = ()  # tokens that its tokenizer has, and those of the family below it have not
    says: str = ""  # likewise, a word of its chat template, where it has one


BASES = (  # the first that fits counts
    BaseFamily("Llama-3", "llama", "llama3", 1, ("<|start_header_id|>", "<|eot_id|>")),
    BaseFamily("Llama-2", "llama", "inst", 2),
    BaseFamily("Mistral 0.3 and later", "mistral", "inst_control", 1, ("[INST]", "[/INST]")),
    BaseFamily("Mistral 0.1 and 0.2", "mistral", "inst", 2),
    BaseFamily("Qwen3", "qwen3", "qwen3", 0, ("<think>", "</think>"), says="enable_thinking"),
    BaseFamily("Qwen3 Instruct 2507, which does not think", "qwen3", "chatml", 0),
    BaseFamily("Qwen2.5", "qwen2", "qwen2.5", 0, ("<tool_call>",)),
    BaseFamily("Qwen2", "qwen2", "qwen2", 0),
)


def base_family(llm_folder: Path, model_type: str) -> BaseFamily:
    """The family of a language model folder; InputError for a kind that is not in the table."""
    known = {base.model_type for base in BASES}
    if model_type not in known:
        raise InputError(
            f"{llm_folder}: model_type {model_type!r} is not one of {', '.join(sorted(known))}; of mixtures of experts "
            "and of models that see by themselves none can be the language model"
        )
    tokens, template = _own_tokens(llm_folder), _chat_template(llm_folder)
    fitting = (base for base in BASES if base.model_type == model_type and tokens.issuperset(base.marks))
    return next(base for base in fitting if base.says in template or not template)


def base_config(
    llm_folder: Path, llm_config: Any, vision: VisionConfig, *, num_frames: int | None = None
) -> ModelConfig:
    """A model on this language model, whatever its size. Frames and window follow from how many positions that has;
    with more frames than usual the window grows, as far as there are positions."""
    base = base_family(llm_folder, llm_config.model_type)
    positions = int(llm_config.max_position_embeddings)
    if (back := lookback(llm_config)) is not None:
        positions = min(positions, back)
    window = min(positions, _WINDOW)
    if num_frames is None:
        num_frames = _NUM_FRAMES if window == _WINDOW else window // _POSITIONS_PER_FRAME
    elif num_frames * _LEAST_PER_FRAME > positions:
        most = positions // _LEAST_PER_FRAME
        raise InputError(f"--frames {num_frames}: {llm_folder} has {positions} positions, enough for {most} frames")
    elif num_frames > _NUM_FRAMES:
        window = max(window, min(positions, num_frames * _POSITIONS_PER_FRAME))
    if num_frames < 1:
        raise InputError(f"{llm_folder}: {positions} positions are too few for a single frame")
    return ModelConfig(
        vision,
        context_window=window,
        num_frames=num_frames,
        prompt_family=base.prompt_family,
        num_bos=base.num_bos,
    )


def lookback(llm_config: Any) -> int | None:
    """How many positions back a layer sees that does not see everything; None where all do."""
    kinds = getattr(llm_config, "layer_types", None)
    if kinds is not None and "sliding_attention" not in kinds:
        return None
    if llm_config.model_type in ("qwen2", "qwen3") and not getattr(llm_config, "use_sliding_window", False):
        return None
    window = getattr(llm_config, "sliding_window", None)
    return None if window is None else int(window)


def _chat_template(llm_folder: Path) -> str:
    """As text; empty where the folder has none."""
    path = llm_folder / "chat_template.jinja"
    try:
        if path.exists():
            return path.read_text(encoding="utf-8")
        path = llm_folder / "tokenizer_config.json"
        found = json.loads(path.read_text(encoding="utf-8")).get("chat_template") if path.exists() else None
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{path}: cannot be read ({error!r})") from error
    return "" if found is None else json.dumps(found)


def _own_tokens(llm_folder: Path) -> set[str]:
    """What its tokenizer adds to the text's pieces, without loading it: of either kind of file."""
    found: set[str] = set()
    path = llm_folder / "tokenizer.json"
    if path.exists():
        try:
            found |= {token["content"] for token in json.loads(path.read_text(encoding="utf-8"))["added_tokens"]}
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise InputError(f"{path}: cannot be read ({error!r})") from error
    if (llm_folder / "tokenizer.model").exists():
        from vidlabel.models.minigpt4_video.tokenizer import SentencePieceTokenizer

        pieces = SentencePieceTokenizer(llm_folder / "tokenizer.model", legacy=True).sp
        marks = {mark for base in BASES for mark in base.marks}
        found |= {mark for mark in marks if pieces.is_control(pieces.piece_to_id(mark))}
    return found
