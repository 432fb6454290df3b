"""How like their references answers are, by the usual measures. Words are those of `quality/words.py`: lower case, no
punctuation, each Chinese character one.

BLEU is sacrebleu's over the whole set without smoothing, ROUGE-L the F of rouge-score with the best reference, METEOR
NLTK's with equal words and stems and no synonyms (their dictionary would have to be fetched), CIDEr-D `cider.py`'s.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from vidlabel.errors import InputError
from vidlabel.evaluation.answered import Answered
from vidlabel.evaluation.cider import cider
from vidlabel.quality.words import words_of

_PACKAGES = {"sacrebleu": "sacrebleu", "rouge_score": "rouge-score", "nltk": "nltk"}


@dataclass(frozen=True, slots=True)
class Likeness:
    """Of a set of answers. CIDEr is around 0 to 1 and may be more, the others 0 to 1."""

    bleu1: float
    bleu4: float
    rouge_l: float
    meteor: float
    cider: float | None  # of a single example there is none


def check_installed() -> None:
    missing = [package for module, package in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise InputError(f"vidlabel eval needs {', '.join(missing)}: pip install 'vidlabel[eval]'")


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    return {package: version(package) for package in ("torch", "transformers", *_PACKAGES.values())}


def likeness(answers: Sequence[Answered]) -> Likeness:
    """An InputError where the packages of the extra `eval` are missing."""
    check_installed()
    said = [words_of(answer.said) for answer in answers]
    references = [[words_of(reference) for reference in answer.references] for answer in answers]
    scores = cider(said, references)
    return Likeness(
        bleu1=_bleu(said, references, 1),
        bleu4=_bleu(said, references, 4),
        rouge_l=_rouge_l(said, references),
        meteor=_meteor(said, references),
        cider=sum(scores) / len(scores) if len(scores) > 1 else None,
    )


def _bleu(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]], order: int) -> float:
    from sacrebleu.metrics.bleu import BLEU

    most = max(map(len, references))
    streams = [
        [" ".join(several[place]) if place < len(several) else None for several in references] for place in range(most)
    ]
    measure = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    found = measure.corpus_score([" ".join(words) for words in said], streams)  # type: ignore[arg-type]  # None: no more
    return float(found.score) / 100


class _Split:
    """rouge-score's own tokenizer knows Latin letters alone."""

    def tokenize(self, text: str) -> list[str]:
        return text.split()


def _rouge_l(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Split())
    total = 0.0
    for words, several in zip(said, references, strict=True):
        found = scorer.score_multi([" ".join(reference) for reference in several], " ".join(words))
        total += found["rougeL"].fmeasure
    return total / len(said)


class _NoSynonyms:
    """In place of WordNet."""

    def synsets(self, _word: str) -> list[Any]:
        return []


def _meteor(said: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> float:
    from nltk.translate.meteor_score import meteor_score

    pairs = zip(said, references, strict=True)
    return sum(float(meteor_score(several, words, wordnet=_NoSynonyms())) for words, several in pairs) / len(said)
