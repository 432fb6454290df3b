"""Which words labels use, and how often. In Chinese and Japanese, which have no spaces, a word here is a character."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from vidlabel.tables.texts import spaced

SAMPLE_WORDS = 10_000  # a type-token ratio falls with the length of the text: it compares only at one length

# words that every text has and that say nothing of what the videos show
STOP_WORDS = frozenset(
    """
    a about above across after again against all also am an and another any are around as at be because been before
    behind being below beside between both but by can could did do does down during each few for from further had has
    have having he her here hers him his how i if in inside into is it its itself just like may me more most my near
    next no nor not of off on onto or other our out over own s same she should so some such than that the their them
    then there these they this those through to too toward towards under until up very was we were what when where
    which while who whom why will with within without would you your
    """.split()  # noqa: SIM905  quoted one by one they read worse
) | frozenset("的了是在和与着个这那有也就不都而及或把被从到对中上下里为之其它他她们一")
_EDGES = re.compile(r"^[\W_]+|[\W_]+$")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of all texts."""

    num_words: int
    num_distinct: int
    most_frequent: Mapping[str, int]  # stop words left out, the most frequent first
    sample_words: int  # how many the ratio is of; SAMPLE_WORDS unless there are fewer
    type_token_ratio: float | None


def word_counts(texts: pa.StringArray) -> Mapping[str, int]:
    """How often what stands between spaces occurs, in small letters; `clean_counts` makes words of it."""
    pieces = pc.utf8_split_whitespace(spaced(pc.utf8_lower(pc.drop_null(texts)))).flatten()
    counted = pc.value_counts(pieces)
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def clean_counts(pieces: Mapping[str, int]) -> Counter[str]:
    """Without the punctuation around words. Done on the distinct ones, a hundredth of all."""
    counts: Counter[str] = Counter()
    for piece, count in pieces.items():
        if word := clean(piece):
            counts[word] += count
    return counts


def clean(piece: str) -> str:
    return piece if piece.isalnum() else _EDGES.sub("", piece)


def vocabulary(pieces: Mapping[str, int], sample: Iterable[str], *, shown: int) -> Vocabulary:
    counts = clean_counts(pieces)
    frequent = [(word, count) for word, count in counts.items() if word not in STOP_WORDS and not word.isdecimal()]
    frequent.sort(key=lambda item: (-item[1], item[0]))
    words = [
        word
        for pieces_of_text in pc.utf8_split_whitespace(
            spaced(pc.utf8_lower(pa.array(list(sample), pa.string())))
        ).to_pylist()
        for piece in pieces_of_text
        if (word := clean(piece))
    ][:SAMPLE_WORDS]
    return Vocabulary(
        num_words=counts.total(),
        num_distinct=len(counts),
        most_frequent=dict(frequent[:shown]),
        sample_words=len(words),
        type_token_ratio=len(set(words)) / len(words) if words else None,
    )
