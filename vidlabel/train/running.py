"""One process of a training: the model made ready, the Trainer set up, and what it learnt written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from transformers import PrinterCallback
from transformers.utils import logging as transformers_logging

from vidlabel.config import Limits
from vidlabel.data import Failure
from vidlabel.errors import InputError
from vidlabel.executors.workers import DecodeWorkers
from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.prompt import prompt_budget
from vidlabel.models.minigpt4_video.unmerged import Unmerged
from vidlabel.stop import Stop
from vidlabel.train.checkpoints import latest, prepare
from vidlabel.train.dataset import ExampleSet, Teaching
from vidlabel.train.decoding import Decoders, Decoding
from vidlabel.train.features import FeatureCache, tower_fingerprint
from vidlabel.train.finishing import save_trained
from vidlabel.train.lessons import LessonForm
from vidlabel.train.logs import TrainLog
from vidlabel.train.material import Material, frame_settings, settings_record
from vidlabel.train.objective import Objective
from vidlabel.train.options import Place, TrainOptions, choose_device, choose_dtype
from vidlabel.train.rates import Rates
from vidlabel.train.settings import TrainSettings
from vidlabel.train.stages import Learning, get_ready
from vidlabel.train.starting import Beginning, load
from vidlabel.train.trainer import Course, FailuresOnce, LabellerTrainer
from vidlabel.train.turns import Row, in_rows
from vidlabel.train.watching import Samples, Watcher

logger = logging.getLogger(__name__)


def run(
    settings: TrainSettings,
    beginning: Beginning,
    options: TrainOptions,
    material: Material,
    place: Place,
    work: Path,
    stop: Stop,
    note: Callable[[Failure], object],
) -> bool:
    """Whether it came to its end."""
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    device = choose_device(options.device)
    dtype = choose_dtype(settings.dtype, device)
    rows = in_rows(material.train, settings.turns)
    course = _course(settings, options, len(rows), place, dtype=dtype, on_cpu=device == "cpu")
    processes = PartialState(cpu=course.on_cpu)
    if place.is_first:
        record = settings_record(settings, beginning, material, place, dtype=dtype)
        prepare(work, record, resume=options.resume)
    begun = load(beginning, settings, getattr(torch, dtype))
    teaching, cache = _teaching(settings, options, material, begun)
    get_ready(begun.model, learning(settings), begun.lora, seed=settings.seed)
    if settings.checkpointing:
        keep_few_activations(begun.model)
    log = TrainLog(
        options.out.with_name(options.out.name + ".logs") if place.is_first else None,
        options.log_format,
        num_steps=course.num_steps,
    )
    objective = Objective(begun.model, None if settings.train_vision else cache)
    with ExitStack() as stack:
        decoders = _decoders(options.workers, stack)

        def examples(name: str, wanted: Sequence[Row]) -> ExampleSet:
            return ExampleSet(wanted, teaching, Decoding(name, teaching.frames, decoders))

        shown = [*material.evaluation, *material.train]
        decoding = Decoding("samples", teaching.frames, decoders)
        samples = Samples(begun.model, teaching, decoding, shown, log, num=options.samples)
        trainer = LabellerTrainer(
            objective,
            course,
            work,
            examples("train", rows),
            examples("evaluation", in_rows(material.evaluation, settings.turns)) if material.evaluation else None,
            callbacks=[Watcher(log, samples if options.samples else None, stop, every=course.eval_every)],
            on_failure=FailuresOnce(note),
        )
        trainer.remove_callback(PrinterCallback)
        processes.wait_for_everyone()
        checkpoint = latest(work)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    log.close()
    finished: bool = trainer.state.global_step >= course.num_steps
    _forget(trainer, objective)
    if finished and place.is_first:
        save_trained(options.out, begun, settings, dtype=dtype, on_gpu=not course.on_cpu)
    processes.wait_for_everyone()
    return finished


def _decoders(num_workers: int, stack: ExitStack) -> Decoders | None:
    """None: frames are made in this process."""
    if not num_workers:
        return None
    workers: DecodeWorkers[tuple[str, str]] = DecodeWorkers(num_workers=num_workers, memory_mb=Limits().memory_mb)
    return Decoders(stack.enter_context(workers), num_workers)


def _forget(trainer: LabellerTrainer, objective: Objective) -> None:
    """The memory of the optimizer is wanted back: what was learnt is tried out before it is put in place."""
    trainer.optimizer = trainer.lr_scheduler = None
    trainer.model_wrapped = objective
    trainer.accelerator.free_memory()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def learning(settings: TrainSettings) -> Learning:
    try:
        return Learning(
            language=settings.language,
            vision=settings.train_vision,
            rank=settings.lora_r,
            alpha=settings.lora_alpha,
            dropout=settings.lora_dropout,
        )
    except ValueError as error:
        raise InputError(str(error)) from error


def lesson_form(settings: TrainSettings, config: ModelConfig, max_positions: int) -> LessonForm:
    """The context may be as long as when labelling, with room for the longest answer behind it."""
    room = prompt_budget(config, max_positions, settings.max_answer_tokens)
    if room < 1:
        raise InputError(
            f"--max-answer-tokens {settings.max_answer_tokens}: leaves no room for a prompt in the model's window of "
            f"{min(config.context_window, max_positions)}"
        )
    longest = room if settings.max_context_tokens is None else min(settings.max_context_tokens, room)
    return LessonForm(settings.prompt_form, longest, settings.max_answer_tokens)


def _teaching(
    settings: TrainSettings, options: TrainOptions, material: Material, begun: Unmerged
) -> tuple[Teaching, FeatureCache | None]:
    model = begun.model
    form = lesson_form(settings, model.config, model.max_positions)
    cache = None
    if options.cache_features is not None:
        cache = FeatureCache(options.cache_features, None if settings.train_vision else tower_fingerprint(model))
    teaching = Teaching(
        tokenizer=begun.tokenizer,
        config=form.applied(model.config),
        form=form,
        frames=frame_settings(settings, num_frames=model.config.num_frames, image_size=model.config.vision.image_size),
        pool=material.pool,
        seed=settings.seed,
        cache=cache,
    )
    return teaching, cache


def _course(
    settings: TrainSettings,
    options: TrainOptions,
    num_rows: int,
    place: Place,
    *,
    dtype: str,
    on_cpu: bool,
) -> Course:
    per_step = settings.batch_size * settings.accumulate * place.num_processes
    num_steps = settings.steps or max(1, round(settings.epochs * num_rows / per_step))
    warmup = num_steps // 30 if settings.warmup_steps is None else settings.warmup_steps
    if warmup >= num_steps:
        raise InputError(f"--warmup-steps {warmup}: the run has only {num_steps} steps; give fewer, or more --steps")
    tenth = max(1, num_steps // 10)
    try:
        rates = Rates(
            lr=settings.lr,
            min_lr=settings.lr / 10 if settings.min_lr is None else settings.min_lr,
            warmup_lr=settings.warmup_lr,
            warmup_steps=warmup,
            vision_lr=settings.vision_lr or settings.lr,
            weight_decay=settings.weight_decay,
            beta2=settings.beta2,
            muon=settings.optimizer == "muon",
        )
    except ValueError as error:
        raise InputError(str(error)) from error
    return Course(
        num_steps=num_steps,
        batch_size=settings.batch_size,
        accumulate=settings.accumulate,
        seed=settings.seed,
        rates=rates,
        max_grad_norm=settings.max_grad_norm,
        dtype=dtype,
        on_cpu=on_cpu,
        log_every=options.log_every,
        eval_every=options.eval_every or tenth,
        save_every=options.save_every or tenth,
    )


def keep_few_activations(model: MiniGPT4Video) -> None:
    """The language model's layers compute theirs again on the way back."""
    language: Any = model.llama_model
    wanted = {"use_reentrant": False}
    if hasattr(language, "activation_checkpointing_enable"):  # as transformers has called it since 5.2x
        language.activation_checkpointing_enable(wanted)
    else:
        language.gradient_checkpointing_enable(wanted)
