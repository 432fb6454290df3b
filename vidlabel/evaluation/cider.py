"""CIDEr-D (Vedantam, Zitnick and Parikh, 2015): what an answer shares with its references, rare words counting more.

Written out here, for the package that is usually taken for it is 100 MB of Java beside this page of Python. Texts come
as words. How rare a word is, the references of the whole set say, so a set of one example has no score.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

Words = Sequence[str]
Gram = tuple[str, ...]

_LONGEST = 4
_SIGMA = 6.0  # how much a difference in length costs
_SCALE = 10.0


def cider(said: Sequence[Words], references: Sequence[Sequence[Words]]) -> list[float]:
    """The score of each answer; their mean is that of the set."""
    counted = [[_grams(reference) for reference in several] for several in references]
    seen_in: Counter[Gram] = Counter()
    for several in counted:
        seen_in.update({gram for grams in several for gram in grams})
    log_sets = math.log(len(references)) if references else 0.0

    def weigh(grams: Counter[Gram]) -> _Vector:
        weights = {gram: count * (log_sets - math.log(max(1, seen_in[gram]))) for gram, count in grams.items()}
        return _Vector(weights, sum(count for gram, count in grams.items() if len(gram) == 2))

    scores = []
    for words, several in zip(said, counted, strict=True):
        mine = weigh(_grams(words))
        scores.append(_SCALE * sum(_likeness(mine, weigh(grams)) for grams in several) / len(several))
    return scores


class _Vector:
    """The weights of the n-grams of one text, with their norms for each n, and its length as the measure has it."""

    def __init__(self, weights: dict[Gram, float], num_pairs: int) -> None:
        self.weights = weights
        self.num_pairs = num_pairs
        squares = [0.0] * _LONGEST
        for gram, weight in weights.items():
            squares[len(gram) - 1] += weight * weight
        self.norms = [math.sqrt(square) for square in squares]


def _likeness(mine: _Vector, theirs: _Vector) -> float:
    """The mean over n of clipped cosines, less where the lengths differ."""
    products = [0.0] * _LONGEST
    for gram, weight in mine.weights.items():
        other = theirs.weights.get(gram, 0.0)
        products[len(gram) - 1] += min(weight, other) * other
    cosines = [
        product / (one * other) if one and other else 0.0
        for product, one, other in zip(products, mine.norms, theirs.norms, strict=True)
    ]
    apart = mine.num_pairs - theirs.num_pairs
    return sum(cosines) / _LONGEST * math.exp(-(apart**2) / (2 * _SIGMA**2))


def _grams(words: Words) -> Counter[Gram]:
    return Counter(tuple(words[at : at + n]) for n in range(1, _LONGEST + 1) for at in range(len(words) - n + 1))
