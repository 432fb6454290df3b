"""Ways to ask for a caption: the shipped pools, and many more that are put together from parts.

The model should describe when it is asked in any words, so it is also asked in broken and in unknown ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from vidlabel.prompts import load_pool
from vidlabel.train.shapes_words import WORDS

if TYPE_CHECKING:
    import numpy as np

_POOLS = {"plain": "caption", "short": "caption-short", "detailed": "caption-detailed"}
_OPENINGS = ("", "", "", "Please ", "Could you ", "Can you ", "I want you to ", "Kindly ", "Your task: ", "Now ")
_VERBS = (
    "describe", "caption", "explain", "narrate", "report on", "write about", "give an account of", "tell me about",
    "put into words", "say something about", "comment on", "give a description of", "write a caption for",
    "look at and describe", "watch and describe", "summarise", "summarize",
)  # fmt: skip
_OBJECTS = (
    "this video", "the video", "this clip", "the clip", "the scene", "this footage", "what you see", "what happens",
    "what is going on here", "the content of the video", "what is shown", "what can be seen", "this short film",
    "the recording", "what takes place in the clip", "these frames", "the movie",
)  # fmt: skip
_WHOLE = (
    "What is happening?", "What do you see?", "What is going on?", "What is shown here?", "What is in this video?",
    "What can you tell me about this clip?", "Caption:", "Description:", "What goes on in the video?", "Describe.",
    "What does the video show?", "What is this?", "What are we looking at?", "Tell me what you see.", "Caption this.",
)  # fmt: skip
_TAILS = {
    "plain": ("", "", "", " for me", " to a friend", " as it happens", " in your own words", " in English",
        " in words"),
    "short": (
        " in one sentence", " briefly", " in a few words", " in short", " in a single sentence", " concisely",
        " with one short sentence", " as a short caption", " in brief", " in at most ten words", " in one line",
    ),
    "detailed": (
        " in detail", " in great detail", " as fully as you can", " in full detail", " thoroughly", " at length",
        " with every detail", " with all details, including the background", " as precisely as possible",
        " in a full paragraph", " and leave nothing out", " including sizes, colours and the background",
    ),
}  # fmt: skip
_ZH_OPENINGS = ("", "请", "请你", "麻烦你", "能不能")
_ZH_VERBS = ("描述", "介绍", "说明", "解释", "讲讲", "说一说", "叙述", "写一写")
_ZH_OBJECTS = ("这段视频", "这个视频", "这个片段", "视频的内容", "画面的内容", "你看到的东西", "发生的事情", "这个场景")
_ZH_TAILS = {
    "plain": ("。", "。", "", "，好吗？", "吧。"),
    "short": ("，用一句话。", "，简短一点。", "，只要一句话。", "，要简单。", "，不要太长。"),
    "detailed": ("，要详细。", "，越详细越好。", "，包括背景和大小。", "，不要遗漏细节。", "，要完整。"),
}


def caption_instruction(style: str, random: np.random.Generator) -> str:
    """An instruction to describe, plainly, shortly or in detail."""
    lot = random.random()
    if lot < 0.35:
        return _choice(random, _shipped(style))
    if lot < 0.45:
        return _composed_in_chinese(style, random)
    if style == "plain" and lot < 0.6:
        text = _choice(random, _WHOLE) if lot < 0.53 else "".join(_odd_words(random))
    else:
        parts = [_choice(random, part) for part in (_OPENINGS, _VERBS)]
        text = "".join(parts) + " " + _choice(random, _OBJECTS) + _choice(random, _TAILS[style])
        text = text[0].upper() + text[1:] + _choice(random, (".", ".", "", "!", "?"))
    if random.random() < 0.15:
        text = text.lower()
    return text


def chinese_instruction(style: str, random: np.random.Generator) -> str:
    """The same, always in Chinese."""
    if random.random() < 0.5:
        return _choice(random, load_pool(_POOLS[style]).questions["zh"])
    return _composed_in_chinese(style, random)


def _composed_in_chinese(style: str, random: np.random.Generator) -> str:
    return "".join(_choice(random, part) for part in (_ZH_OPENINGS, _ZH_VERBS, _ZH_OBJECTS, _ZH_TAILS[style]))


def all_wordings() -> Iterator[str]:
    """Everything an instruction is made of, for the tokenizer to learn from."""
    for style in _POOLS:
        yield from _shipped(style)
        yield from _TAILS[style]
        yield from _ZH_TAILS[style]
    for parts in (_OPENINGS, _VERBS, _OBJECTS, _WHOLE, _ZH_OPENINGS, _ZH_VERBS, _ZH_OBJECTS):
        yield from parts


@cache
def _shipped(style: str) -> tuple[str, ...]:
    questions = load_pool(_POOLS[style]).questions
    return tuple(text for language in sorted(questions) for text in questions[language])


def _odd_words(random: np.random.Generator) -> Iterator[str]:
    """ "Describe" among words that do not belong, or only those."""
    words = [_choice(random, WORDS) for _ in range(int(random.integers(1, 8)))]
    if random.random() < 0.7:
        words.insert(int(random.integers(len(words))), _choice(random, ("describe", "video", "clip", "caption", "see")))
    yield " ".join(words).capitalize()
    yield _choice(random, (".", "?", ""))


def _choice(random: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(random.integers(len(options)))]
