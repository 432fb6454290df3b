"""What goes on beside the steps: numbers to the log, answers to a few examples, a mark on whole checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback

from vidlabel.config import AnswerSettings
from vidlabel.data import AskedClip, Clip, Question, Video, VideoInfo
from vidlabel.errors import VideoError
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.stop import Stop
from vidlabel.train.checkpoints import mark_whole
from vidlabel.train.dataset import Teaching
from vidlabel.train.decoding import Decoding
from vidlabel.train.examples import Example
from vidlabel.train.logs import TrainLog

_LONGEST_SAMPLE = 96  # tokens


class Watcher(TrainerCallback):
    """Of one process; only the first one's log says anything."""

    def __init__(self, log: TrainLog, samples: Samples | None, stop: Stop, *, every: int) -> None:
        self._log, self._samples, self._stop, self._every = log, samples, stop, every

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._log.begin(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        shown = {name: value for name, value in logs.items() if name in ("loss", "eval_loss", "grad_norm")}
        if "learning_rate" in logs:
            shown["lr"] = logs["learning_rate"]
        if shown:
            self._log.numbers(state.global_step, shown)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        step = state.global_step
        if self._stop.requested() and args.world_size == 1:
            control.should_save = control.should_training_stop = True
        if step == state.max_steps:
            control.should_save = True  # or a kill while the model is being written would cost the last steps
            control.should_evaluate = control.should_evaluate or args.eval_strategy == "steps"
        if (
            self._samples is not None
            and state.is_world_process_zero
            and (step % self._every == 0 or step == state.max_steps)
        ):
            self._samples.show(step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        PartialState().wait_for_everyone()  # each process has a file of its own in it
        if state.is_world_process_zero:
            mark_whole(Path(args.output_dir), state.global_step)


class Samples:
    """The same few examples each time, asked as labelling would ask them."""

    def __init__(
        self,
        model: MiniGPT4Video,
        teaching: Teaching,
        decoding: Decoding,
        examples: Sequence[Example],
        log: TrainLog,
        *,
        num: int,
    ) -> None:
        self._model, self._teaching, self._decoding, self._log = model, teaching, decoding, log
        self._examples, self._num = examples, num
        self._shown: list[tuple[Example, AskedClip]] | None = None

    def show(self, step: int) -> None:
        if self._shown is None:
            self._shown = self._decode()
        if not self._shown:
            return
        captioner = GenerateCaptioner(self._model, self._teaching.tokenizer, self._settings(), batch_size=4)
        answers = {answer.clip_id: answer for answer in captioner.answer(asked for _, asked in self._shown)}
        for example, asked in self._shown:
            answer = answers[asked.clip.clip_id]
            said = answer.text if answer.error is None else f"({answer.error})"
            question = asked.questions[0].text
            self._log.sample(step, source=example.source, asked=question, said=said, right=example.answer)
        self._model.train()

    def _decode(self) -> list[tuple[Example, AskedClip]]:
        found: list[tuple[Example, AskedClip]] = []
        for example in self._examples:
            if len(found) == self._num:
                break
            try:
                frames = self._decoding.frames(example)
            except VideoError:
                continue  # it is recorded where it is learnt from
            # only its id matters to the captioner
            info = VideoInfo(1, 1, 0.0, 1.0, "")
            video = Video(example.example_id, example.source, example.source)
            clip = Clip(example.example_id, video, info, 0.0, 1.0)
            question = Question(self._teaching.question(example, 0), "sample", language=example.language)
            found.append((example, AskedClip(clip, frames, (question,))))
        return found

    def _settings(self) -> AnswerSettings:
        longest = min(_LONGEST_SAMPLE, self._teaching.form.max_answer_tokens)
        return AnswerSettings("training", "", "sample", "", max_new_tokens=longest)
