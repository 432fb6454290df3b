"""The tokenizer of the `shapes` model: small, and a word of its world is one or two pieces."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vidlabel.train import shapes_text, shapes_text_zh
from vidlabel.train.shapes_asking import all_wordings
from vidlabel.train.shapes_words import CHINESE_WORDS, WORDS
from vidlabel.train.shapes_world import Language, make_scene

VOCABULARY: dict[Language, int] = {"en": 1400, "zh": 1150}
_MARKS = ("<Img>", "<Cap>", "[INST]", "[/INST]")  # one piece each, to keep prompts short


def write_tokenizer(folder: Path, language: Language = "en") -> None:
    """`tokenizer.model` and its config; the same bytes every time."""
    import sentencepiece

    model = io.BytesIO()
    # Chinese has no spaces that end a word: pieces would be whole clauses
    short: dict[str, Any] = {} if language == "en" else {"max_sentencepiece_length": 3}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(_sentences(language))),
        model_writer=model,
        model_type="unigram",
        vocab_size=VOCABULARY[language],
        user_defined_symbols=list(_MARKS),
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        **short,
        num_threads=1,
        unk_id=0,
        bos_id=1,
        eos_id=2,
        pad_id=-1,
        minloglevel=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    values = {"tokenizer_class": "LlamaTokenizer", "legacy": True, "add_bos_token": True, "add_eos_token": False}
    (folder / "tokenizer_config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _sentences(language: Language) -> Iterator[str]:
    """What the model will read and write; every word both inside a phrase and right behind a quotation mark."""
    random = np.random.default_rng(0)
    teller = shapes_text_zh if language == "zh" else shapes_text
    for wording in all_wordings():
        yield from (wording, wording)
    for word in (WORDS if language == "en" else CHINESE_WORDS) * 12:
        yield f'says "{word}" and {word}' if language == "en" else f"说“{word}”，{word}"
    for number in range(1500):
        scene = make_scene("train", number, wild_words=number % 4 == 0, language=language)
        for asked, answer in (teller.captions(scene, random), teller.question_of_kind(scene, random)[1]):
            yield from (asked, answer)
    for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789":
        yield f"{letter} {letter.lower()}{letter.lower()}"
