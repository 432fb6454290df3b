"""The prompt of a clip: text segments with image slots between them, and its split into prefix and suffixes.

    bos bos [INST] <Img> F0 <Cap>hello <Img> F1 ... <Img> Fn <Cap>bye | \\nWhat happens? [/INST]
    ------------------- prefix, shared by all questions -------------- | ------- suffix --------

The budget is kept before anything is assembled: subtitles are shortened first (each caption to the largest number of
words that fits, the same limit for all, so that the whole clip stays covered), then the clip or question is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vidlabel.data import Cue
from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.families import FAMILIES, Control
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

_QUESTION_ROOM = 128  # positions that subtitles leave free, so that questions of common length share one prefix
# A word, or one character of a script that is written without spaces; the spaces before it belong to it.
_WORD = re.compile(r"\s*(?:[぀-ヿ㐀-䶿一-鿿가-힣豈-﫿]|[^\s぀-ヿ㐀-䶿一-鿿가-힣豈-﫿]+)")


class PromptTooLongError(ValueError):
    """Frames and question alone do not fit into the model's window."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The part of a prompt that all questions about a clip share. Segment i stands before frame i; the last one, which
    may be empty, after the last frame."""

    segments: tuple[tuple[int, ...], ...]
    num_tokens: int  # positions, those of the frames included
    num_subtitle_words: int
    subtitles_shortened: bool

    @property
    def num_frames(self) -> int:
        return len(self.segments) - 1


@dataclass(frozen=True, slots=True)
class Prompt:
    """The whole prompt of one question. Prompts of a clip have equal prefixes, but for very long questions."""

    prefix: Prefix
    suffix: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        return self.prefix.num_tokens + len(self.suffix)


def build_prompts(
    tokenizer: PromptTokenizer,
    config: ModelConfig,
    *,
    pts_seconds: Sequence[float],
    cues: Sequence[Cue],
    questions: Sequence[str],
    max_tokens: int,
) -> list[Prompt | None]:
    """One prompt a question, none longer than `max_tokens`; None where a question does not fit by itself.

    A prompt depends on its own question alone: what else is asked, now or after a restart, changes nothing.
    """
    captions = captions_of_frames(pts_seconds, cues)
    bare = build_prefix(tokenizer, config, [[] for _ in captions], max_tokens=max_tokens)
    free = max_tokens - bare.num_tokens
    prefixes: dict[int, Prefix] = {}
    prompts: list[Prompt | None] = []
    for question in questions:
        suffix = build_suffix(tokenizer, config, question)
        if len(suffix) > free:
            prompts.append(None)
            continue
        room = max(len(suffix), min(_QUESTION_ROOM, free))
        if room not in prefixes:
            prefixes[room] = build_prefix(tokenizer, config, captions, max_tokens=max_tokens - room)
        prompts.append(Prompt(prefixes[room], suffix))
    return prompts


def stop_ids(tokenizer: PromptTokenizer, config: ModelConfig) -> tuple[int, ...]:
    """The ids that end an answer."""
    stops = {tokenizer.control_id(name) for name in FAMILIES[config.prompt_family].stops}
    return tuple(sorted(stops | set(tokenizer.eos_ids)))


def answer_ids(tokenizer: PromptTokenizer, config: ModelConfig, text: str) -> tuple[int, ...]:
    """The ids of an answer as it is taught and measured: its text and what ends it."""
    stops = FAMILIES[config.prompt_family].stops
    return (*tokenizer.encode(text), tokenizer.control_id(stops[0]) if stops else tokenizer.eos_ids[0])


def captions_of_frames(pts_seconds: Sequence[float], cues: Sequence[Cue]) -> list[list[str]]:
    """The subtitle texts shown after each frame: every cue once, after the first frame that is not before its start.

    A cue between two frames belongs to the later one, a cue after the last frame to the last one. Only a text that
    repeats the one just before it is left out.
    """
    shown: list[list[str]] = [[] for _ in pts_seconds]
    before = None
    for cue in sorted(cues, key=lambda cue: (cue.start_seconds, cue.end_seconds)):
        text = " ".join(cue.text.split())
        if not text or text == before:
            continue
        before = text
        at = next((i for i, pts in enumerate(pts_seconds) if pts >= cue.start_seconds), len(shown) - 1)
        shown[at].append(text)
    return shown


def build_opening(tokenizer: PromptTokenizer, config: ModelConfig) -> tuple[int, ...]:
    """The ids before the first frame without its "<Img>": what a question about no video stands after."""
    family, bos = FAMILIES[config.prompt_family], [Control("bos")] * config.num_bos
    text = tuple(part.rstrip(" ") if isinstance(part, str) else part for part in family.opening)
    parts = [(*bos, *text)] if family.bos_is_text else [bos, text]
    return tuple(i for part in parts for i in _encode(tokenizer, part))


def build_suffix(tokenizer: PromptTokenizer, config: ModelConfig, question: str) -> tuple[int, ...]:
    """The ids of a question and the end of the user's turn."""
    return tuple(_encode(tokenizer, ("\n" + question, *FAMILIES[config.prompt_family].closing)))


def build_prefix(
    tokenizer: PromptTokenizer, config: ModelConfig, captions: Sequence[Sequence[str]], *, max_tokens: int
) -> Prefix:
    """The prefix of a clip with these captions after its frames, at most `max_tokens` positions long."""
    joined = [" ".join(texts) for texts in captions]
    words = [_WORD.findall(text) for text in joined]
    most = max((len(found) for found in words), default=0)

    def build(limit: int) -> Prefix:
        cut = ["".join(found[:limit]) for found in words]
        segments = _segments(tokenizer, config, cut)
        num_tokens = sum(map(len, segments)) + len(joined) * config.tokens_per_frame
        num_words = sum(min(limit, len(found)) for found in words)
        return Prefix(segments, num_tokens, num_words, limit < most)

    full = build(most)
    if full.num_tokens <= max_tokens:
        return full
    best = build(0)
    if best.num_tokens > max_tokens:
        raise PromptTooLongError(
            f"{len(joined)} frames take {best.num_tokens} positions of the model's window, "
            f"{max(max_tokens, 0)} are free: ask for fewer frames, a shorter question or a shorter answer"
        )
    low, high = 0, most  # `low` words a caption fit, `high` do not
    while high - low > 1:
        middle = (low + high) // 2
        candidate = build(middle)
        if candidate.num_tokens <= max_tokens:
            low, best = middle, candidate
        else:
            high = middle
    return best


def prompt_budget(config: ModelConfig, max_positions: int, max_new_tokens: int) -> int:
    """Positions that a prompt may take so that the answer still has room."""
    return min(config.context_window, max_positions) - max_new_tokens


def _segments(tokenizer: PromptTokenizer, config: ModelConfig, captions: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    family, bos = FAMILIES[config.prompt_family], [Control("bos")] * config.num_bos
    text = (*family.opening, "<Img>")
    parts = [(*bos, *text)] if family.bos_is_text else [bos, text]
    segments = [tuple(i for part in parts for i in _encode(tokenizer, part))]
    for caption in captions[:-1]:
        segments.append(tuple(tokenizer.encode(f"<Cap>{caption} <Img>" if caption else "<Img>")))
    # without the space that follows a caption elsewhere: the question's "\n" brings its own
    segments.append(tuple(tokenizer.encode(f"<Cap>{captions[-1]}") if captions[-1] else ()))
    return tuple(segments)


def _encode(tokenizer: PromptTokenizer, parts: Sequence[Control | str]) -> Iterator[int]:
    """Ids of control tokens and texts; neighbouring texts are tokenised as one."""
    text, after_control = "", False
    for part in (*parts, None):
        if isinstance(part, str):
            text += part
            continue
        yield from tokenizer.encode(text, after_control=after_control)
        text = ""
        if part is not None:
            yield tokenizer.control_id(part.name)
            after_control = True
