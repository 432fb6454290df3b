"""`vidlabel models ...`: weights, listed, fetched, checked and converted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from vidlabel.cli_paths import local_path
from vidlabel.errors import InputError

models_app = typer.Typer(no_args_is_help=True, help="Model weights: list, fetch, check, convert.")

NameOrFolder = Annotated[str, typer.Argument(metavar="NAME|DIR", help="A preset, or a model folder.")]


@models_app.command("list", epilog="Example: vidlabel models list")
def models_list() -> None:
    """The presets: what each is, and whether its weights are here."""
    from vidlabel.models.presets import list_presets

    for line in list_presets():
        typer.echo(line)


@models_app.command("pull", epilog="Example: vidlabel models pull shapes")
def models_pull(
    name: Annotated[str, typer.Argument(help="A preset.")],
    mirror: Annotated[
        str | None, typer.Option("--mirror", help="A hub mirror; else HF_ENDPOINT, else the Hugging Face hub.")
    ] = None,
) -> None:
    """Fetch a preset's weights: resumes, pins revisions, verifies checksums. HF_TOKEN is used for gated models."""
    import sys

    from vidlabel.models.download import pull

    folder = pull(name, mirror=mirror, progress=sys.stderr.isatty())
    typer.echo(f"{name}: {'nothing to fetch, it ships with vidlabel' if folder is None else folder}")


@models_app.command("check", epilog="Example: vidlabel models check shapes")
def models_check(
    name: NameOrFolder,
    golden: Annotated[
        Path | None, typer.Option("--golden", help="A folder of golden data: recompute every case with these weights.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")] = False,
) -> None:
    """Check that a model gives the numbers it should. Exits 1 if one does not."""
    from vidlabel.models.checking import check_model

    results = check_model(name, golden)
    if as_json:
        rows = [
            {
                "name": result.name,
                # JSON has no infinity, which a wrong shape gives
                "largest_difference": result.largest_difference if result.largest_difference < 1e300 else None,
                "tolerance": result.tolerance,
                "passed": result.passed,
            }
            for result in results
        ]
        typer.echo(json.dumps({"passed": all(result.passed for result in results), "cases": rows}, indent=2))
    else:
        for result in results:
            verdict = "ok  " if result.passed else "FAIL"
            typer.echo(f"{verdict} {result.largest_difference:9.2e} of {result.tolerance:.0e}  {result.name}")
        failed = sum(not result.passed for result in results)
        typer.echo(f"{len(results)} cases, {failed} out of tolerance")
    if not all(result.passed for result in results):
        raise typer.Exit(1)


@models_app.command("convert", epilog="Example: vidlabel models convert tests/data/golden/llama_small --out my-model")
def models_convert(
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="The new model folder.",
            parser=local_path,
            metavar="PATH",
        ),
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|DIR]", help="A pulled preset, or a folder with the three sources.")
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option("--frames", min=1, help="Frames a clip; default: what the language model's window takes."),
    ] = None,
    vision: Annotated[Path | None, typer.Option("--vision", help="eva_vit_g.pth")] = None,
    language_model: Annotated[Path | None, typer.Option("--language-model", help="A Hugging Face folder.")] = None,
    checkpoint: Annotated[Path | None, typer.Option("--checkpoint", help="video_*_checkpoint_*.pth")] = None,
    to: Annotated[
        Literal["own", "reference"],
        typer.Option("--to", help="reference: the other way, a model folder as the three original sources."),
    ] = "own",
) -> None:
    """Write the three original sources as one folder of safetensors, LoRA merged, with a known-answer test."""
    from vidlabel.models.checking import named_sources
    from vidlabel.models.minigpt4_video.convert import convert
    from vidlabel.models.minigpt4_video.loading import Sources

    if out.exists():
        raise InputError(f"--out {out}: exists already; name a new folder")
    if to == "reference":
        if frames is not None:
            raise InputError(f"--frames {frames}: the three sources do not say how many; leave it out")
        from vidlabel.models.checking import export

        export(name, out)
        typer.echo(f"{out}: video_checkpoint.pth and what goes with it")
        return
    config = None
    if name is not None:
        sources, config = named_sources(name)
        if config is not None and frames is not None:
            raise InputError(f"--frames {frames}: {name} says itself how many it takes")
    elif vision is not None and language_model is not None and checkpoint is not None:
        sources = Sources(vision=vision, language_model=language_model, checkpoint=checkpoint)
    else:
        raise InputError("name a pulled preset or a folder, or give --vision, --language-model and --checkpoint")
    convert(sources, out, config, num_frames=frames)
    typer.echo(f"{out}: use it as --model {out}")
