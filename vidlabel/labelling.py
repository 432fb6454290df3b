"""What `vidlabel caption` and `vidlabel qa` do: options as typed -> settings, limits and videos -> a run."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from vidlabel.asking import Asking, check_levels, pick_pools, pools_fingerprint
from vidlabel.captioner import Captioner
from vidlabel.captioners import check_quantize, load_captioner
from vidlabel.config import (
    AnswerSettings,
    FrameSettings,
    Grounding,
    Limits,
    SceneSettings,
    Settings,
    Split,
)
from vidlabel.cores import available_cores
from vidlabel.data import Video
from vidlabel.decoders.decord import check_decoder
from vidlabel.detectors import check_detectors
from vidlabel.errors import InputError
from vidlabel.executors.choice import Cluster, executor_for, takes_ray
from vidlabel.inputs import Inputs
from vidlabel.label_options import LabelOptions
from vidlabel.manifest import read_inputs
from vidlabel.manifests.sets import ManifestFormat
from vidlabel.max_failures import parse_max_failures
from vidlabel.metrics import check_metrics_file
from vidlabel.models.presets import ModelSpec, resolve
from vidlabel.models.speech import DEFAULT, SpeechModel, resolve_speech
from vidlabel.outputs import parse_output
from vidlabel.pipeline import default_stages
from vidlabel.plan import Videos
from vidlabel.prompts import Pool
from vidlabel.run import Job, run
from vidlabel.selecting import select
from vidlabel.shard import parse_shard, warn_of_absolute_paths
from vidlabel.signals.text import check_signals_installed
from vidlabel.speech.activity import check_installed
from vidlabel.summary import Summary

logger = logging.getLogger(__name__)

DEFAULT_NEW_TOKENS = 256
PER_CLIP_QA = 4  # questions from the pools


class AskedVideos(Videos, Protocol):
    """Videos that bring their questions."""

    @property
    def most_questions(self) -> int:
        """Of one video."""
        ...


def label(
    options: LabelOptions, *, videos: AskedVideos | None = None, load: Callable[..., Captioner] = load_captioner
) -> Summary:
    """Run it. Everything that can be wrong with the options is found before any work starts.

    `videos` are those of the options' inputs unless given; `load` is called as `load_captioner` is."""
    if not takes_ray(options.executor):
        return _label(options, None, videos, load)
    from vidlabel.executors.ray_cluster import connected

    with connected() as cluster:
        return _label(options, cluster, videos, load)


def _label(
    options: LabelOptions, cluster: Cluster | None, videos: AskedVideos | None, load: Callable[..., Captioner]
) -> Summary:
    spec = resolve(options.model)
    device, dtype = choose_device(options.device, options.dtype, needs_torch=spec.needs_torch, cluster=cluster)
    check_decoder(options.decoder)
    check_quantize(spec, options.quantize)
    grounding = _grounding(options, spec)
    limits = _limits(options, spec, available_cores() if cluster is None else cluster.num_cpus)
    output = parse_output(options.out)
    if options.shard is not None:
        output = replace(output, shard=parse_shard(options.shard))
        warn_of_absolute_paths(options.inputs, options.root)
    max_failures = None if options.max_failures is None else parse_max_failures(options.max_failures)
    metrics_file = None if options.metrics_file is None else check_metrics_file(options.metrics_file)
    if videos is None:
        videos = read_videos(options.inputs, options.root, options.manifest_format, options.video_root)
    selection, signals = select(options.where, options.signals, videos)
    check_signals_installed(signals)
    most_from_manifest = videos.most_questions if options.task == "qa" else 0
    asking = _asking(options, spec, dtype, grounding, from_manifest=most_from_manifest > 0).measuring(signals)
    settings = asking.settings
    if spec.name == "shapes":
        logger.warning(
            "shapes knows only generated videos of coloured shapes; what it says of any other footage means nothing"
        )
    job = Job(
        output=output,
        settings=settings,
        limits=limits,
        pools=asking.pools,
        stages=default_stages(),
        load_captioner=partial(  # which can be sent to another process, as a lambda cannot
            load,
            settings.answers,
            limits,
            device=device,
            num_questions=asking.most_questions(most_from_manifest),
        ),
        overwrite=options.overwrite,
        retry_failed=options.retry_failed,
        limit=options.limit,
        dry_run=options.dry_run,
        log_format=options.log_format,
        executor=executor_for(options.captioners, limits, device=device, cluster=cluster),
        speech_device=device,
        max_failures=max_failures,
        metrics_file=metrics_file,
        selection=selection,
    )
    return run(videos, job)


def read_videos(
    inputs: list[str], root: str | None, manifest_format: ManifestFormat = "auto", video_root: Path | None = None
) -> Inputs:
    """The videos of all inputs; an InputError if there are none."""
    lines: Iterable[str] | None = None
    if "-" in inputs:
        if isinstance(sys.stdin, io.TextIOWrapper):
            sys.stdin.reconfigure(errors="surrogateescape")  # file names are bytes, not all of them UTF-8
        lines = sys.stdin
    videos = read_inputs(
        inputs,
        root=root,
        lines=lines,
        manifest_format=manifest_format,
        video_root=None if video_root is None else str(video_root),
    )
    if not len(videos):
        raise InputError(f"no videos in {', '.join(inputs)}")
    return videos


def choose_device(device: str, dtype: str, *, needs_torch: bool, cluster: Cluster | None = None) -> tuple[str, str]:
    """What `auto` means on this machine, or on the cluster; a GPU asked for there may be one that is still to join."""
    if cluster is not None:
        device = ("cuda" if needs_torch and cluster.num_gpus else "cpu") if device == "auto" else device
    elif needs_torch and device == "auto":
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise InputError(
                "--device cuda: torch sees no GPU here; use --device cpu, or install a CUDA build of torch"
            )
    if dtype == "auto":
        dtype = "float16" if device == "cuda" else "float32"
    return device, dtype


def _asking(options: LabelOptions, spec: ModelSpec, dtype: str, grounding: Grounding, *, from_manifest: bool) -> Asking:
    """What is asked. A language or a number that the pools do not have is found here and not at the first clip."""
    levels = "" if options.levels is None else check_levels(options.levels)
    if from_manifest and options.per_clip is not None:
        raise InputError(f"--per-clip {options.per_clip}: the manifest says what each clip is asked")
    pools = pick_pools(
        options.task, options.prompts, levels=levels, propose=options.propose, from_manifest=from_manifest
    )
    settings = _settings(options, spec, pools, levels, dtype, grounding, from_manifest=from_manifest)
    per_clip = settings.answers.per_clip
    if options.rewrite == "merge" and len(levels.split(",")) * per_clip < 2:
        raise InputError("--rewrite merge: there is one caption a clip; give --levels or --per-clip 2 or more")
    asking = Asking(settings, pools)
    asking.wanted("", Video(video_id="any", path="", location="any"))
    if options.propose:
        asking.source("")
        asking.spare_questions("")
    return asking


def _speech(options: LabelOptions) -> SpeechModel | None:
    """The model that hears speech, if it is asked for: that all of it is here is found before any work starts."""
    if options.subtitles != "whisper":
        if options.whisper is not None:
            raise InputError(f"--whisper {options.whisper}: belongs to --subtitles whisper")
        return None
    check_installed()
    return resolve_speech(options.whisper or DEFAULT)


def _limits(options: LabelOptions, spec: ModelSpec, num_cores: int) -> Limits:
    """How the answers are made. An option of the engine that was not chosen would do nothing: that is an error."""
    if options.slots is not None and (options.engine != "slots" or spec.form == "echo"):
        raise InputError(
            f"--slots {options.slots}: only --engine slots with a real model has slots"
            + (f"; {spec.name} decodes nothing" if spec.form == "echo" else "; generate takes --batch-size")
        )
    if options.batch_size is not None and options.engine != "generate":
        raise InputError(f"--batch-size {options.batch_size}: belongs to --engine generate; slots takes --slots")
    if options.compile_vision and spec.form == "echo":
        raise InputError(f"--compile-vision: {spec.name} has no vision tower")
    defaults = Limits()
    return Limits(
        num_workers=options.workers or num_cores,
        seconds_per_video=options.video_timeout,
        memory_mb=options.worker_memory,
        engine=options.engine,
        num_slots=options.slots,
        batch_size=options.batch_size or defaults.batch_size,
        compile_vision=options.compile_vision,
        embeddings=options.embeddings,
        time_budget_seconds=options.time_budget_seconds,
    )


def _grounding(options: LabelOptions, spec: ModelSpec) -> Grounding:
    """`video` unless told: it costs a few percent. A captioner without a model has no likelihoods to compare."""
    if spec.form != "echo":
        if options.grounding == "strict" and options.slots == 1:
            raise InputError("--grounding strict: compares with another clip in memory; give --slots 2 or more")
        return options.grounding or "video"
    if options.grounding not in (None, "none"):
        raise InputError(f"--grounding {options.grounding}: {spec.name} has no likelihoods to compare")
    return "none"


def scene_settings(split: Split, detector: str, min_clip: float, max_clip: float) -> SceneSettings:
    check_detectors(detector)
    try:
        return SceneSettings(split, detector, min_clip, max_clip)
    except ValueError as error:
        raise InputError(f"--min-clip, --max-clip: {error}") from error


def _settings(
    options: LabelOptions,
    spec: ModelSpec,
    pools: Sequence[Pool],
    levels: str,
    dtype: str,
    grounding: Grounding,
    *,
    from_manifest: bool,
) -> Settings:
    speech = _speech(options)
    scenes = scene_settings(options.split, options.detector, options.min_clip, options.max_clip)
    try:
        return Settings(
            task=options.task,
            scenes=scenes,
            frames=FrameSettings(
                num_frames=options.frames or spec.num_frames,
                image_size=spec.image_size,
                sampling=options.sampling,
                decoder=options.decoder,
                subtitles=options.subtitles,
                whisper=None if speech is None else speech.name,
                whisper_fingerprint=None if speech is None else speech.fingerprint,
            ),
            answers=AnswerSettings(
                model=spec.name,
                model_fingerprint=spec.fingerprint,
                pool="manifest" if from_manifest else ",".join(pool.name for pool in pools),
                pool_fingerprint=pools_fingerprint(pools) if pools else "",
                language=options.language,
                per_clip=options.per_clip or (PER_CLIP_QA if options.task == "qa" and not from_manifest else 1),
                levels=levels,
                propose=options.propose,
                verify=options.verify,
                retry_flagged=options.retry_flagged,
                strip_openings=options.strip_openings,
                rewrite=options.rewrite,
                seed=options.seed,
                max_new_tokens=options.max_new_tokens or min(DEFAULT_NEW_TOKENS, spec.max_new_tokens),
                repetition_penalty=options.repetition_penalty,
                temperature=options.temperature,
                top_p=options.top_p,
                dtype=dtype,
                quantize=options.quantize,
                grounding=grounding,
            ),
        )
    except ValueError as error:
        raise InputError(str(error)) from error
