"""The command line of `caption` and `qa`, as typed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vidlabel.config import Decoder, Engine, Grounding, Quantize, Rewrite, Sampling, Split, Subtitles
from vidlabel.data import Task
from vidlabel.executors.choice import ExecutorName
from vidlabel.manifests.sets import ManifestFormat
from vidlabel.progress import LogFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelOptions:
    """One field an option; defaults are the command line's."""

    task: Task
    inputs: list[str]
    out: str
    root: str | None
    manifest_format: ManifestFormat
    video_root: Path | None
    limit: int | None
    split: Split
    detector: str
    min_clip: float
    max_clip: float
    frames: int | None
    sampling: Sampling
    decoder: Decoder
    subtitles: Subtitles
    whisper: str | None
    signals: str | None
    where: str | None
    model: str
    prompts: str | None
    levels: str | None
    per_clip: int | None
    propose: int
    verify: int
    retry_flagged: int
    strip_openings: bool
    rewrite: Rewrite
    language: str
    seed: int
    max_new_tokens: int | None
    repetition_penalty: float
    temperature: float
    top_p: float
    device: str
    dtype: str
    quantize: Quantize
    grounding: Grounding | None
    engine: Engine
    slots: int | None
    batch_size: int | None
    compile_vision: bool
    embeddings: bool
    workers: int | None
    video_timeout: float
    worker_memory: int
    executor: ExecutorName
    captioners: int | None
    shard: str | None
    overwrite: bool
    retry_failed: bool
    time_budget_seconds: float | None
    max_failures: str | None
    metrics_file: Path | None
    dry_run: bool
    log_format: LogFormat
