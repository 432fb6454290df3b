"""The command line's options, each written once with its help, for the commands that share them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from vidlabel.config import (
    Decoder,
    Engine,
    Grounding,
    Limits,
    Quantize,
    Sampling,
    SceneSettings,
    Split,
    Subtitles,
)
from vidlabel.errors import InputError
from vidlabel.manifests.sets import ManifestFormat
from vidlabel.progress import LogFormat

SCENES, LIMITS = SceneSettings(), Limits()  # the defaults

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="INPUT...",
        help="Folders, video files and manifests (.csv .tsv .jsonl .parquet), local or s3:// gs:// hf:// https://, in "
        "any mix; - reads paths from stdin.",
        show_default=False,
    ),
]
Out = Annotated[
    str,
    typer.Option(
        "--out", help="labels.parquet, labels.jsonl, or a folder of parquet files; local or s3:// gs:// hf://."
    ),
]
ClipsOut = Annotated[
    str, typer.Option("--out", help="clips.parquet, clips.csv or clips.jsonl; local or s3:// gs:// hf://.")
]
Root = Annotated[
    str | None,
    typer.Option("--root", help="Paths of manifests are relative to this folder (or URL) and may not leave it."),
]
ManifestFormatOption = Annotated[
    ManifestFormat,
    typer.Option(
        "--manifest-format",
        help="What the manifests are: plain ones with a column video, or those of a published set as they are; auto "
        "tells by the columns.",
    ),
]
VideoRoot = Annotated[
    Path | None,
    typer.Option(
        "--video-root",
        help="Where the files of published manifests lie, found by the set's own names in any folder below; default: "
        "--root, or where the manifest is.",
        show_default=False,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option("--limit", min=1, help="Take only so many videos that are not done yet."),
]

SplitOption = Annotated[
    Split,
    typer.Option("--split", help="Cut videos at scene changes, into equal parts, or not at all."),
]
DetectorOption = Annotated[
    str,
    typer.Option(
        "--detector",
        help="Scene detectors, joined by commas: adaptive, content, dissolve, hash, histogram, "
        "threshold; what any of them finds counts.",
    ),
]
MinClip = Annotated[float, typer.Option("--min-clip", help="Seconds; shorter scenes are joined to a neighbour.")]
MaxClip = Annotated[float, typer.Option("--max-clip", help="Seconds; longer scenes are cut into equal parts.")]
NumFrames = Annotated[
    int | None,
    typer.Option(
        "--frames", min=1, help="Frames a clip; default: what the model was trained with.", show_default=False
    ),
]
SamplingOption = Annotated[
    Sampling,
    typer.Option(
        "--sampling",
        help="Spread frames over the whole clip, or take those that MiniGPT4-video's "
        "own script takes (it misses the end).",
    ),
]
DecoderOption = Annotated[Decoder, typer.Option("--decoder", help="What decodes frames.")]
SubtitlesOption = Annotated[
    Subtitles,
    typer.Option(
        "--subtitles",
        help="auto: the manifest's, a .vtt or .srt beside the video, or an embedded track; whisper: the same, and what "
        "is said in videos that have none of these.",
    ),
]
WhisperOption = Annotated[
    str | None,
    typer.Option(
        "--whisper",
        help="For --subtitles whisper: whisper (the default), whisper-turbo, a model folder, or a hub repository in "
        "the hub's cache.",
        show_default=False,
    ),
]

ModelOption = Annotated[str, typer.Option("--model", help="A preset (vidlabel models list) or a model folder.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the choice of instructions, and of sampling.")]
MaxNewTokens = Annotated[
    int | None,
    typer.Option(
        "--max-new-tokens",
        min=1,
        help="Longest answer; a longer one is flagged truncated. Default: 256, or less where the model is small.",
        show_default=False,
    ),
]
RepetitionPenalty = Annotated[
    float,
    typer.Option("--repetition-penalty", help="On generated tokens; MiniGPT4-video's own is 1.5."),
]
Temperature = Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")]
TopP = Annotated[float, typer.Option("--top-p", help="With a temperature: nucleus sampling.")]

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    typer.Option("--device", help="auto: a GPU if there is one."),
]
Dtype = Annotated[
    Literal["auto", "float16", "bfloat16", "float32"],
    typer.Option("--dtype", help="auto: float16 on a GPU, float32 without."),
]
QuantizeOption = Annotated[
    Quantize,
    typer.Option(
        "--quantize",
        help="Round the language model's weights to 8 or 4 bits, for a small GPU: less memory, other answers.",
    ),
]
GroundingOption = Annotated[
    Grounding | None,
    typer.Option(
        "--grounding",
        help="What an answer's likelihood is compared with, for the column of that name: video: the same question "
        "without the video; strict: that, and another clip's video; none: nothing, a few percent faster. "
        "Default: video.",
        show_default=False,
    ),
]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine",
        help="slots: reads a clip once for all its questions and keeps the GPU full; generate: transformers' own "
        "decoding, slower, to compare with.",
    ),
]
Slots = Annotated[
    int | None,
    typer.Option(
        "--slots",
        min=1,
        help="Clips that the slots engine has in flight; default: as many as memory holds, at most 64 (8 on a CPU).",
        show_default=False,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        min=1,
        help=f"Answers that --engine generate decodes at once; default: {LIMITS.batch_size}.",
        show_default=False,
    ),
]
CompileVision = Annotated[
    bool,
    typer.Option(
        "--compile-vision",
        help="Compile the vision tower (needs a C++ compiler, or Triton on a GPU): a minute at the start, "
        "then less time a frame.",
    ),
]
Embeddings = Annotated[
    bool,
    typer.Option(
        "--embeddings",
        help="Keep what each clip looks like to the vision tower: a vector in labels.embeddings.parquet beside the "
        "labels, for vidlabel dedup, and a column temporal_consistency.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Decode processes; default: one a core.", show_default=False),
]
VideoTimeout = Annotated[
    float,
    typer.Option(
        "--video-timeout",
        min=1.0,
        help="Seconds a worker may spend on one stage of one video, and "
        "one more for each 2 MB of its file; then it is killed and the video has failed.",
    ),
]
WorkerMemory = Annotated[
    int,
    typer.Option("--worker-memory", min=512, help="MB a decode worker may use; a video that needs more fails."),
]

ExecutorOption = Annotated[
    Literal["local", "ray", "auto"],
    typer.Option(
        "--executor",
        help="local: this machine; ray: a Ray cluster (RAY_ADDRESS), or one started here; auto: ray where "
        "RAY_ADDRESS is set or there are several GPUs, and Ray is installed.",
    ),
]
Captioners = Annotated[
    int | None,
    typer.Option(
        "--captioners",
        min=1,
        help="Models loaded, each in a process of its own; default: one a GPU.",
        show_default=False,
    ),
]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Label one of N shares of the videos: run the same command N times, with 1/N to N/N, here or on machines "
        "that share the folder of --out; the last to end merges.",
        show_default=False,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Make all labels again; the old file stays until the new one is whole."),
]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before, whatever the reason.")]
TimeBudget = Annotated[
    str | None,
    typer.Option(
        "--time-budget",
        help="Stop in good order after so long: 2h, 90m, 45s; the next run goes on.",
        show_default=False,
    ),
]
MaxFailuresOption = Annotated[
    str | None,
    typer.Option(
        "--max-failures",
        help="Stop in good order, with exit code 1, when more videos fail than that: 5% (of those finished, from the "
        "50th on) or a number.",
        show_default=False,
    ),
]
MetricsFile = Annotated[
    Path | None,
    typer.Option(
        "--metrics-file",
        help="A .prom file with the run's numbers for Prometheus' textfile collector, written every few seconds.",
        show_default=False,
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
LogFormatOption = Annotated[LogFormat, typer.Option("--log-format", help="json: one object a line, on stderr.")]

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s?)?")


def parse_duration(text: str, option: str) -> float:
    """'2h' '1h30m' '90m' '45s' '45' -> seconds."""
    found = _DURATION.fullmatch(text.strip().lower())
    hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (0.0, 0.0, 0.0)
    total = hours * 3600 + minutes * 60 + seconds
    if total <= 0:
        raise InputError(f"{option} {text}: not a duration above zero; write for example 2h, 90m or 1h30m")
    return total
