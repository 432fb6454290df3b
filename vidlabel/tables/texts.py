"""What a row of labels says: its caption or its answer, whichever tool wrote it; counted in words, and as keys that
tell equal texts. Whole columns at a time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.errors import InputError
from vidlabel.tables.reading import LabelTable, Types

_TEXT = pa.string()
# scripts that are written without spaces: each character is a word
UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}]"


NO_TEXTS: Types = dict.fromkeys(("caption", "answer", "task", "question", "language"), _TEXT)  # of a file without any


@dataclass(frozen=True, slots=True)
class Said:
    """The texts of some rows. All columns have the same length."""

    tasks: pa.StringArray  # caption or qa
    questions: pa.StringArray  # null for captions
    texts: pa.StringArray  # null where nothing is there
    languages: pa.StringArray  # null where the file does not say


def said_types(table: LabelTable, text_column: str | None) -> Types:
    """The columns that `said` needs; an InputError where there is no text."""
    if text_column is not None:
        table.require(text_column, "--text-column")
        names = [text_column, "task", "question", "language"]
    elif "caption" not in table.names and "answer" not in table.names:
        raise InputError(
            f"{table.path} has no column caption or answer; say with --text-column which of these holds the texts: "
            f"{', '.join(table.names)}"
        )
    else:
        names = ["caption", "answer", "task", "question", "language"]
    return dict.fromkeys(names, _TEXT)


def said(asked: pa.RecordBatch, text_column: str | None) -> Said:
    """The text of a row is its answer where it is a qa label, else its caption."""
    tasks = asked["task"]
    if text_column is not None:
        texts = asked[text_column]
        tasks = pc.fill_null(tasks, pc.if_else(pc.is_valid(asked["question"]), "qa", "caption"))
    else:
        tasks = pc.fill_null(tasks, pc.if_else(pc.is_valid(asked["answer"]), "qa", "caption"))
        texts = pc.if_else(pc.equal(tasks, "qa"), asked["answer"], asked["caption"])
    questions = pc.if_else(pc.equal(tasks, "qa"), asked["question"], pa.scalar(None, _TEXT))
    return Said(tasks, questions, texts, asked["language"])


def text_column_of(asked_task: str, text_column: str | None) -> str:
    """The name of the column that holds the text of rows of a task."""
    return text_column or ("answer" if asked_task == "qa" else "caption")


def languages_of(said: Said) -> pa.StringArray:
    """The language of each row; where the file does not say, what its script tells of the two that vidlabel speaks."""
    guessed = pc.if_else(pc.fill_null(pc.match_substring_regex(said.texts, r"\p{Han}"), False), "zh", "en")
    return pc.coalesce(said.languages, guessed)


def spaced(texts: pa.StringArray) -> pa.StringArray:
    """With spaces around each character that is a word of its own."""
    if pc.all(pc.string_is_ascii(texts)).as_py() is not False:
        return texts
    return pc.replace_substring_regex(texts, f"({UNSPACED})", r" \1 ")


def num_words(texts: pa.StringArray) -> npt.NDArray[np.int64]:
    """Words that have a letter or a digit; of a script without spaces, characters. 0 where there is no text."""
    counts = pc.count_substring_regex(spaced(texts), r"[\p{L}\p{N}]\S*")
    numbers: npt.NDArray[np.int64] = pc.fill_null(counts, 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def text_keys(said: Said) -> npt.NDArray[np.int64]:
    """A 64-bit number a row, the same for the same text (of an answer: and the same question), whatever its case.

    Good within one process only: Python salts its hashes.
    """
    questions = pc.fill_null(said.questions, "")
    whole = pc.binary_join_element_wise(questions, pc.fill_null(said.texts, ""), "\x1f")
    return hashes(pc.utf8_trim_whitespace(pc.utf8_lower(whole)))


def hashes(column: pa.Array) -> npt.NDArray[np.int64]:
    return np.fromiter(map(hash, column.to_numpy(zero_copy_only=False)), np.int64, len(column))
