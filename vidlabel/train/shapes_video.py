"""`shapes` scenes as real files: H.264 in mp4, subtitles beside it. `python -m vidlabel.train.shapes_video --out DIR`
writes the example videos, the same ones every time."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import count
from pathlib import Path

import av

from vidlabel.train.shapes_world import BACKDROPS, Motion, Scene, Shape, make_scene, render

EXAMPLES_FROM = 1_000_000  # number of the first held-out scene that is looked at for an example
_WISHES: tuple[tuple[tuple[Shape, Motion], ...], ...] = (
    (("circle", "right"),),
    (("square", "up"),),
    (("triangle", "appears"),),
    (("star", "disappears"),),
    (("star", "left"), ("circle", "still")),
    (("triangle", "down"), ("square", "right")),
)
_SPEAKS = (0, 2, 4)  # the wishes that are fulfilled with subtitles


def write_video(path: Path, scenes: Sequence[Scene], *, preset: str = "medium") -> None:
    """The scenes one after another with hard cuts, in the first one's size and rate; a .vtt beside it if any speaks.
    `preset` is x264's: how long it may take."""
    first = scenes[0]
    rate = Fraction(first.fps).limit_denominator(1001)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "20", "preset": preset})
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        for scene in scenes:
            num_frames = max(1, round(scene.seconds * float(rate)))
            for i in range(num_frames):
                image = render(scene, [(i + 0.5) / num_frames], first.width, first.height)[0]
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    if any(scene.cues for scene in scenes):
        path.with_suffix(".vtt").write_text(_subtitles(scenes), encoding="utf-8")


def write_examples(folder: Path) -> list[Path]:
    """Short clips named after what happens in them, and one video of three scenes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, wish in enumerate(_WISHES):
        scene = next(s for s in _candidates() if _fulfils(s, wish) and bool(s.cues) == (number in _SPEAKS))
        name = "-and-".join(f"{thing.colour}-{thing.shape}-{thing.motion}" for thing in scene.things)
        paths.append(folder / f"{name}.mp4")
        write_video(paths[-1], [scene])
    paths.append(folder / "three-scenes.mp4")
    write_video(paths[-1], _three_scenes())
    return paths


def _three_scenes() -> list[Scene]:
    """Three seconds on each backdrop, every thing of another colour."""
    scenes: list[Scene] = []
    used: set[str] = set()
    for backdrop in BACKDROPS:
        scene = next(
            s
            for s in _candidates()
            if (s.width, s.height, s.backdrop, s.cues) == (320, 240, backdrop, ())
            and s.things[0].motion in ("left", "right", "up", "down")
            and used.isdisjoint(thing.colour for thing in s.things)
        )
        used |= {thing.colour for thing in scene.things}
        scenes.append(replace(scene, seconds=3.0, fps=25.0))
    return scenes


def _candidates() -> Iterator[Scene]:
    return (make_scene("held-out", number) for number in count(EXAMPLES_FROM))


def _fulfils(scene: Scene, wish: tuple[tuple[Shape, Motion], ...]) -> bool:
    is_sharp = scene.width >= 240 and 2.5 <= scene.seconds <= 6 and scene.fps >= 12
    return is_sharp and sorted((thing.shape, thing.motion) for thing in scene.things) == sorted(wish)


def _subtitles(scenes: Sequence[Scene]) -> str:
    lines, offset = ["WEBVTT", ""], 0.0
    for scene in scenes:
        for cue in scene.cues:
            lines += [f"{_time(offset + cue.start_seconds)} --> {_time(offset + cue.end_seconds)}", cue.text, ""]
        offset += scene.seconds
    return "\n".join(lines)


def _time(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    write_examples(parser.parse_args().out)


if __name__ == "__main__":
    main()
