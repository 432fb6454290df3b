"""transformers' Trainer with what is ours: the order of examples, rates, checkpoints of what learns alone, failures
set aside, and an evaluation whose mean is over tokens, whatever the batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler
from transformers import Trainer, TrainerCallback, TrainingArguments

from vidlabel.data import Failure
from vidlabel.errors import InputError
from vidlabel.train.batches import IGNORED, collate
from vidlabel.train.dataset import ExampleSet, Schedule
from vidlabel.train.objective import Objective
from vidlabel.train.rates import Rates, make_optimizer, make_schedule

WEIGHTS = "model.safetensors"  # the name under which the Trainer looks for weights


@dataclass(frozen=True, slots=True)
class Course:
    """How long, in what portions, and how often something else is done."""

    num_steps: int
    batch_size: int  # of one process
    accumulate: int
    seed: int
    rates: Rates
    max_grad_norm: float
    dtype: str  # float32, bfloat16, float16
    on_cpu: bool
    log_every: int
    eval_every: int
    save_every: int


class LabellerTrainer(Trainer):
    """Give it a model that `get_ready` has been through."""

    def __init__(
        self,
        objective: Objective,
        course: Course,
        work: Path,
        train: ExampleSet,
        evaluation: ExampleSet | None,
        *,
        callbacks: Sequence[TrainerCallback],
        on_failure: Callable[[Failure], object],
    ) -> None:
        self._objective, self._course, self._on_failure = objective, course, on_failure
        self._learns_from, self._evaluates_on = train, evaluation
        self._is_under_way = False
        super().__init__(
            model=objective,
            args=training_arguments(course, work, evaluates=evaluation is not None),
            data_collator=collate,
            train_dataset=train,
            eval_dataset=evaluation,
            callbacks=list(callbacks),
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[tuple[int, int]]:
        course = self._course
        total = course.num_steps * course.accumulate * course.batch_size * self.args.world_size
        return Schedule(len(self._learns_from), total=total, seed=course.seed)

    def _order_from(self, step: int) -> Iterator[tuple[int, int]]:
        """The items that this process will ask for after `step`: of all processes' batches every so-and-so-many-th."""
        num, course = self.args.world_size, self._course
        for at, pair in enumerate(self._get_train_sampler()):
            batch = at // course.batch_size
            if batch >= step * course.accumulate * num and batch % num == self.args.process_index:
                yield pair

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        if self.optimizer is None:
            self.optimizer = make_optimizer(self._objective, self._course.rates)
        return self.optimizer

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            assert self.optimizer is not None
            self.lr_scheduler = make_schedule(self.optimizer, self._course.rates, num_training_steps)
            self._created_lr_scheduler = True
        return self.lr_scheduler

    def get_batch_samples(self, epoch_iterator: Iterator[Any], num_batches: int, device: Any) -> tuple[list[Any], Any]:
        """As it comes, the failures taken out."""
        if not self._is_under_way:
            self._is_under_way = True
            self._learns_from.announce(self._order_from(self.state.global_step))
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        for batch in batches:
            self._note(batch)
        return batches, count

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """The mean loss of all answer tokens of the evaluation examples, each looked at once."""
        examples = self._evaluates_on
        assert examples is not None
        mine = [(0, index) for index in range(self.args.process_index, len(examples), self.args.world_size)]
        examples.announce(mine)
        loader: DataLoader[Any] = DataLoader(
            examples,
            batch_size=self._course.batch_size,
            sampler=mine,
            collate_fn=collate,
        )
        sums = torch.zeros(2, dtype=torch.float64)
        self._objective.eval()
        with torch.no_grad():
            for batch in loader:
                self._note(batch)
                if len(batch["ids"]):
                    total = self._objective(**self._prepare_inputs(batch), num_items_in_batch=1)["loss"]
                    sums += torch.stack([total.double().cpu(), (batch["labels"][:, 1:] != IGNORED).sum().double()])
        self._objective.train()
        loss, count = self.accelerator.reduce(sums.float().to(self.args.device)).tolist()
        metrics = {f"{metric_key_prefix}_loss": loss / count} if count else {}  # none: not one video could be read
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _note(self, batch: dict[str, Any]) -> None:
        for failure in batch.pop("failures"):
            self._on_failure(failure)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """What learns, and nothing else: the rest is where the run began."""
        from safetensors.torch import save_file

        if self.args.should_save and output_dir is not None:
            folder = Path(output_dir)
            folder.mkdir(parents=True, exist_ok=True)
            save_file(learnt_tensors(self._objective), folder / WEIGHTS, metadata={"format": "pt"})

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        load_learnt(self._objective, Path(resume_from_checkpoint) / WEIGHTS)


def learnt_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {
        name: parameter.detach().cpu().contiguous()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def load_learnt(model: nn.Module, path: Path) -> None:
    """What `learnt_tensors` gave, back into the model."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    if set(tensors) != learning:
        raise InputError(f"{path}: holds other tensors than this run learns; --no-resume begins anew")
    model.load_state_dict(tensors, strict=False)


def training_arguments(course: Course, work: Path, *, evaluates: bool) -> TrainingArguments:
    """The Trainer's own settings. What it logs, prints and schedules by itself is switched off."""
    return TrainingArguments(
        output_dir=str(work),
        max_steps=course.num_steps,
        per_device_train_batch_size=course.batch_size,
        per_device_eval_batch_size=course.batch_size,
        gradient_accumulation_steps=course.accumulate,
        learning_rate=course.rates.lr,
        max_grad_norm=course.max_grad_norm,
        bf16=course.dtype == "bfloat16",
        fp16=course.dtype == "float16",
        use_cpu=course.on_cpu,
        seed=course.seed,
        logging_steps=course.log_every,
        logging_nan_inf_filter=False,  # a loss that is no number is to be seen
        eval_strategy="steps" if evaluates else "no",
        eval_steps=course.eval_every,
        save_strategy="steps",
        save_steps=course.save_every,
        save_total_limit=2,  # the older one goes only when the newer one is whole
        dataloader_pin_memory=not course.on_cpu,
        remove_unused_columns=False,
        label_names=["labels"],
        ddp_find_unused_parameters=False,
        report_to="none",
        disable_tqdm=True,
        accelerator_config={"use_seedable_sampler": False, "dispatch_batches": False},
    )


@dataclass(slots=True)
class FailuresOnce:
    """Hands each failure on once, however many epochs meet it."""

    hand_on: Callable[[Failure], object]
    seen: set[str] = field(default_factory=set)

    def __call__(self, failure: Failure) -> None:
        if failure.id not in self.seen:
            self.seen.add(failure.id)
            self.hand_on(failure)
