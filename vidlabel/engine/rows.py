"""The rows that decode: their state on the device, and the three things done to them (prefill, extend, step).

A step changes everything in place and asks the host for nothing, so that it can be captured once and replayed. What
the host knows of it may lag: a row that has ended is dead on the device at once, and found so by `finished`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from vidlabel.engine.attention import (
    ExtendWork,
    Kernels,
    PrefillWork,
    StepWork,
    attending_to_slots,
    starts_of,
    step_targets,
)
from vidlabel.engine.choosing import Choosing, choose, uniforms_of
from vidlabel.engine.slots import Slots
from vidlabel.models.minigpt4_video.model import MiniGPT4Video


@dataclass(frozen=True, slots=True, eq=False)
class Prefilling:
    """A clip's prefix on its way into a slot."""

    slot: int
    embeds: Tensor  # (P, hidden)


@dataclass(frozen=True, slots=True)
class Asking:
    """A question on its way into a row."""

    row: int
    suffix: tuple[int, ...]
    seed: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """What an ended row has said, its end token included."""

    row: int
    ids: tuple[int, ...]
    stopped: bool  # by an end token
    mean_logprob: float


class Rows:
    """All rows of `slots`, decoded by one language model along one path."""

    def __init__(
        self,
        model: MiniGPT4Video,
        slots: Slots,
        kernels: Kernels,
        choosing: Choosing,
        *,
        max_new_tokens: int,
        stop_ids: Sequence[int],
    ) -> None:
        num_rows, device = slots.shape.num_rows, slots.device
        self.model, self.slots, self.kernels = model, slots, kernels
        self.choosing, self.max_new_tokens = choosing, max_new_tokens
        self.stop_ids = tuple(stop_ids)
        self._stop_ids = torch.tensor(list(stop_ids), dtype=torch.long, device=device)
        self._tokens = torch.zeros(num_rows, dtype=torch.long, device=device)  # the latest of each row
        self._done = torch.ones(num_rows, dtype=torch.bool, device=device)
        self._stopped = torch.zeros(num_rows, dtype=torch.bool, device=device)
        self._num_new = torch.zeros(num_rows, dtype=torch.long, device=device)
        self._logprob_sum = torch.zeros(num_rows, dtype=torch.float64, device=device)
        # beyond what a row has said stands its first token again, which changes nothing for the repetition penalty
        self._said = torch.zeros(num_rows, max_new_tokens, dtype=torch.long, device=device)
        self._uniforms = torch.zeros_like(self._said, dtype=torch.float64) if choosing.sampled else None
        self._all_rows = torch.arange(num_rows, device=device)
        self._replay: Callable[[], None] | None = None
        # what the host knows
        self.live: tuple[int, ...] = ()  # sorted
        self._row_ids = self._all_rows[:0]  # `live` on the device
        self._prefix_lengths = [0] * slots.shape.num_slots
        self._suffix_lengths = [0] * num_rows

    def reset(self) -> None:
        """Forgets whatever was being said."""
        self._done.fill_(True)
        self.slots.suffix_lengths.zero_()
        self.slots.prefix_lengths.zero_()
        self._prefix_lengths = [0] * len(self._prefix_lengths)
        self._set_live(())

    @torch.inference_mode()
    def prefill(self, batch: Sequence[Prefilling]) -> None:
        """Fills the slots with their prefixes, all in one pass without padding."""
        device, slots = self.slots.device, self.slots
        lengths = tuple(len(item.embeds) for item in batch)
        ids = torch.tensor([item.slot for item in batch], device=device)
        counts = torch.tensor(lengths, device=device)
        positions = torch.cat([torch.arange(length, device=device) for length in lengths])
        work = PrefillWork(
            slots,
            tuple(item.slot for item in batch),
            lengths,
            starts_of(lengths, device),
            ids.repeat_interleave(counts, output_size=len(positions)),
            positions,
        )
        self.forward(torch.cat([item.embeds for item in batch]), positions, work, self.kernels)
        slots.prefix_lengths[ids] = counts.int()
        for item, length in zip(batch, lengths, strict=True):
            self._prefix_lengths[item.slot] = length

    @torch.inference_mode()
    def extend(self, batch: Sequence[Asking]) -> None:
        """Puts questions into free rows of filled slots and chooses their answers' first tokens."""
        batch = sorted(batch, key=lambda asking: asking.row)
        work = self.extend_work(batch)
        slot_of_token = work.token_rows // self.slots.shape.rows_per_slot
        positions = self.slots.prefix_lengths[slot_of_token] + work.token_positions
        ids = torch.tensor([token for asking in batch for token in asking.suffix], device=self.slots.device)
        hidden = self.forward(self.embed(ids), positions, work, self.kernels)
        rows = torch.tensor(work.rows, device=self.slots.device)
        logits = self.model.llama_model.lm_head(hidden[work.row_starts[1:].long() - 1])
        uniforms = None
        if self._uniforms is not None:
            drawn = torch.stack([uniforms_of(asking.seed, self.max_new_tokens) for asking in batch])
            self._uniforms[rows] = drawn.to(self.slots.device)
            uniforms = self._uniforms[rows, 0]
        tokens, logprobs = choose(logits, None, uniforms, self.choosing)
        self._begin(rows, tokens, logprobs, torch.tensor(work.lengths, device=self.slots.device))
        for row, length in zip(work.rows, work.lengths, strict=True):
            self._suffix_lengths[row] = length
        self._set_live(tuple(sorted({*self.live, *work.rows})))

    def step(self, rows: Sequence[int] | None = None, kernels: Kernels | None = None) -> None:
        """One more token for `rows` (all live ones), for all at once where the path wants that."""
        kernels = kernels or self.kernels
        if kernels.fixed_rows:
            (self._replay or self._fixed_step)()
            self._count(self.live)
            return
        chosen = self.live if rows is None else tuple(rows)
        ids = self._row_ids if chosen == self.live else torch.tensor(chosen, device=self.slots.device)
        longest = self.slots.shape.suffix_length
        work = StepWork(
            self.slots,
            chosen,
            ids,
            tuple(self._prefix_lengths),
            tuple(min(self._suffix_lengths[row] + 1, longest) for row in chosen),
        )
        self._step(work, kernels)
        self._count(chosen)

    def capture(self, capture: Callable[[Callable[[], None]], Callable[[], None]]) -> None:
        """Records the step, to be replayed from now on. Every row must be dead, since capturing runs it a few times."""
        assert not self.live
        self._replay = capture(self._fixed_step)

    def release(self) -> None:
        """Drops the recorded step, which holds memory."""
        self._replay = None

    @torch.inference_mode()
    def finished(self) -> list[Spoken]:
        """The live rows that have ended since; they are free from now on."""
        if not self.live:
            return []
        done = self._done[self._row_ids].tolist()
        ended = [row for row, is_done in zip(self.live, done, strict=True) if is_done]
        if not ended:
            return []
        self._set_live(tuple(row for row, is_done in zip(self.live, done, strict=True) if not is_done))
        ids = torch.tensor(ended, device=self.slots.device)
        counts, stopped = self._num_new[ids].tolist(), self._stopped[ids].tolist()
        means = (self._logprob_sum[ids] / self._num_new[ids]).tolist()
        said = self._said[ids].tolist()
        return [
            Spoken(row, tuple(words[:count]), stop, mean)
            for row, words, count, stop, mean in zip(ended, said, counts, stopped, means, strict=True)
        ]

    def kill(self, row: int) -> None:
        """Ends a row that cannot go on."""
        self._done[row] = True
        self.slots.suffix_lengths[row] = 0
        self._set_live(tuple(other for other in self.live if other != row))

    def empty(self, slot: int) -> None:
        """Nobody reads this slot's prefix any more."""
        self.slots.prefix_lengths[slot] = 0
        self._prefix_lengths[slot] = 0

    def extend_work(self, batch: Sequence[Asking]) -> ExtendWork:
        device, per_slot = self.slots.device, self.slots.shape.rows_per_slot
        rows = tuple(asking.row for asking in batch)
        lengths = tuple(len(asking.suffix) for asking in batch)
        grouped = [
            (slot, sum(length for _, length in group))
            for slot, group in groupby(
                ((row // per_slot, length) for row, length in zip(rows, lengths, strict=True)), key=lambda pair: pair[0]
            )
        ]
        slot_ids, slot_lengths = tuple(slot for slot, _ in grouped), tuple(count for _, count in grouped)
        return ExtendWork(
            self.slots,
            rows,
            lengths,
            torch.tensor(rows, device=device).repeat_interleave(
                torch.tensor(lengths, device=device), output_size=sum(lengths)
            ),
            torch.cat([torch.arange(length, device=device) for length in lengths]),
            starts_of(lengths, device),
            slot_ids,
            slot_lengths,
            starts_of(slot_lengths, device),
            tuple(self._prefix_lengths[slot] for slot in slot_ids),
        )

    def _fixed_step(self) -> None:
        self._step(StepWork(self.slots, None, self._all_rows), self.kernels)

    @torch.inference_mode()
    def _step(self, work: StepWork, kernels: Kernels) -> None:
        rows, lengths = work.row_ids, self.slots.suffix_lengths
        before = lengths[rows]
        live = ~self._done[rows]
        positions = self.slots.prefix_lengths[rows // self.slots.shape.rows_per_slot] + before
        lengths[rows] = before + live
        try:
            placed = StepWork(work.slots, work.rows, rows, work.prefix_lengths, work.suffix_lengths, step_targets(work))
            hidden = self.forward(self.embed(self._tokens[rows]), positions, placed, kernels)
            at = self._num_new[rows].clamp(max=self.max_new_tokens - 1)
            uniforms = None if self._uniforms is None else self._uniforms[rows].gather(1, at[:, None])[:, 0]
            logits = self.model.llama_model.lm_head(hidden)
            tokens, logprobs = choose(logits, self._said[rows], uniforms, self.choosing)
        except torch.OutOfMemoryError:
            lengths[rows] = before  # as if the step had never begun: it may be tried again
            raise
        self._say(rows, at, live, tokens, logprobs)

    def forward(self, embeds: Tensor, positions: Tensor, work: object, kernels: Kernels) -> Tensor:
        """Embeddings (N, hidden) through the language model's layers: (N, hidden)."""
        language_model = self.model.llama_model
        with attending_to_slots(language_model.config):
            out: Tensor = language_model.model(
                inputs_embeds=embeds[None], position_ids=positions[None], use_cache=False, work=work, kernels=kernels
            ).last_hidden_state
        return out[0]

    def embed(self, ids: Tensor) -> Tensor:
        out: Tensor = self.model.llama_model.get_input_embeddings()(ids)
        return out

    def _begin(self, rows: Tensor, tokens: Tensor, logprobs: Tensor, lengths: Tensor) -> None:
        """Rows with their first token said."""
        stop = (tokens[:, None] == self._stop_ids).any(dim=1)
        self._tokens[rows] = tokens
        self._said[rows] = tokens[:, None].expand(-1, self.max_new_tokens)
        self._num_new[rows] = 1
        self._logprob_sum[rows] = logprobs.double()
        self._stopped[rows] = stop
        done = stop | (self.max_new_tokens == 1)
        self._done[rows] = done
        self.slots.suffix_lengths[rows] = lengths.masked_fill(done, 0).int()

    def _say(self, rows: Tensor, at: Tensor, live: Tensor, tokens: Tensor, logprobs: Tensor) -> None:
        """Adds a token to live rows; those that end with it are dead from now on. Dead rows stay as they are."""
        stop = (tokens[:, None] == self._stop_ids).any(dim=1)
        self._tokens[rows] = tokens
        self._said[rows, at] = torch.where(live, tokens, self._said[rows, at])
        self._num_new[rows] += live
        self._logprob_sum[rows] += torch.where(live, logprobs.double(), 0.0)
        self._stopped[rows] = torch.where(live, stop, self._stopped[rows])
        done = ~live | stop | (at + 1 >= self.max_new_tokens)
        self._done[rows] = done
        self.slots.suffix_lengths[rows] = self.slots.suffix_lengths[rows].masked_fill(done, 0)

    def _count(self, rows: Sequence[int]) -> None:
        for row in rows:
            self._suffix_lengths[row] += 1

    def _set_live(self, rows: tuple[int, ...]) -> None:
        self.live = rows
        self._row_ids = torch.tensor(rows, dtype=torch.long, device=self.slots.device)
