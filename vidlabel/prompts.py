"""Instruction pools: `prompts/*.toml`, or a user's own file, and which question goes to which clip.

The choice is a hash of seed, clip and text: the same on every machine, and unmoved by other clips or their order.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import cast, get_args

from vidlabel.data import Question, Task, stable_id
from vidlabel.errors import InputError

ANY_LANGUAGE = "und"  # BCP-47 "undetermined": a text file does not say, so its questions count as `--language`

_KEYS = ("name", "task", "about", "questions")
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


@dataclass(frozen=True, slots=True)
class Pool:
    """Phrasings of one instruction, per language."""

    name: str
    task: Task
    about: str
    questions: Mapping[str, tuple[str, ...]]  # BCP-47 tag -> texts

    def __post_init__(self) -> None:
        if not self.name or not self.questions or not all(self.questions.values()):
            raise ValueError(f"a pool has a name and questions, got {self.name = }, {self.questions = }")

    @property
    def fingerprint(self) -> str:
        """Changes when a question does, or their order; `about` has no say in a label."""
        languages = (part for tag in sorted(self.questions) for part in ("language", tag, *self.questions[tag]))
        return stable_id(self.name, self.task, *languages)


def list_pools() -> list[str]:
    """The names of the pools that ship with vidlabel."""
    return sorted(file.name.removesuffix(".toml") for file in _folder().iterdir() if file.name.endswith(".toml"))


def load_pool(name_or_file: str) -> Pool:
    """A shipped pool by its name, a .toml file of the same layout, or a .txt file with one instruction a line."""
    is_file = name_or_file.endswith((".toml", ".txt")) or "/" in name_or_file or "\\" in name_or_file
    if not is_file:
        if name_or_file not in list_pools():
            raise InputError(
                f"--prompts {name_or_file}: no such pool; there are {', '.join(list_pools())}, "
                "or give a .toml or .txt file"
            )
        return _read_toml(_folder() / f"{name_or_file}.toml", f"{name_or_file}.toml")
    if name_or_file.endswith(".toml"):
        return _read_toml(Path(name_or_file), name_or_file)
    if name_or_file.endswith(".txt"):
        return _read_txt(Path(name_or_file))
    raise InputError(f"--prompts {name_or_file}: a file of prompts ends in .toml or .txt")


def choose(pool: Pool, *, clip_id: str, seed: int, per_clip: int, language: str) -> tuple[Question, ...]:
    """The questions for one clip. Fewer are always the first of more, and none comes twice.

    A question asked twice of one clip would be one label, so more than the pool holds is an error, not a repeat.
    """
    tag, texts = in_language(pool, language)
    if not 1 <= per_clip <= len(texts):
        raise InputError(
            f"--per-clip {per_clip}: pool {pool.name} has {len(texts)} different questions in {tag}; "
            f"ask for 1 to {len(texts)}"
        )
    # every question draws its own lot, so one that is added later takes few clips away from the others
    drawn = sorted(texts, key=_lots("choose", str(seed), clip_id))[:per_clip]
    return tuple(Question(text=text, pool=pool.name, task=pool.task, language=tag) for text in drawn)


def _lots(*parts: str) -> Callable[[str], bytes]:
    """A text's lot sorts as `stable_id(*parts, text)`; the parts are hashed once, for a plan draws millions."""
    begun = hashlib.sha256("\x1f".join((*parts, "")).encode("utf-8", "surrogatepass"))

    def lot(text: str) -> bytes:
        whole = begun.copy()
        whole.update(text.encode("utf-8", "surrogatepass"))
        return whole.digest()[:8]

    return lot


def in_language(pool: Pool, language: str) -> tuple[str, tuple[str, ...]]:
    """The tag as the pool spells it, and its texts."""
    for tag, texts in pool.questions.items():
        if tag.lower() == language.lower():
            return tag, texts
    if ANY_LANGUAGE in pool.questions:
        return language, pool.questions[ANY_LANGUAGE]
    known = ", ".join(sorted(pool.questions))
    raise InputError(f"--language {language}: pool {pool.name} has no questions in it; it has {known}")


def _folder() -> Traversable:
    """Beside the code in an installed wheel, at the top of the repository in a checkout."""
    package = files("vidlabel")
    installed = package / "_prompts"
    return installed if installed.is_dir() else Path(str(package)).parent / "prompts"


def _read(file: Traversable, shown: str) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"--prompts {shown}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"--prompts {shown}: not UTF-8 at byte {error.start}; save it as UTF-8") from error


def _read_txt(path: Path) -> Pool:
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", _read(path, str(path)))]
    texts = [line for line in lines if line]
    return Pool(path.stem, "caption", f"from {path.name}", {ANY_LANGUAGE: _checked(texts, f"--prompts {path}")})


def _read_toml(file: Traversable, shown: str) -> Pool:
    where = f"--prompts {shown}"
    try:
        values = tomllib.loads(_read(file, shown))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where}: not TOML: {error}") from error
    for key in values:
        if key not in _KEYS:
            raise InputError(f"{where}: unknown key {key!r}; the keys are {', '.join(_KEYS)}")
    name = values.get("name", shown.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".toml"))
    about = values.get("about", "")
    for key, value in (("name", name), ("about", about)):
        if not isinstance(value, str) or (key == "name" and not value.strip()):
            raise InputError(f"{where}: {key} must be a text, got {value!r}")
    task = values.get("task", "caption")
    if task not in get_args(Task):
        raise InputError(f"{where}: task must be one of {', '.join(get_args(Task))}, got {task!r}")
    return Pool(name, cast(Task, task), about, _questions(values.get("questions"), where))


def _questions(table: object, where: str) -> dict[str, tuple[str, ...]]:
    if not isinstance(table, dict) or not table:
        raise InputError(f"{where}: needs a table [questions] with one list per language, such as en and zh")
    for tag in table:
        if not _LANGUAGE_TAG.fullmatch(tag):
            raise InputError(f"{where}: questions.{tag}: a language is a tag such as en, zh or pt-BR")
    if len({tag.lower() for tag in table}) < len(table):
        raise InputError(f"{where}: a language stands twice among {', '.join(table)}")
    return {tag: _checked(texts, f"{where}: questions.{tag}") for tag, texts in table.items()}


def _checked(texts: object, where: str) -> tuple[str, ...]:
    if not isinstance(texts, list) or not texts:
        raise InputError(f"{where}: needs at least one question")
    seen: list[str] = []
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"{where}: question {number} must be a text that is not empty, got {text!r}")
        if text in seen:
            raise InputError(f"{where}: question {number} stands there twice: {text!r}")
        seen.append(text)
    return tuple(seen)
