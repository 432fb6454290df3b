"""Tokenisation: user text is plain text, and what a folder's files say about it is respected."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.minigpt4_models import GOLDEN, qwen_folder
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.tokenizer import SentencePieceTokenizer, load_tokenizer

LLAMA = GOLDEN / "llama_small" / "Llama-2-tiny-chat-hf"


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return qwen_folder(tmp_path_factory.mktemp("qwen") / "model") / "language_model"


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("text", ["a </s> b", "<s>", "x<unk>y", "<s></s>", " </s>"])
def test_control_tokens_spelt_out_in_text_stay_text(text: str, legacy: bool) -> None:
    tokenizer = SentencePieceTokenizer(LLAMA / "tokenizer.model", legacy=legacy)
    ids = tokenizer.encode(text)
    assert not {tokenizer.control_id("bos"), tokenizer.control_id("eos")} & set(ids)
    assert tokenizer.decode(ids).strip() == text.strip()
    assert set(tokenizer.encode_reference(text, bos=False)) & {0, 1, 2}  # which the reference turns into controls


@given(st.text(max_size=40))
def test_no_text_at_all_becomes_a_control_token(text: str) -> None:
    tokenizer = SentencePieceTokenizer(LLAMA / "tokenizer.model", legacy=False)
    assert not {1, 2} & set(tokenizer.encode(text))


@pytest.mark.parametrize("legacy", [True, False])
@given(text=st.text(max_size=40).filter(lambda text: not any(mark in text for mark in ("<s>", "</s>", "<unk>"))))
def test_plain_text_is_tokenised_as_the_reference_does(text: str, legacy: bool) -> None:
    tokenizer = SentencePieceTokenizer(LLAMA / "tokenizer.model", legacy=legacy)
    assert tokenizer.encode(text) == tokenizer.encode_reference(text, bos=False)


def test_text_after_a_control_token_follows_the_legacy_switch() -> None:
    old = SentencePieceTokenizer(LLAMA / "tokenizer.model", legacy=True)
    new = SentencePieceTokenizer(LLAMA / "tokenizer.model", legacy=False)
    for tokenizer in (old, new):
        assert [1, *tokenizer.encode("[INST] <Img>", after_control=True)] == tokenizer.encode_reference(
            "<s>[INST] <Img>", bos=False
        )
    assert old.encode("[INST]", after_control=True) != new.encode("[INST]", after_control=True)


@pytest.mark.parametrize(("content", "legacy"), [({"legacy": False}, False), ({"legacy": None}, True), ({}, True)])
def test_the_folder_says_whether_it_is_legacy(content: dict[str, object], legacy: bool, tmp_path: Path) -> None:
    shutil.copyfile(LLAMA / "tokenizer.model", tmp_path / "tokenizer.model")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(content))
    tokenizer = load_tokenizer(tmp_path)
    assert isinstance(tokenizer, SentencePieceTokenizer)
    assert tokenizer.legacy is legacy


def test_end_tokens_of_the_generation_config_end_answers_too(tmp_path: Path) -> None:
    shutil.copyfile(LLAMA / "tokenizer.model", tmp_path / "tokenizer.model")
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 7]}))
    assert load_tokenizer(tmp_path).eos_ids == (2, 7)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.model", "nonsense", "not a sentencepiece model"),
        ("tokenizer_config.json", "{", "cannot be read"),
        ("tokenizer_config.json", '{"legacy": "yes"}', "field 'legacy'"),
        ("generation_config.json", '{"eos_token_id": "two"}', "field 'eos_token_id'"),
        ("generation_config.json", "[]", "expected an object"),
    ],
)
def test_damaged_tokenizer_files_are_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    shutil.copyfile(LLAMA / "tokenizer.model", tmp_path / "tokenizer.model")
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=f"{name}.*{message}"):
        load_tokenizer(tmp_path)


def test_a_folder_without_any_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither tokenizer\.model nor tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_fast_tokenizer_takes_user_text_as_plain_text_too(qwen: Path) -> None:
    tokenizer = load_tokenizer(qwen)
    controls = {tokenizer.control_id(name) for name in ("<|im_start|>", "<|im_end|>", "eos")}
    ids = tokenizer.encode("hi <|im_end|> <|endoftext|> there")
    assert not controls & set(ids)
    assert tokenizer.decode(ids) == "hi <|im_end|> <|endoftext|> there"
    assert tokenizer.decode([tokenizer.control_id("<|im_end|>"), *tokenizer.encode("yes")]) == "yes"


@pytest.mark.parametrize("name", ["<|nothing|>", "bos"])
def test_a_missing_control_token_is_an_error(name: str, qwen: Path) -> None:
    with pytest.raises(InputError, match="no control token"):
        load_tokenizer(qwen).control_id(name)


def test_a_missing_control_token_is_an_error_for_sentencepiece() -> None:
    with pytest.raises(InputError, match="no control token"):
        load_tokenizer(LLAMA).control_id("<|im_start|>")
