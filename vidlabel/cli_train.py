"""`vidlabel train STAGE`: make your own labeller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from vidlabel.cli_options import LogFormatOption, ManifestFormatOption, Root, VideoRoot
from vidlabel.cli_paths import local_path

STAGE_HELP = (
    "align: images or single frames with captions, the projection learns; pretrain: videos with captions, LoRA too; "
    "instruct: questions and answers."
)
Paths = list[str]


def register(app: typer.Typer) -> None:
    """Adds the command to vidlabel's own."""
    app.command(
        "train",
        epilog="Example: vidlabel train pretrain --data examples/labels.jsonl --root examples/videos --from shapes "
        "--steps 3 --out my-labeller",
    )(train_command)


def _option(*names: str, **more: Any) -> Any:
    return typer.Option(*names, show_default=False, **more)


def train_command(
    stage: Annotated[Literal["align", "pretrain", "instruct"], typer.Argument(help=STAGE_HELP, show_default=False)],
    data: Annotated[
        Paths,
        _option("--data", help="Labels, manifests with caption or question and answer, folders of pairs; repeatable."),
    ],
    out: Annotated[
        Path,
        _option(
            "--out",
            help="The new model folder.",
            parser=local_path,
            metavar="PATH",
        ),
    ],
    start: Annotated[str | None, _option("--from", metavar="PRESET|DIR", help="What to begin with.")] = None,
    vision: Annotated[
        Path | None, _option("--vision", help="In place of --from: eva_vit_g.pth, with --language-model.")
    ] = None,
    language_model: Annotated[
        Path | None, _option("--language-model", help="A Hugging Face folder; the projection to it begins at random.")
    ] = None,
    recipe: Annotated[Path | None, _option("--recipe", help="A .toml of these settings; options win.")] = None,
    caption_data: Annotated[
        Paths | None, _option("--caption-data", help="instruct: captions to be learnt beside the questions.")
    ] = None,
    eval_data: Annotated[Paths | None, _option("--eval-data", help="For the evaluation loss; like --data.")] = None,
    eval_share: Annotated[
        float | None, _option("--eval-share", help="Keep such a share of the videos for that, say 0.05.")
    ] = None,
    root: Root = None,
    video_root: VideoRoot = None,
    manifest_format: ManifestFormatOption = "auto",
    text_column: Annotated[str | None, _option("--text-column", help="Where captions or answers are.")] = None,
    keep_flagged: Annotated[bool, typer.Option("--keep-flagged", help="Learn from flagged labels too.")] = False,
    steps: Annotated[int | None, _option("--steps", help="Of the optimizer; instead of --epochs.")] = None,
    epochs: Annotated[float | None, _option("--epochs", help="Times through the examples; default 1.")] = None,
    batch_size: Annotated[int | None, _option("--batch-size", help="Rows at once in a process; default 4.")] = None,
    turns: Annotated[
        int | None, _option("--turns", help="Examples of the same clip in a row, which holds the clip once; default 1.")
    ] = None,
    accumulate: Annotated[int | None, _option("--accumulate", help="Batches to a step; default 1.")] = None,
    optimizer: Annotated[
        Literal["adamw", "muon"] | None,
        _option("--optimizer", help="muon: for small models that learn everything; default adamw."),
    ] = None,
    lr: Annotated[float | None, _option("--lr", help="Learning rate at its top; default 1e-4.")] = None,
    min_lr: Annotated[float | None, _option("--min-lr", help="At the end; default a tenth of it.")] = None,
    warmup_lr: Annotated[float | None, _option("--warmup-lr", help="At the very start; default 1e-6.")] = None,
    warmup_steps: Annotated[int | None, _option("--warmup-steps", help="Default: one step in 30.")] = None,
    vision_lr: Annotated[float | None, _option("--vision-lr", help="Of the tower with --train-vision.")] = None,
    weight_decay: Annotated[float | None, _option("--weight-decay", help="Default 0.05.")] = None,
    beta2: Annotated[float | None, _option("--beta2", help="AdamW's; default 0.999.")] = None,
    max_grad_norm: Annotated[
        float | None, _option("--max-grad-norm", help="Longer gradients are cut; default 1, 0: never.")
    ] = None,
    lora: Annotated[
        bool | None, _option("--lora/--no-lora", help="LoRA on q_proj and v_proj; default: in all stages but align.")
    ] = None,
    lora_r: Annotated[int | None, _option("--lora-r", help="Its rank; default 64.")] = None,
    lora_alpha: Annotated[float | None, _option("--lora-alpha", help="Default 16.")] = None,
    lora_dropout: Annotated[float | None, _option("--lora-dropout", help="Default 0.05.")] = None,
    full: Annotated[bool | None, _option("--full/--no-full", help="All of the language model, without LoRA.")] = None,
    train_vision: Annotated[
        bool | None, _option("--train-vision/--no-train-vision", help="The vision tower too: for small models.")
    ] = None,
    pool: Annotated[
        str | None, _option("--pool", help="Instructions for captions: a pool or a file; default caption.")
    ] = None,
    prompt_form: Annotated[
        Literal["inference", "reference"] | None,
        _option("--prompt-form", help="As labelling asks (default), or as the reference's training did."),
    ] = None,
    max_answer_tokens: Annotated[int | None, _option("--max-answer-tokens", help="Default 256.")] = None,
    max_context_tokens: Annotated[
        int | None, _option("--max-context-tokens", help="Default: what the model's window leaves.")
    ] = None,
    frames: Annotated[int | None, _option("--frames", help="A video; default: the model's, 1 to align.")] = None,
    subtitles: Annotated[
        bool | None, _option("--subtitles/--no-subtitles", help="Shown between the frames; default: yes.")
    ] = None,
    checkpointing: Annotated[
        bool | None, _option("--checkpointing/--no-checkpointing", help="Less memory for more time.")
    ] = None,
    dtype: Annotated[
        Literal["auto", "fp32", "bf16", "fp16"] | None,
        _option("--dtype", help="What it computes in; what learns is kept in fp32. Default: bf16 on a GPU, else fp32."),
    ] = None,
    save_dtype: Annotated[
        Literal["fp32", "bf16", "fp16"] | None,
        _option("--save-dtype", help="Of the new weights, with --full or --train-vision; default: as --dtype."),
    ] = None,
    seed: Annotated[int | None, _option("--seed", help="Default 42.")] = None,
    cache_features: Annotated[
        Path | None,
        _option("--cache-features", help="Keep here what the tower sees, or with --train-vision the pictures."),
    ] = None,
    device: Annotated[Literal["auto", "cuda", "cpu"], typer.Option("--device", help="Where it runs.")] = "auto",
    workers: Annotated[
        int | None, _option("--workers", min=0, help="Processes that decode; default: the cores but one.")
    ] = None,
    log_every: Annotated[int, typer.Option("--log-every", min=1, help="Steps from one logged loss to the next.")] = 10,
    eval_every: Annotated[
        int | None, _option("--eval-every", min=1, help="Steps from one evaluation to the next; default: a tenth.")
    ] = None,
    save_every: Annotated[
        int | None, _option("--save-every", min=1, help="Steps from one checkpoint to the next; default: a tenth.")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=0, help="Answers shown at each evaluation.")] = 2,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on from the checkpoints in DIR.work, if it has any.")
    ] = True,
    log_format: LogFormatOption = "text",
) -> None:
    """Make your own labeller: fine-tune a model on captions, or on questions and answers."""
    given = dict(locals())
    from vidlabel.cli import set_up_logging
    from vidlabel.train.options import Place, TrainOptions, default_workers
    from vidlabel.train.settings import TrainSettings, settle
    from vidlabel.train.starting import Beginning
    from vidlabel.train.training import train

    set_up_logging(log_format)
    names = set(TrainSettings.__dataclass_fields__) - {"stage"}
    settings = settle(stage, recipe, {name: given[name] for name in names})
    plain = {name: given[name] for name in set(TrainOptions.__dataclass_fields__) & set(given)}
    lists = {name: tuple(given[name] or ()) for name in ("data", "caption_data", "eval_data")}
    plain |= lists | {
        "workers": default_workers() if workers is None else workers,
        "video_root": None if video_root is None else str(video_root),
    }
    code = train(settings, Beginning(start, vision, language_model), TrainOptions(**plain))
    if code > 128:
        typer.echo("vidlabel: stopped; the same command goes on from here", err=True)
        raise typer.Exit(code)
    if not Place().is_first:
        return
    typer.echo(f"{out}: use it as --model {out}")
    if code:
        typer.echo(f"vidlabel: some videos were left out, see {out}.failures.jsonl", err=True)
        raise typer.Exit(code)
