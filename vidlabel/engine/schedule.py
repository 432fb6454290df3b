"""Who sits in which slot: clips move in as slots come free, their questions take rows, and each answer leaves as soon
as its row has ended, while the others go on. Out of memory costs a stage its size and at most one clip or question."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vidlabel.engine.budget import Budget
from vidlabel.engine.maths import MathsKernels
from vidlabel.engine.rows import Asking, Prefilling, Rows, Spoken
from vidlabel.engine.scoring import Scoring
from vidlabel.engine.stats import EngineStats
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.answers import Asked, Decoded

logger = logging.getLogger(__name__)
Outcome = tuple[Asked, Decoded | None]  # None: memory does not do for it
MakeRows = Callable[[int, int], Rows]  # for prefixes and suffixes up to these lengths; InputError if no slot fits


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Questions about one clip that share one prefix, ready to move in."""

    asked: tuple[Asked, ...]
    embeds: Tensor  # (P, hidden)

    @property
    def suffix_length(self) -> int:
        return max(len(one.prompt.suffix) for one in self.asked)


@dataclass(slots=True, eq=False)
class _Tenant:
    job: Job
    waiting: deque[Asked]  # questions that no row has been free for
    rows: dict[int, Asked] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Budgets:
    """What each stage does at once; kept by the captioner, so that what was learnt is not forgotten."""

    prefill: Budget
    extend: Budget
    step: Budget
    score: Budget


class Schedule:
    """One run of clips through the slots. `rows` may come from an earlier run and can be taken back with `close`."""

    def __init__(
        self,
        make_rows: MakeRows,
        budgets: Budgets,
        stats: EngineStats,
        *,
        run_seed: int,
        first_slots: int,  # jobs to take before it is known how many slots there are
        steps_per_check: int,  # steps between two looks at which rows have ended
        rows: Rows | None = None,
        scoring: Scoring | None = None,
    ) -> None:
        self._scoring = scoring
        self._stored: dict[int, Asked] = {}  # whose prefix is in which slot, also after it has moved out
        self._make_rows, self._budgets, self._stats = make_rows, budgets, stats
        self._run_seed, self._first_slots, self._steps_per_check = run_seed, first_slots, steps_per_check
        self._pending: deque[Job] = deque()
        self._tenants: dict[int, _Tenant] = {}
        self._free: list[int] = []
        self._rows: Rows | None = None
        self._maths = MathsKernels()
        self._fixed_fits = True  # the step over all rows at once has not run out of memory
        if rows is not None:
            rows.reset()
            self._move_into(rows)

    @property
    def num_slots(self) -> int:
        return self._first_slots if self._rows is None else self._rows.slots.shape.num_slots

    @property
    def num_free(self) -> int:
        """How many more jobs would find a slot."""
        return (self._first_slots if self._rows is None else len(self._free)) - len(self._pending)

    @property
    def is_idle(self) -> bool:
        return not self._tenants and not self._pending

    def submit(self, job: Job) -> None:
        self._pending.append(job)

    def advance(self) -> list[Outcome]:
        """Moves in who can, asks what can be asked, and decodes a little. What comes out is done with."""
        outcomes = self._move_in()
        if self._rows is None:
            return outcomes
        asked, failed = self._ask(self._rows)
        outcomes += failed
        if asked:  # an answer may be over with its first token
            outcomes += self._collect(self._rows)
        if self._rows.live:
            outcomes += self._decode(self._rows)
            outcomes += self._collect(self._rows)
        return outcomes if self._scoring is None else self._score(self._scoring, self._rows, outcomes)

    def end(self) -> list[Outcome]:
        """What has waited in vain, when no more clips come."""
        return [] if self._scoring is None else [*self._scoring.give_up()]

    def close(self) -> Rows | None:
        """The rows, for the next run."""
        rows, self._rows = self._rows, None
        return rows

    def _move_in(self) -> list[Outcome]:
        """Pending jobs, first come first served, into free slots."""
        outcomes: list[Outcome] = []
        coming: list[Prefilling] = []
        while self._pending:
            job = self._pending[0]
            if not self._fits(job):
                if self._tenants or coming:
                    break  # larger slots can be made only when nobody sits in these
                if not self._enlarge(job):
                    outcomes += [(asked, None) for asked in self._pending.popleft().asked]
                    continue
            if not self._free:
                break
            slot = self._free.pop(0)
            self._tenants[slot] = _Tenant(job, deque(job.asked))
            coming.append(Prefilling(slot, job.embeds))
            self._pending.popleft()
        if coming:
            outcomes += self._prefill(coming)
        return outcomes

    def _prefill(self, coming: Sequence[Prefilling]) -> list[Outcome]:
        rows, stats = self._rows, self._stats
        assert rows is not None

        def work(batch: Sequence[Prefilling]) -> None:
            with stats.timed("prefill", rows.slots.device):
                rows.prefill(batch)
            stats.prefill_tokens += sum(len(item.embeds) for item in batch)

        failed = self._budgets.prefill.spend(coming, lambda item: len(item.embeds), work)
        self._stored |= {item.slot: self._tenants[item.slot].job.asked[0] for item in coming}
        outcomes: list[Outcome] = []
        for item in failed:
            del self._stored[item.slot]
            outcomes += [(asked, None) for asked in self._tenants[item.slot].job.asked]
            self._move_out(rows, item.slot)
        return outcomes

    def _ask(self, rows: Rows) -> tuple[bool, list[Outcome]]:
        """Gives free rows to waiting questions; whether there were any, and those that memory did not do for."""
        per_slot, asking = rows.slots.shape.rows_per_slot, []
        for slot, tenant in sorted(self._tenants.items()):
            for row in range(slot * per_slot, (slot + 1) * per_slot):
                if not tenant.waiting:
                    break
                if row not in tenant.rows:
                    asked = tenant.rows[row] = tenant.waiting.popleft()
                    asking.append(Asking(row, asked.prompt.suffix, asked.seed(self._run_seed)))

        def work(batch: Sequence[Asking]) -> None:
            with self._stats.timed("extend", rows.slots.device):
                rows.extend(batch)
            self._stats.extend_tokens += sum(len(item.suffix) for item in batch)

        failed = self._budgets.extend.spend(asking, lambda item: len(item.suffix), work)
        return bool(asking), [self._leave(rows, item.row, None) for item in failed]

    def _decode(self, rows: Rows) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for _ in range(self._steps_per_check):
            live, per_slot = rows.live, rows.slots.shape.rows_per_slot
            with self._stats.timed("step", rows.slots.device):
                outcomes += self._step(rows)
            self._stats.steps += 1
            self._stats.slot_steps += len({row // per_slot for row in live})
        return outcomes

    def _step(self, rows: Rows) -> list[Outcome]:
        if rows.kernels.fixed_rows and self._fixed_fits:
            try:
                rows.step()
                return []
            except torch.OutOfMemoryError:
                self._fixed_fits = False
            logger.warning("out of memory: from now on answers are decoded in parts, without a recorded step")
            rows.release()
        kernels = self._maths if rows.kernels.fixed_rows else rows.kernels
        failed = self._budgets.step.spend(rows.live, lambda _: 1, lambda batch: rows.step(batch, kernels))
        for row in failed:
            rows.kill(row)
        return [self._leave(rows, row, None) for row in failed]

    def _collect(self, rows: Rows) -> list[Outcome]:
        ended = rows.finished()
        self._stats.row_steps += sum(len(spoken.ids) - 1 for spoken in ended)  # the first token came with the question
        return [self._leave(rows, spoken.row, _decoded(spoken)) for spoken in ended]

    def _score(self, scoring: Scoring, rows: Rows, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Answers stay until they are scored; errors leave at once."""
        for asked, decoded in outcomes:
            if decoded is not None:
                scoring.add(asked, decoded)
        errors = [outcome for outcome in outcomes if outcome[1] is None]
        return [*errors, *scoring.take(rows, self._stored, hurry=not self._tenants)]

    def _leave(self, rows: Rows, row: int, decoded: Decoded | None) -> Outcome:
        """A question is done with; its clip moves out with the last one."""
        slot = row // rows.slots.shape.rows_per_slot
        tenant = self._tenants[slot]
        asked = tenant.rows.pop(row)
        if not tenant.rows and not tenant.waiting:
            self._move_out(rows, slot)
        return asked, decoded

    def _move_out(self, rows: Rows, slot: int) -> None:
        del self._tenants[slot]
        if self._scoring is None or slot not in self._stored:  # else answers may still be read under it
            rows.empty(slot)
        self._free.append(slot)

    def _fits(self, job: Job) -> bool:
        if self._rows is None:
            return False
        shape = self._rows.slots.shape
        suffix_room = shape.suffix_length - self._rows.max_new_tokens
        return len(job.embeds) <= shape.prefix_length and job.suffix_length <= suffix_room

    def _enlarge(self, job: Job) -> bool:
        """Makes slots anew, as large as before and large enough for this job; False if memory does not do for one."""
        prefix, suffix = len(job.embeds), job.suffix_length
        if self._rows is not None:
            shape = self._rows.slots.shape
            prefix = max(prefix, shape.prefix_length)
            suffix = max(suffix, shape.suffix_length - self._rows.max_new_tokens)
            self._rows = None  # first, so that its memory is free
            self._free = []
        try:
            self._move_into(self._make_rows(prefix, suffix))
        except InputError as error:
            logger.warning("%s", error)
            return False
        return True

    def _move_into(self, rows: Rows) -> None:
        self._rows = rows
        self._free = list(range(rows.slots.shape.num_slots))
        self._stored = {}
        self._stats.num_slots = rows.slots.shape.num_slots


def _decoded(spoken: Spoken) -> Decoded:
    if not spoken.stopped:
        return Decoded(spoken.ids, "length", spoken.mean_logprob)
    return Decoded(spoken.ids[:-1], "stop", spoken.mean_logprob, spoken.ids[-1])
