"""What `vidlabel signals` does: the flow of `vidlabel caption`, resumed, sharded and merged alike, without a model. Its
file has the labels' columns but the texts, then the signals, and what makes it a manifest that `caption` takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vidlabel.captioner import Captioner, EchoCaptioner
from vidlabel.captioners import load_encoder
from vidlabel.config import AnswerSettings, Decoder, FrameSettings, Limits, Settings, Split
from vidlabel.cores import available_cores
from vidlabel.data import Video, stable_id
from vidlabel.decoders.decord import check_decoder
from vidlabel.errors import InputError
from vidlabel.labelling import choose_device, read_videos, scene_settings
from vidlabel.labels import escape_name
from vidlabel.manifests.sets import ManifestFormat
from vidlabel.max_failures import parse_max_failures
from vidlabel.metrics import check_metrics_file
from vidlabel.models.presets import resolve
from vidlabel.outputs import Output, parse_output
from vidlabel.pipeline import default_stages
from vidlabel.plan import Videos
from vidlabel.progress import LogFormat
from vidlabel.prompts import Pool
from vidlabel.run import Job, run
from vidlabel.shard import parse_shard
from vidlabel.signals.table import VERSION, parse_signals
from vidlabel.signals.text import check_signals_installed
from vidlabel.split import folder_of, path_from
from vidlabel.summary import Summary

COLUMNS = (
    "label_id", "clip_id", "video_id", "video_path", "start_seconds", "end_seconds", "num_frames", "width", "height",
    "fps", "video_seconds", "codec", "vidlabel_version", "created_at",
)  # fmt: skip
_SMALL = 16  # pixels of the model's pictures, since there is no model
_POOL = Pool("signals", "caption", "what a clip is asked where nothing is asked", {"en": ("signals",)})


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalOptions:
    """The command line, as typed; one field an option."""

    inputs: list[str]
    out: str
    signals: str
    frames: int
    embeddings: bool
    model: str | None
    device: str
    dtype: str
    root: str | None
    manifest_format: ManifestFormat
    video_root: Path | None
    limit: int | None
    split: Split
    detector: str
    min_clip: float
    max_clip: float
    decoder: Decoder
    workers: int | None
    video_timeout: float
    worker_memory: int
    shard: str | None
    overwrite: bool
    retry_failed: bool
    time_budget_seconds: float | None
    max_failures: str | None
    metrics_file: Path | None
    dry_run: bool
    log_format: LogFormat

    @property
    def output(self) -> Output:
        output = replace(parse_output(self.out), columns=COLUMNS)
        if output.kind == "folder":
            raise InputError(f"--out {self.out}: signals go to a .parquet or .jsonl file")
        return output if self.shard is None else replace(output, shard=parse_shard(self.shard))


class _Described:
    """Videos with columns that say where the files are: what `video` and `subtitle` are in a manifest."""

    def __init__(self, videos: Videos, out: str) -> None:
        self._videos, self._folder = videos, folder_of(out)

    def __iter__(self) -> Iterator[Video]:
        for video in self._videos:
            places = {"video": video.location, "subtitle": video.subtitle}
            paths = {name: escape_name(path_from(place, self._folder)) for name, place in places.items() if place}
            yield replace(video, extra={**paths, **{key: video.extra[key] for key in video.extra if key not in paths}})

    def __len__(self) -> int:
        return len(self._videos)


def measure_clips(options: SignalOptions) -> Summary:
    """Run it. Everything that can be wrong with the options is found before any work starts."""
    names = parse_signals(options.signals)
    check_signals_installed(names)
    check_decoder(options.decoder)
    settings = _settings(options, names)
    load_captioner: Callable[[], Captioner] = EchoCaptioner
    if options.embeddings:
        settings, load_captioner = _encoding(options, settings)
    elif options.model is not None:
        raise InputError(f"--model {options.model}: signals need none; it belongs to --embeddings")
    job = Job(
        output=options.output,
        settings=settings,
        limits=Limits(
            num_workers=options.workers or available_cores(),
            seconds_per_video=options.video_timeout,
            memory_mb=options.worker_memory,
            time_budget_seconds=options.time_budget_seconds,
            embeddings=options.embeddings,
        ),
        pools=(_POOL,),
        stages=default_stages(),
        load_captioner=load_captioner,
        overwrite=options.overwrite,
        retry_failed=options.retry_failed,
        limit=options.limit,
        dry_run=options.dry_run,
        log_format=options.log_format,
        max_failures=None if options.max_failures is None else parse_max_failures(options.max_failures),
        metrics_file=None if options.metrics_file is None else check_metrics_file(options.metrics_file),
    )
    videos = read_videos(options.inputs, options.root, options.manifest_format, options.video_root)
    return run(_Described(videos, options.out), job)


def _encoding(options: SignalOptions, settings: Settings) -> tuple[Settings, Callable[[], Captioner]]:
    """With pictures as the model's vision side wants them, and named after the model: its numbers are never mixed."""
    spec = resolve(options.model or "mistral")
    device, dtype = choose_device(options.device, options.dtype, needs_torch=spec.needs_torch)
    answers = replace(
        settings.answers,
        model=spec.name,
        model_fingerprint=spec.fingerprint,
        pool_fingerprint=stable_id(_POOL.fingerprint, VERSION),
        dtype=dtype,
    )
    frames = replace(settings.frames, image_size=spec.image_size)
    return replace(settings, answers=answers, frames=frames), partial(load_encoder, answers, device=device)


def _settings(options: SignalOptions, names: tuple[str, ...]) -> Settings:
    """What is measured stands where a labelling run names its model and its questions: files are mixed by neither."""
    return Settings(
        task="caption",
        scenes=scene_settings(options.split, options.detector, options.min_clip, options.max_clip),
        frames=FrameSettings(options.frames, _SMALL, decoder=options.decoder, subtitles="none", signals=names),
        answers=AnswerSettings(
            model="signals", model_fingerprint=VERSION, pool=",".join(names), pool_fingerprint=_POOL.fingerprint
        ),
    )
