"""Grounding in the engine: answers that have ended wait until there are enough of them, and are then read again in
one packed pass without their video; with `strict` in another one, under the stored prefix of another clip."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vidlabel.config import Grounding
from vidlabel.engine.attention import ScoreWork, starts_of
from vidlabel.engine.budget import Budget
from vidlabel.engine.rows import Asking, Rows
from vidlabel.engine.stats import EngineStats
from vidlabel.models.minigpt4_video.answers import Asked, Decoded
from vidlabel.models.minigpt4_video.grounding import means, support, token_logprobs

logger = logging.getLogger(__name__)

_ENOUGH_TOKENS = 2048  # a pass over so many costs little more than reading the weights for one
_PATIENCE = 32  # looks at the rows that an answer may wait for company


@dataclass(slots=True, eq=False)
class _Waiting:
    """An answer on its way out."""

    asked: Asked
    decoded: Decoded
    num_looks: int = 0

    @property
    def num_tokens(self) -> int:
        return len(self.asked.prompt.suffix) + len(self.decoded.said)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is read again: one answer after ids, at the start (`slot` None) or under the prefix in a slot."""

    number: int  # among those that are read
    prompt: tuple[int, ...]
    said: tuple[int, ...]
    slot: int | None = None

    @property
    def num_tokens(self) -> int:
        return len(self.prompt) + len(self.said) - 1  # nothing follows the last token


class Scoring:
    """Of one run. `opening` stands before a question that has no video; a sequence takes `max_positions` at most."""

    def __init__(
        self, grounding: Grounding, opening: Sequence[int], budget: Budget, stats: EngineStats, *, max_positions: int
    ) -> None:
        self.is_strict = grounding == "strict"
        self._opening, self._max_positions = tuple(opening), max_positions
        self._budget, self._stats = budget, stats
        self._waiting: list[_Waiting] = []

    def add(self, asked: Asked, decoded: Decoded) -> None:
        self._waiting.append(_Waiting(asked, decoded))

    def take(self, rows: Rows, stored: Mapping[int, Asked], *, hurry: bool) -> list[tuple[Asked, Decoded]]:
        """Scored answers, once they are worth a pass, or with `hurry` at once. `stored`: whose prefix each slot holds,
        also when all of its clip is answered. With `strict` an answer waits until another clip's is there."""
        for waiting in self._waiting:
            waiting.num_looks += 1
        clip_ids = {other.clip.clip.clip_id for other in stored.values()} if self.is_strict else set()
        ready = [w for w in self._waiting if not self.is_strict or clip_ids - {w.asked.clip.clip.clip_id}]
        enough = min(_ENOUGH_TOKENS, self._budget.size)
        is_due = sum(waiting.num_tokens for waiting in ready) >= enough or any(w.num_looks > _PATIENCE for w in ready)
        if not ready or not (hurry or is_due):
            return []
        chosen = set(ready)
        self._waiting = [waiting for waiting in self._waiting if waiting not in chosen]
        others = [self._read(rows, len(ready), [self._alone(number, w) for number, w in enumerate(ready)])]
        if self.is_strict:
            under = (self._under(number, w, stored) for number, w in enumerate(ready))
            others.append(self._read(rows, len(ready), [reading for reading in under if reading]))
        return [
            (waiting.asked, replace(waiting.decoded, grounding=support(waiting.decoded.mean_logprob, *found)))
            for waiting, *found in zip(ready, *others, strict=True)
        ]

    def give_up(self) -> list[tuple[Asked, Decoded]]:
        """The answers that are left when there will be no other clip: they go without."""
        left, self._waiting = self._waiting, []
        return [(waiting.asked, waiting.decoded) for waiting in left]

    def _alone(self, number: int, waiting: _Waiting) -> _Reading:
        return _Reading(number, (*self._opening, *waiting.asked.prompt.suffix), waiting.decoded.said)

    def _under(self, number: int, waiting: _Waiting, stored: Mapping[int, Asked]) -> _Reading | None:
        """Under another clip's prefix that leaves room, of another video where there is one."""
        mine = waiting.asked.clip.clip
        room = self._max_positions - waiting.num_tokens
        others = [
            (other.clip.clip.video.video_id == mine.video.video_id, slot)
            for slot, other in stored.items()
            if other.clip.clip.clip_id != mine.clip_id and other.prompt.prefix.num_tokens <= room
        ]
        return _Reading(number, waiting.asked.prompt.suffix, waiting.decoded.said, min(others)[1]) if others else None

    def _read(self, rows: Rows, count: int, readings: Sequence[_Reading]) -> list[float | None]:
        """Mean log-probabilities of answers 0 to `count`; None where none was read or memory does not do for it."""
        found: list[float | None] = [None] * count

        def work(batch: Sequence[_Reading]) -> None:
            with self._stats.timed("score", rows.slots.device):
                for reading, mean in zip(batch, _mean_logprobs(rows, batch), strict=True):
                    found[reading.number] = mean
            self._stats.score_tokens += sum(reading.num_tokens for reading in batch)

        ordered = sorted(readings, key=lambda reading: (reading.slot or 0, reading.number))  # as extend wants them
        if self._budget.spend(ordered, lambda reading: reading.num_tokens, work):
            logger.warning("out of memory: an answer goes without its grounding")
        return found


@torch.inference_mode()
def _mean_logprobs(rows: Rows, batch: Sequence[_Reading]) -> list[float]:
    """One packed pass; all alone, or all under slots, in their order."""
    device, per_slot = rows.slots.device, rows.slots.shape.rows_per_slot
    inputs = [(*reading.prompt, *reading.said[:-1]) for reading in batch]
    lengths = tuple(map(len, inputs))
    within = torch.cat([torch.arange(length, device=device) for length in lengths])
    ids = torch.tensor([token for sequence in inputs for token in sequence], device=device)
    slots = [reading.slot for reading in batch if reading.slot is not None]
    if slots:
        # the rows are named for their slot alone: nothing of theirs is read or written
        asking = [Asking(slot * per_slot, sequence, 0) for slot, sequence in zip(slots, inputs, strict=True)]
        under = rows.extend_work(asking)
        positions = rows.slots.prefix_lengths[under.token_rows // per_slot] + within
        work = ScoreWork(rows.slots, lengths, under.row_starts, under)
    else:
        positions, work = within, ScoreWork(rows.slots, lengths, starts_of(lengths, device))
    hidden = rows.forward(rows.embed(ids), positions, work, rows.kernels)
    counts = [len(reading.said) for reading in batch]
    targets = torch.tensor([token for reading in batch for token in reading.said], device=device)
    return means(token_logprobs(rows.model, hidden[_places(lengths, counts, device)], targets), counts)


def _places(lengths: Sequence[int], counts: Sequence[int], device: torch.device) -> Tensor:
    """Where in the packed sequences each answer token is foretold: the last so many of each."""
    places: list[int] = []
    end = 0
    for length, count in zip(lengths, counts, strict=True):
        end += length
        places += range(end - count, end)
    return torch.tensor(places, device=device)
