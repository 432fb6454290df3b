"""The tokenizer of the `shapes` model: small, and a word of its world is one or two pieces."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vidlabel.train.shapes_asking import all_wordings
from vidlabel.train.shapes_text import captions, question
from vidlabel.train.shapes_words import WORDS
from vidlabel.train.shapes_world import make_scene

VOCABULARY = 1400
_MARKS = ("<Img>", "<Cap>", "[INST]", "[/INST]")  # one piece each, to keep prompts short


def write_tokenizer(folder: Path) -> None:
    """`tokenizer.model` and its config; the same bytes every time."""
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(list(_sentences())),
        model_writer=model,
        model_type="unigram",
        vocab_size=VOCABULARY,
        user_defined_symbols=list(_MARKS),
        byte_fallback=True,
        character_coverage=1.0,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
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


def _sentences() -> Iterator[str]:
    """What the model will read and write; every word both inside a phrase and right behind a quotation mark."""
    random = np.random.default_rng(0)
    for wording in all_wordings():
        yield from (wording, wording)
    for word in WORDS * 12:
        yield f'says "{word}" and {word}'
    for number in range(1500):
        scene = make_scene("train", number, wild_words=number % 4 == 0)
        for asked, answer in (captions(scene, random), question(scene, random)):
            yield from (asked, answer)
    for letter in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789":
        yield f"{letter} {letter.lower()}{letter.lower()}"
