"""The captioner on the slot engine: a clip is encoded once and asked everything, while others decode.

It pulls a clip when a slot is free for it, and yields each answer when its row ends. In float32 it says what
`generate` says, whatever else is in flight.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from vidlabel.config import AnswerSettings
from vidlabel.data import Answer, AskedClip
from vidlabel.engine import memory
from vidlabel.engine.attention import Kernels
from vidlabel.engine.budget import Budget
from vidlabel.engine.choice import choose_kernels
from vidlabel.engine.choosing import Choosing
from vidlabel.engine.graph import GraphError, capture
from vidlabel.engine.rows import Rows
from vidlabel.engine.schedule import Budgets, Job, Outcome, Schedule
from vidlabel.engine.scoring import Scoring
from vidlabel.engine.slots import Slots, SlotShape, slot_shape
from vidlabel.engine.stats import EngineStats
from vidlabel.engine.supported import check_supported
from vidlabel.engine.vision import FrameEncoder, KeptFeatures
from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.answers import (
    OUT_OF_MEMORY_FRAME,
    Asked,
    answered,
    ask,
    failed,
    out_of_memory,
    with_features,
)
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.prompt import build_opening, prompt_budget, stop_ids
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

logger = logging.getLogger(__name__)

ROWS_PER_SLOT = 8  # a clip with more questions asks the others as rows become free
STEPS_PER_CHECK = 8  # on a GPU, where a look at which rows have ended makes it wait
_GROUP = 8  # clips that move in together: on a GPU the vision tower likes hundreds of frames at a time
_ROUND_PREFIX, _ROUND_SUFFIX = 128, 32  # positions; room for clips and questions that are a little longer


class EngineCaptioner:
    """Answers with a loaded model. `num_slots`: clips in flight (None: as many as memory allows and help);
    `rows_per_slot`: questions asked of a clip at once; `keep_features`: a clip that comes again with the same `Frames`
    object is not encoded again, while memory set aside for that lasts; `embeddings`: answers carry the clip's."""

    def __init__(
        self,
        model: MiniGPT4Video,
        tokenizer: PromptTokenizer,
        settings: AnswerSettings,
        *,
        kernels: Kernels | None = None,
        num_slots: int | None = None,
        rows_per_slot: int | None = None,
        keep_features: bool = False,
        embeddings: bool = False,
    ) -> None:
        check_supported(model)
        if (num_slots is not None and num_slots < 1) or (rows_per_slot is not None and rows_per_slot < 1):
            raise ValueError(f"at least 1 is needed, got {num_slots = }, {rows_per_slot = }")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.settings = settings
        self.kernels = kernels or choose_kernels(model)
        self.stop_ids = stop_ids(tokenizer, model.config)
        self.stats = EngineStats()
        self._num_slots, self._rows_per_slot = num_slots, rows_per_slot or ROWS_PER_SLOT
        self._embeddings = embeddings
        self._max_tokens = prompt_budget(model.config, model.max_positions, settings.max_new_tokens)
        self._dtype: torch.dtype = model.llama_model.get_input_embeddings().weight.dtype
        free = memory.free_bytes(model.device)
        room = self._workspace(free)
        self._kept = KeptFeatures(memory.kept_bytes(free)) if keep_features else None
        self.budgets = Budgets(
            prefill=Budget(room.prefill_tokens, "tokens of prompts", model.device),
            extend=Budget(room.prefill_tokens, "tokens of questions", model.device),
            step=Budget(self._most_slots * self._rows_per_slot, "answers", model.device),
            score=Budget(room.prefill_tokens, "tokens of answers to score", model.device),
        )
        self.vision_budget = Budget(room.vision_frames, "frames", model.device)
        self._encoder = FrameEncoder(model, self.vision_budget, self.stats, self._kept)
        self._spare: Rows | None = None  # of a finished run, for the next one

    def answer(self, clips: Iterable[AskedClip]) -> Iterator[Answer]:
        """Pulls clips as slots come free. While `clips.would_wait()` and something decodes, it decodes on."""
        source = _Source(clips)
        schedule, self._spare = self._schedule(self._spare), None
        try:
            while not (source.ended and schedule.is_idle):
                yield from self._take_in(source, schedule)
                yield from map(self._answer, schedule.advance())
            yield from map(self._answer, schedule.end())
        finally:
            self._spare = schedule.close()

    def _answer(self, outcome: Outcome) -> Answer:
        asked, decoded = outcome
        return out_of_memory(asked) if decoded is None else answered(asked, decoded, self.tokenizer, self.model.dtype)

    def _scoring(self) -> Scoring | None:
        if self.settings.grounding == "none":
            return None
        return Scoring(
            self.settings.grounding,
            build_opening(self.tokenizer, self.model.config),
            self.budgets.score,
            self.stats,
            max_positions=self._max_tokens + self.settings.max_new_tokens,
        )

    def _schedule(self, rows: Rows | None) -> Schedule:
        on_cpu = self.model.device.type == "cpu"
        if rows is not None and rows.stop_ids != tuple(self.stop_ids):
            rows = None
        return Schedule(
            self._make_rows,
            self.budgets,
            self.stats,
            run_seed=self.settings.seed,
            first_slots=min(_GROUP, self._most_slots),
            steps_per_check=1 if on_cpu else STEPS_PER_CHECK,
            rows=rows,
            scoring=self._scoring(),
        )

    def _take_in(self, source: _Source, schedule: Schedule) -> Iterator[Answer]:
        """Clips for free slots, encoded together; and the answers of those that cannot be asked."""
        num_free = schedule.num_free
        if not schedule.is_idle and num_free < self._group(schedule.num_slots):
            return
        jobs, encode = [], []
        for clip in source.take(num_free, must=schedule.is_idle):
            asked, refused = ask(clip, self.tokenizer, self.model.config, max_tokens=self._max_tokens)
            yield from refused
            if asked:
                jobs.append(asked)
                encode.append(clip.frames)
        for asked, encoded in zip(jobs, self._encoder.encode(encode), strict=True):
            if encoded is None:
                yield from (failed(one.clip, one.question, OUT_OF_MEMORY_FRAME) for one in asked)
                continue
            if self._embeddings:
                asked = with_features(asked, encoded.pooled)
            for job in self._jobs(asked, encoded.embeds):
                schedule.submit(job)

    @torch.inference_mode()
    def _jobs(self, asked: Sequence[Asked], images: torch.Tensor) -> list[Job]:
        """Questions by their prefix: one, but for a question so long that subtitles were shortened further for it."""
        prefixes = dict.fromkeys(one.prompt.prefix for one in asked)
        return [
            Job(
                tuple(one for one in asked if one.prompt.prefix == prefix),
                self.model.embed_prefix(prefix, images),
            )
            for prefix in prefixes
        ]

    @property
    def _most_slots(self) -> int:
        return self._num_slots or memory.most_slots(self.model.device)

    def _group(self, num_slots: int) -> int:
        """How many slots must be free before clips are taken in. A CPU gains nothing from waiting for company."""
        return 1 if self.model.device.type == "cpu" else max(1, min(_GROUP, num_slots // _GROUP))

    def _make_rows(self, prefix_length: int, suffix_length: int) -> Rows:
        """Slots for prefixes and suffixes of these lengths and a little more, as many as memory allows."""
        prefix = min(self._max_tokens, _round_up(prefix_length * 9 // 8, _ROUND_PREFIX))
        suffix = min(self._max_tokens, _round_up(suffix_length, _ROUND_SUFFIX)) + self.settings.max_new_tokens
        free = memory.free_bytes(self.model.device)
        num_slots = memory.slot_budget(
            free,
            shape_of_one=self._shape(1, prefix, suffix),
            bytes_per_element=self._dtype.itemsize,
            workspace_bytes=self._workspace(free).num_bytes + (self._kept.free_bytes if self._kept else 0),
            requested=self._num_slots,
            most=self._most_slots,
        )
        rows = Rows(
            self.model,
            self._allocate(num_slots, prefix, suffix),
            self.kernels,
            Choosing.of(self.settings),
            max_new_tokens=self.settings.max_new_tokens,
            stop_ids=self.stop_ids,
        )
        if self.kernels.fixed_rows and self.model.device.type == "cuda":
            try:
                rows.capture(capture)
            except GraphError as error:
                logger.warning("decoding goes on without a CUDA graph, somewhat slower: %s", error)
        return rows

    def _allocate(self, num_slots: int, prefix_length: int, suffix_length: int) -> Slots:
        """So many slots, or fewer where free memory turns out to be in pieces."""
        while True:
            shape = self._shape(num_slots, prefix_length, suffix_length)
            try:
                return Slots(shape, dtype=self._dtype, device=self.model.device)
            except torch.OutOfMemoryError:
                pass  # go on below, where the traceback no longer holds what was allocated
            if num_slots == 1:
                raise InputError("not one clip fits into memory: lower --frames or --max-new-tokens, or use --quantize")
            num_slots //= 2
            logger.warning("out of memory: from now on %d clips at a time", num_slots)
            torch.cuda.empty_cache()

    def _shape(self, num_slots: int, prefix_length: int, suffix_length: int) -> SlotShape:
        return slot_shape(
            self.model.llama_model.config,
            num_slots=num_slots,
            rows_per_slot=self._rows_per_slot,
            prefix_length=prefix_length,
            suffix_length=suffix_length,
        )

    def _workspace(self, free_bytes: int) -> memory.Workspace:
        vision, language = self.model.config.vision, self.model.llama_model.config
        widths = memory.Widths(
            hidden=language.hidden_size,
            intermediate=language.intermediate_size,
            vocab=language.vocab_size,
            vision=vision.embed_dim,
            vision_mlp=vision.mlp_hidden,
            vision_tokens=vision.num_patches + 1,
        )
        return memory.workspace(
            free_bytes,
            widths,
            bytes_per_element=self._dtype.itemsize,
            longest_prompt=self._max_tokens,
            num_rows=self._most_slots * self._rows_per_slot,
        )


class _Source:
    """The clips to come."""

    def __init__(self, clips: Iterable[AskedClip]) -> None:
        self.ended = False
        self._would_wait: Callable[[], bool] | None = getattr(clips, "would_wait", None)
        self._clips = iter(clips)

    def take(self, most: int, *, must: bool) -> list[AskedClip]:
        """At most so many clips; with `must` at least one, however long that takes, unless there are no more."""
        taken: list[AskedClip] = []
        while len(taken) < most and not self.ended:
            if (taken or not must) and self._would_wait is not None and self._would_wait():
                break
            clip = next(self._clips, None)
            if clip is None:
                self.ended = True
            else:
                taken.append(clip)
        return taken


def _round_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
