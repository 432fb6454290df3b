"""`vidlabel eval`: how good a model's answers are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vidlabel import cli_options as o
from vidlabel.cli_paths import local_path
from vidlabel.errors import InputError

Data = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        help="What is asked and what is right, any number of times: labels, manifests with caption, or question and "
        "answer, folders of videos with .txt files, or published test sets as they are (MSVD, MSR-VTT, TGIF, "
        "ActivityNet-QA, Video-ChatGPT).",
        show_default=False,
    ),
]
Task = Annotated[
    Literal["auto", "caption", "qa"],
    typer.Option("--task", help="Which texts of the data: captions, answers to questions, or both where there are."),
]


def register(app: typer.Typer) -> None:
    """Adds the command to vidlabel's own."""
    example = "Example: vidlabel eval --model shapes --data examples/answers.csv --out results.json"
    app.command("eval", epilog=example)(eval_command)


def eval_command(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="results.json; what it is made from is kept beside it.",
            parser=local_path,
            metavar="PATH",
        ),
    ],
    data: Data = None,
    model: Annotated[
        str | None, typer.Option("--model", help="A preset or a model folder, to be asked.", show_default=False)
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers",
            help="With --model: where its answers go (default: beside --out). Without: answers made before, as labels "
            "of the --data; or, alone, with the right answers in them (question, answer, pred).",
            show_default=False,
        ),
    ] = None,
    task: Task = "auto",
    subset: Annotated[
        str | None,
        typer.Option("--subset", help="Only rows whose column split says so, say test.", show_default=False),
    ] = None,
    text_column: Annotated[
        str | None,
        typer.Option("--text-column", help="The column of what is right, where it is not called caption or answer."),
    ] = None,
    keep_flagged: Annotated[
        bool, typer.Option("--keep-flagged", help="Flagged labels in the data count as right too.")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many examples.")] = None,
    root: o.Root = None,
    video_root: o.VideoRoot = None,
    loss: Annotated[
        bool, typer.Option("--loss/--no-loss", help="Also how likely the model finds what is right; a second pass.")
    ] = True,
    judge: Annotated[
        str | None,
        typer.Option(
            "--judge",
            metavar="URL",
            help="Have answers to questions judged by a chat model: an OpenAI-compatible endpoint, as "
            "https://api.openai.com/v1; the key is read from OPENAI_API_KEY.",
            show_default=False,
        ),
    ] = None,
    judge_model: Annotated[
        str | None, typer.Option("--judge-model", help="The name it goes by there.", show_default=False)
    ] = None,
    judge_concurrency: Annotated[
        int, typer.Option("--judge-concurrency", min=1, max=256, help="Answers that are with the judge at once.")
    ] = 4,
    judge_timeout: Annotated[float, typer.Option("--judge-timeout", min=1.0, help="Seconds for a reply.")] = 60.0,
    prompts: Annotated[
        str | None,
        typer.Option("--prompts", help="The pool that asks for captions; default: caption.", show_default=False),
    ] = None,
    frames: o.NumFrames = None,
    sampling: o.SamplingOption = "even",
    decoder: o.DecoderOption = "pyav",
    subtitles: o.SubtitlesOption = "auto",
    whisper: o.WhisperOption = None,
    seed: o.Seed = 0,
    max_new_tokens: o.MaxNewTokens = None,
    repetition_penalty: o.RepetitionPenalty = 1.1,
    temperature: o.Temperature = 0.0,
    top_p: o.TopP = 1.0,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    quantize: o.QuantizeOption = "none",
    engine: o.EngineOption = o.LIMITS.engine,
    slots: o.Slots = None,
    batch_size: o.BatchSize = None,
    workers: o.Workers = None,
    video_timeout: o.VideoTimeout = o.LIMITS.seconds_per_video,
    worker_memory: o.WorkerMemory = o.LIMITS.memory_mb,
    captioners: o.Captioners = None,
    overwrite: o.Overwrite = False,
    retry_failed: o.RetryFailed = False,
    log_format: o.LogFormatOption = "text",
) -> None:
    """Ask a model what is known, or take its answers, and say how good they are."""
    _evaluate(dict(locals()))


def _evaluate(values: dict[str, Any]) -> None:
    from dataclasses import fields

    from vidlabel.cli import set_up_logging
    from vidlabel.evaluation.evaluate import evaluate
    from vidlabel.evaluation.options import AnswerOptions, EvalOptions

    set_up_logging(values["log_format"])
    video_root = values["video_root"]
    options = EvalOptions(
        out=values["out"],
        asking=AnswerOptions(**{field.name: values[field.name] for field in fields(AnswerOptions)}),
        data=tuple(values["data"] or ()),
        video_root=None if video_root is None else str(video_root),
        with_loss=values["loss"],
        judge=_judge(values),
        **{
            name: values[name]
            for name in ("model", "answers", "task", "subset", "text_column", "keep_flagged", "limit", "root")
        },
    )
    evaluated = evaluate(options)
    if evaluated.results is not None:
        typer.echo(evaluated.results.to_text())
    if evaluated.exit_code:
        raise typer.Exit(evaluated.exit_code)


def _judge(values: dict[str, Any]) -> Any:
    from vidlabel.evaluation.options import JudgeOptions

    if values["judge"] is None:
        if values["judge_model"] is not None:
            raise InputError(f"--judge-model {values['judge_model']}: belongs to --judge URL")
        return None
    if values["judge_model"] is None:
        raise InputError(f"--judge {values['judge']}: say with --judge-model which model of it")
    return JudgeOptions(
        url=values["judge"],
        model=values["judge_model"],
        concurrency=values["judge_concurrency"],
        timeout_seconds=values["judge_timeout"],
    )
