"""Grounding in the engine: answers that have ended wait until there are enough of them, and are then read again in
one packed pass without their video; with `strict` in another one, under the stored prefix of another clip. Without
video a question is the same whichever clip it was put to, so that all answers to it share one reading of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import torch
from torch import Tensor

from vidlabel.config import Grounding
from vidlabel.engine.attention import PromptsWork, ScoreWork, starts_of
from vidlabel.engine.budget import Budget
from vidlabel.engine.rows import Asking, Rows
from vidlabel.engine.stats import EngineStats
from vidlabel.models.minigpt4_video.answers import Asked, Decoded
from vidlabel.models.minigpt4_video.grounding import means, support, token_logprobs

logger = logging.getLogger(__name__)

_ENOUGH_TOKENS = 4096  # so many that reading the weights costs little, and that questions come up again
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
    def input(self) -> tuple[int, ...]:
        return self.said[:-1]  # nothing follows the last token


@dataclass(frozen=True, slots=True, eq=False)
class _Pack:
    """What goes through the model at once."""

    inputs: Sequence[tuple[int, ...]]
    positions: Tensor  # (N,)
    places: list[int]  # where in the pack each token of each reading is foretold
    work: ScoreWork


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
                pack = _after_prompts(rows, batch) if batch[0].slot is None else _under_slots(rows, batch)
                for reading, mean in zip(batch, _mean_logprobs(rows, pack, batch), strict=True):
                    found[reading.number] = mean
            self._stats.score_tokens += len(pack.positions)

        # as extend wants them, and with neighbours that share their prompt
        ordered = sorted(readings, key=lambda reading: (reading.slot or 0, reading.prompt, reading.number))
        costs = _costs(ordered)
        if self._budget.spend(ordered, lambda reading: costs[reading.number], work):
            logger.warning("out of memory: an answer goes without its grounding")
        return found


def _costs(ordered: Sequence[_Reading]) -> dict[int, int]:
    """Tokens that each reading adds to a pack, by its number: those of a shared prompt count for the first of it."""
    costs: dict[int, int] = {}
    before = None
    for reading in ordered:
        is_shared = before is not None and reading.slot is None and before.prompt == reading.prompt
        costs[reading.number] = len(reading.input) + (0 if is_shared else len(reading.prompt))
        before = reading
    return costs


def _after_prompts(rows: Rows, batch: Sequence[_Reading]) -> _Pack:
    """Every prompt once, then what was said after each."""
    device = rows.slots.device
    groups: dict[tuple[int, ...], list[_Reading]] = {}
    for reading in batch:
        groups.setdefault(reading.prompt, []).append(reading)
    # an answer of one token is foretold by its prompt, and nothing follows it
    followed = {prompt: sum(len(reading.input) for reading in group) for prompt, group in groups.items()}
    prompts = sorted(groups, key=lambda prompt: followed[prompt] == 0)
    answers = [reading for prompt in prompts for reading in groups[prompt] if reading.input]
    inputs = [*prompts, *(reading.input for reading in answers)]
    lengths = tuple(map(len, inputs))
    ends = list(accumulate(lengths))
    first = {prompt: end - 1 for prompt, end in zip(prompts, ends, strict=False)}
    begins = {reading.number: begin for reading, begin in zip(answers, ends[len(prompts) - 1 :], strict=False)}
    places: list[int] = []
    for reading in batch:
        begin = begins.get(reading.number, 0)
        places += [first[reading.prompt], *range(begin, begin + len(reading.input))]
    group_lengths = tuple(followed[prompt] for prompt in prompts if followed[prompt])
    work = PromptsWork(
        lengths, starts_of(lengths, device), len(prompts), group_lengths, starts_of(group_lengths, device)
    )
    before = [0] * len(prompts) + [len(reading.prompt) for reading in answers]
    return _Pack(inputs, _positions(lengths, before, device), places, ScoreWork(rows.slots, work))


def _under_slots(rows: Rows, batch: Sequence[_Reading]) -> _Pack:
    """Each reading whole, in the order of the slots."""
    per_slot = rows.slots.shape.rows_per_slot
    inputs = [(*reading.prompt, *reading.input) for reading in batch]
    lengths = tuple(map(len, inputs))
    slots = [reading.slot for reading in batch if reading.slot is not None]
    # the rows are named for their slot alone: nothing of theirs is read or written
    under = rows.extend_work(
        [Asking(slot * per_slot, sequence, 0) for slot, sequence in zip(slots, inputs, strict=True)]
    )
    positions = rows.slots.prefix_lengths[under.token_rows // per_slot] + under.token_positions
    ends = accumulate(lengths)
    places = [place for reading, end in zip(batch, ends, strict=True) for place in range(end - len(reading.said), end)]
    return _Pack(inputs, positions, places, ScoreWork(rows.slots, under))


def _positions(lengths: Sequence[int], before: Sequence[int], device: torch.device) -> Tensor:
    """Of the tokens of sequences that follow so many others each."""
    ranges = (range(start, start + length) for start, length in zip(before, lengths, strict=True))
    return torch.tensor([position for steps in ranges for position in steps], device=device)


@torch.inference_mode()
def _mean_logprobs(rows: Rows, pack: _Pack, batch: Sequence[_Reading]) -> list[float]:
    """Of each reading's answer."""
    device = rows.slots.device
    ids = torch.tensor([token for sequence in pack.inputs for token in sequence], device=device)
    hidden = rows.forward(rows.embed(ids), pack.positions, pack.work, rows.kernels)
    targets = torch.tensor([token for reading in batch for token in reading.said], device=device)
    told = hidden[torch.tensor(pack.places, device=device)]
    return means(token_logprobs(rows.model, told, targets), [len(reading.said) for reading in batch])
