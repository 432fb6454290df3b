"""Text to ids and back. sentencepiece itself wherever there is a `tokenizer.model`; else the family's fast tokenizer.

transformers 5 no longer tokenises as the slow LlamaTokenizer did, with which the released models were trained, so its
rule is written out here. Text is always plain text: a `</s>` in a subtitle is four characters, never a control id.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from vidlabel.errors import InputError

SPACE = "▁"  # sentencepiece's mark for a space
# The protobuf message ModelProto{normalizer_spec{add_dummy_prefix: false}}. Messages that follow one another are
# merged, so this behind a model file switches the dummy prefix off, without protobuf, in every sentencepiece version.
_NO_DUMMY_PREFIX = b"\x1a\x02\x18\x00"
_REFERENCE_SPECIAL = re.compile(r"(<s>|</s>|<unk>)")


class PromptTokenizer(Protocol):
    """What the prompt layout and the captioner need of a tokenizer."""

    eos_ids: tuple[int, ...]
    pad_id: int

    def control_id(self, name: str) -> int: ...

    def encode(self, text: str, *, after_control: bool = False) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class SentencePieceTokenizer:
    """The Llama family's tokenisation, as the slow transformers class did it.

    `legacy` False: no space is put in front of text that follows a control token. True: every text gets one.
    """

    def __init__(self, model_file: Path, *, legacy: bool) -> None:
        import sentencepiece

        self.legacy = legacy
        try:
            proto = model_file.read_bytes() + (b"" if legacy else _NO_DUMMY_PREFIX)
            self.sp = sentencepiece.SentencePieceProcessor(model_proto=proto)
        except (OSError, RuntimeError) as error:
            raise InputError(f"{model_file}: not a sentencepiece model ({error})") from error
        self.eos_ids: tuple[int, ...] = (self.sp.eos_id(),)
        self.pad_id: int = self.sp.eos_id()
        self.unk_id: int = self.sp.unk_id()
        self._unk = self.sp.encode("<unk>", out_type=str)

    def control_id(self, name: str) -> int:
        known = {"bos": self.sp.bos_id(), "eos": self.sp.eos_id()}
        found = known.get(name, self.sp.piece_to_id(name))
        if found < 0 or (found == self.sp.unk_id() and name != "<unk>"):
            raise InputError(f"this tokenizer has no control token {name!r}")
        return int(found)

    def encode(self, text: str, *, after_control: bool = False) -> list[int]:
        """Plain text to ids; `after_control` says that a control id stands right before it."""
        if not text:
            return []
        if self.legacy:
            return self._ids(self.sp.encode(text, out_type=str))
        text = text.replace(SPACE, " ")
        return self._ids(self._pieces(text if after_control else SPACE + text))

    def encode_reference(self, text: str, *, bos: bool) -> list[int]:
        """As the reference tokenises: `<s>`, `</s>` and `<unk>` in the text become control ids. For golden data."""
        ids = [self.sp.bos_id()] if bos else []
        if not text:
            return ids
        whole = text if self.legacy else SPACE + text.replace(SPACE, " ")
        parts = [part for part in _REFERENCE_SPECIAL.split(whole) if part]
        if len(parts) > 1 and parts[0] == SPACE:  # only a special token stands before it
            parts = parts[1:]
        for part in parts:
            if _REFERENCE_SPECIAL.fullmatch(part):
                ids.append(self.sp.piece_to_id(part))
            else:
                ids += self._ids(self.sp.encode(part, out_type=str) if self.legacy else self._pieces(part))
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer: control ids left out, bytes joined."""
        last = self.sp.vocab_size()
        text = str(
            self.sp.decode([i for i in ids if 0 <= i < last and not (self.sp.is_control(i) or i == self.unk_id)])
        )
        return text if self.legacy else text.removeprefix(" ")  # sentencepiece itself drops it with a dummy prefix

    def _pieces(self, text: str) -> list[str]:
        """Pieces without a dummy prefix. A leading space would be eaten, so it is encoded behind `<unk>`."""
        if text.startswith((SPACE, " ")):
            pieces: list[str] = self.sp.encode("<unk>" + text, out_type=str)
            return pieces[len(self._unk) :]
        found: list[str] = self.sp.encode(text, out_type=str)
        return found

    def _ids(self, pieces: Sequence[str]) -> list[int]:
        return [self.sp.piece_to_id(piece) for piece in pieces]


class FastTokenizer:
    """The language model's own `tokenizer.json` (Qwen and others)."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        try:
            self.tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"{folder}: the tokenizer cannot be loaded ({error})") from error
        self.backend: Any = self.tokenizer.backend_tokenizer
        self.backend.encode_special_tokens = True  # user text is plain text: '<|im_end|>' is ten characters
        # tokens that are added and yet not special are found in any text: the first character must not see the rest
        added = [one.content for one in self.tokenizer.added_tokens_decoder.values() if not one.special]
        self._added = re.compile("|".join(rf"(?<={re.escape(text[0])})(?={re.escape(text[1:])})" for text in added))
        eos, pad = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
        if eos is None:
            raise InputError(f"{folder}: the tokenizer names no eos_token")
        self.eos_ids: tuple[int, ...] = (eos,)
        self.pad_id: int = eos if pad is None else pad

    def control_id(self, name: str) -> int:
        named = {"bos": self.tokenizer.bos_token, "eos": self.tokenizer.eos_token}
        text = named.get(name, name)
        found = None if text is None else self.backend.token_to_id(text)
        if found is None:
            raise InputError(f"this tokenizer has no control token {name!r}")
        return int(found)

    def encode(self, text: str, *, after_control: bool = False) -> list[int]:
        parts = self._added.split(text) if self._added.pattern else [text]
        return [i for part in parts if part for i in self.backend.encode(part, add_special_tokens=False).ids]

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.backend.decode(list(ids), skip_special_tokens=True))


def load_tokenizer(folder: Path) -> PromptTokenizer:
    """The tokenizer of a language model folder, with the end tokens that its generation_config.json adds."""
    model_file = folder / "tokenizer.model"
    tokenizer: SentencePieceTokenizer | FastTokenizer
    if model_file.exists():
        tokenizer = SentencePieceTokenizer(model_file, legacy=read_legacy(folder))
    elif (folder / "tokenizer.json").exists():
        tokenizer = FastTokenizer(folder)
    else:
        raise InputError(f"{folder}: has neither tokenizer.model nor tokenizer.json")
    tokenizer.eos_ids = tuple(dict.fromkeys((*tokenizer.eos_ids, *_more_eos_ids(folder))))
    return tokenizer


def read_legacy(folder: Path) -> bool:
    """The `legacy` switch of tokenizer_config.json; absent or null means True, as in transformers."""
    path = folder / "tokenizer_config.json"
    legacy = _read_object(path).get("legacy")
    if legacy is not None and not isinstance(legacy, bool):
        raise InputError(f"{path}: field 'legacy' should be true or false, got {legacy!r}")
    return True if legacy is None else legacy


def _more_eos_ids(folder: Path) -> tuple[int, ...]:
    """Chat models often end an answer with another token than their tokenizer's eos."""
    path = folder / "generation_config.json"
    found = _read_object(path).get("eos_token_id")
    ids = [] if found is None else found if isinstance(found, list) else [found]
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise InputError(f"{path}: field 'eos_token_id' should be an id or a list of ids, got {found!r}")
    return tuple(ids)


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no file."""
    if not path.exists():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: expected an object")
    return values
