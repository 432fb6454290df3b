"""What an evaluation is asked to do, and what is refused before anything is done."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from vidlabel.config import Decoder, Engine, Quantize, Sampling, SceneSettings, Subtitles
from vidlabel.errors import InputError
from vidlabel.label_options import LabelOptions
from vidlabel.progress import LogFormat

TaskChoice = Literal["auto", "caption", "qa"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeOptions:
    """The chat model that judges answers."""

    url: str
    model: str
    concurrency: int = 4
    timeout_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerOptions:
    """How a model is asked; as for labelling."""

    prompts: str | None
    frames: int | None
    sampling: Sampling
    decoder: Decoder
    subtitles: Subtitles
    whisper: str | None
    seed: int
    max_new_tokens: int | None
    repetition_penalty: float
    temperature: float
    top_p: float
    device: str
    dtype: str
    quantize: Quantize
    engine: Engine
    slots: int | None
    batch_size: int | None
    workers: int | None
    video_timeout: float
    worker_memory: int
    captioners: int | None
    overwrite: bool
    retry_failed: bool
    log_format: LogFormat

    def label_options(self, model: str, data: tuple[str, ...], out: Path) -> LabelOptions:
        """Of a run that asks whole videos and spans the questions they bring."""
        scenes = SceneSettings()
        own = {name: value for name, value in asdict(self).items() if name != "prompts"}
        return LabelOptions(
            **own,
            task="qa",
            inputs=list(data),
            out=str(out),
            model=model,
            root=None,
            manifest_format="auto",
            video_root=None,
            limit=None,
            split="none",
            detector=scenes.detector,
            min_clip=scenes.min_clip_seconds,
            max_clip=scenes.max_clip_seconds,
            prompts=None,
            levels=None,
            per_clip=None,
            propose=0,
            verify=0,
            retry_flagged=0,
            strip_openings=False,
            signals=None,
            where=None,
            embeddings=False,
            rewrite="none",
            language="en",
            grounding="none",
            compile_vision=False,
            executor="local",
            shard=None,
            time_budget_seconds=None,
            max_failures=None,
            metrics_file=None,
            dry_run=False,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalOptions:
    """What is measured, and where it goes."""

    out: Path
    asking: AnswerOptions
    data: tuple[str, ...] = ()
    model: str | None = None
    answers: Path | None = None
    task: TaskChoice = "auto"
    root: str | None = None
    video_root: str | None = None
    subset: str | None = None
    text_column: str | None = None
    keep_flagged: bool = False
    limit: int | None = None
    with_loss: bool = True
    judge: JudgeOptions | None = None

    def __post_init__(self) -> None:
        if self.out.suffix != ".json":
            raise InputError(f"--out {self.out}: results are a .json file")
        if not self.out.absolute().parent.is_dir():
            raise InputError(f"--out {self.out}: there is no folder {self.out.parent}")
        if self.model is None and self.answers is None:
            raise InputError("give --model, to be asked, or --answers, a file of answers made before")
        if self.model is not None and not self.data:
            raise InputError(f"--model {self.model}: say with --data what it is asked")
        if self.model is None and self.data and self.answers is not None and self.answers.suffix == ".json":
            raise InputError(f"--answers {self.answers}: such a file holds what is right itself; leave out --data")
        if self.text_column is not None and self.task == "auto":
            raise InputError(f"--text-column {self.text_column}: say with --task whether these are captions or answers")

    def beside(self, name: str) -> Path:
        """A file that belongs to the results: results.json -> results.NAME."""
        return self.out.with_name(f"{self.out.stem}.{name}")
