"""Draws the losses of trainings, one panel each: `python -m benchmarks.curves DIR.logs ... --out curves.svg`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from vidlabel.atomic import whole_file
from vidlabel.train.logs import LOG

Points = list[tuple[int, float]]


def read_losses(folder: Path) -> dict[str, Points]:
    """`loss` and, where the training was evaluated, `eval_loss`: (step, value) in order."""
    found: dict[str, Points] = {"loss": [], "eval_loss": []}
    for line in (folder / LOG).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for name, points in found.items():
            if name in row:
                points.append((int(row["step"]), float(row[name])))
    return found


def draw(folders: Sequence[Path], out: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "vidlabel"  # the same file every time
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(folders), figsize=(4.2 * len(folders), 3.2), squeeze=False)
    for panel, folder in zip(panels[0], folders, strict=True):
        losses = read_losses(folder)
        panel.plot(*zip(*losses["loss"], strict=True), color="#9db7d5", linewidth=0.8, label="training")
        if losses["eval_loss"]:
            panel.plot(*zip(*losses["eval_loss"], strict=True), "o-", color="#c0392b", markersize=3, label="held out")
        panel.set(yscale="log", title=folder.name.removesuffix(".logs"), xlabel="step")
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("loss per answer token")
    panels[0][-1].legend(frameon=False)
    figure.tight_layout()
    with whole_file(out) as beside:
        figure.savefig(beside, format="svg", metadata={"Date": None})


def main(args: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("logs", nargs="+", type=Path, help="folders that `vidlabel train` has left beside its models")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(args)
    draw(options.logs, options.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
