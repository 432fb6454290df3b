"""Are the signals true? Clips made so that the truth is known, and what measuring costs beside decoding.

    python -m benchmarks.signals [--worlds 3] [--clips FOLDER] [--only PART]

Prints, each from the clips as H.264 files that are read back like any video:
    order       Spearman's rank correlation with the truth, over all clips of a ladder (0.95 is wanted)
    categories  share that is right (95% is wanted)
    stable      how far signals move when a clip is coded again at a third of the bytes or so (10% is wanted)
    cost        decoding with all pixel signals over decoding without, in turn, CPU seconds (1.15 is wanted)

FOLDER holds real clips for the last three; `benchmarks.scenes` says where bikes, bigbuckbunny and carphone come from.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from benchmarks import signal_clips as made
from benchmarks.scenes import CUTS
from benchmarks.signal_clips import Image
from benchmarks.signal_films import CATEGORIES, LADDERS, Film, logos, moving, shapes
from vidlabel.config import FrameSettings
from vidlabel.data import Clip, Video
from vidlabel.decoders import probe
from vidlabel.frames import sample_frames
from vidlabel.signals.table import SIGNALS, Value, parse_signals

EXAMPLES = Path(__file__).parent.parent / "examples" / "videos"


def write(path: Path, film: Sequence[Image], *, crf: int = 20) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=made.FPS, options={"preset": "veryfast", "crf": str(crf)})
        stream.height, stream.width = film[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.thread_count = 1
        for picture in film:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def clip_of(path: Path, start: float = 0.0, end: float | None = None) -> Clip:
    info = probe(str(path))
    video = Video(video_id=path.stem, path=path.name, location=str(path.resolve()))
    return Clip(path.stem, video, info, start, info.video_seconds if end is None else end)


def signals_of(clip: Clip, names: Sequence[str], num_frames: int = 16) -> Mapping[str, Value]:
    settings = FrameSettings(num_frames, 16, subtitles="none", signals=tuple(names))
    return sample_frames(clip, settings).signals


# ---- order -------------------------------------------------------------------------------------------------------


def spearman(pairs: Sequence[tuple[float, float]]) -> float:
    found, truth = zip(*pairs, strict=True)
    return float(np.corrcoef(_ranks(found), _ranks(truth))[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    array = np.asarray(values, np.float64)
    return np.array([(array < value).sum() + ((array == value).sum() - 1) / 2 for value in array])


def order(worlds: Sequence[Image], folder: Path) -> None:
    for name, (signal, ladder) in LADDERS.items():
        pairs = [
            [(_number(_read_back(film, signal, folder)), _number(truth)) for film, truth in ladder(world, seed)]
            for seed, world in enumerate(worlds)
        ]
        together = list(itertools.chain.from_iterable(pairs))
        rho = min(map(spearman, pairs)) if ladder is shapes else spearman(together)
        off = statistics.median(abs(found - truth) for found, truth in together)
        same_unit = name.endswith(("share", "coverage", "camera"))
        unit = f", median distance from the truth {off:.4f}" if same_unit else ""
        print(f"order       {name:16} {rho:6.3f}  {len(together):3} clips{unit}", flush=True)


def _read_back(film: Film, signal: str, folder: Path) -> Value:
    return signals_of(clip_of(write(folder / "clip.mp4", film)), [signal])[signal]


def _number(value: Value) -> float:
    assert isinstance(value, float | int), value
    return float(value)


# ---- categories --------------------------------------------------------------------------------------------------


def categories(worlds: Sequence[Image], folder: Path, clips: Path | None) -> None:
    for name, (signal, ladder) in CATEGORIES.items():
        wrong: list[str] = []
        count = 0
        for seed, world in enumerate(worlds):
            for film, truth in ladder(world, seed):
                found = _read_back(film, signal, folder)
                wrong += [f"{found} for {truth}"] * (found != truth)
                count += 1
        print(f"categories  {name:16} {1 - len(wrong) / count:6.1%}  {count:3} clips; {wrong or ''}", flush=True)
    for path in sorted(clips.glob("*.mp4")) if clips else ():
        wrong, count = [], 0
        info = probe(str(path))
        own = [number / info.fps for number in CUTS.get(path.name, [])]
        for start in np.arange(0, info.video_seconds - 1, 0.7):
            inside = [at for at in own if start + 1.5 / info.fps < at < start + 2 - 1.5 / info.fps]
            near = [at for at in own if start - 0.1 < at < start + 2.1]
            if len(inside) == len(near):  # not where a cut is so near to an end that one can argue
                found = signals_of(clip_of(path, start, min(start + 2, info.video_seconds)), ["cut_inside"])
                wrong += [f"{start:.1f} s"] * (found["cut_inside"] != bool(inside))
                count += 1
        print(
            f"categories  cuts, {path.name:22} {1 - len(wrong) / count:6.1%}  {count:3} spans; {wrong or ''}",
            flush=True,
        )


# ---- stable ------------------------------------------------------------------------------------------------------


def again(path: Path, folder: Path) -> tuple[Path, Path]:
    """The first seconds of a file, coded well and coded poorly."""
    with av.open(str(path)) as container:
        film = [
            frame.to_ndarray(format="rgb24") for _, frame in zip(range(100), container.decode(video=0), strict=False)
        ]
    film = [picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2] for picture in film]
    return write(folder / "well.mp4", film, crf=16), write(folder / "poorly.mp4", film, crf=28)


def stable(folder: Path, paths: Sequence[Path], world: Image) -> None:
    names = parse_signals("pixels")
    kinds = {signal.name: signal.kind for signal in SIGNALS}
    files = [
        *paths,
        write(folder / "pan.mp4", moving(world)),
        write(folder / "logo.mp4", next(iter(logos(world, 0)))[0]),
    ]
    moved: dict[str, list[float]] = {name: [] for name in names}
    for path in files:
        well, poorly = again(path, folder)
        one, other = (signals_of(clip_of(file), names) for file in (well, poorly))
        bytes_left = poorly.stat().st_size / well.stat().st_size
        for name in names:
            a, b = one[name], other[name]
            if kinds[name] != "float" or a is None or b is None:
                moved[name].append(float(a != b))
            elif isinstance(a, float) and isinstance(b, float):
                moved[name].append(abs(a - b) / max(abs(a), abs(b), 0.02))  # below 0.02 there is hardly anything
        print(f"stable      {path.name:44} {bytes_left:.0%} of the bytes", flush=True)
    for name, shares in moved.items():
        spread = f"median {statistics.median(shares):6.1%}, most {max(shares):6.1%}"
        print(
            f"stable      {name:16} {spread if kinds[name] == 'float' else f'{sum(shares):.0f} of {len(files)} differ'}"
        )


# ---- cost --------------------------------------------------------------------------------------------------------


def cost(folder: Path, paths: Sequence[Path], world: Image, repeats: int) -> None:
    film = made.film(world, made.panning(0.05, 0.02), seconds=10, width=1280, height=720)
    files = [write(folder / "made-720p-10s.mp4", film, crf=23), *paths]
    for path in files:
        clip = clip_of(path)
        for num_frames in (8, 16, 45):  # the last as the released Llama-2 model is shown
            plain: list[float] = []
            measured: list[float] = []
            for _ in range(repeats):
                for names, times in (((), plain), (parse_signals("pixels"), measured)):
                    began = time.process_time()
                    signals_of(clip, names, num_frames)
                    times.append(time.process_time() - began)
            without, with_all = statistics.median(plain), statistics.median(measured)
            best = min(measured) / min(plain)
            size = f"{clip.info.width}x{clip.info.height}, {clip.seconds:.1f} s, {num_frames} frames"
            print(
                f"cost        {path.name:24} {size:32} {without:.3f} s, with signals {with_all:.3f} s: "
                f"{with_all / without:.3f} (of the fastest runs {best:.3f})",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=3, help="of painted backgrounds, each with all clips")
    parser.add_argument("--clips", type=Path, help="a folder of real clips")
    parser.add_argument("--only", choices=["order", "categories", "stable", "cost"])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    worlds = [made.world(seed, size=1600) for seed in range(options.worlds)]
    real = sorted(options.clips.glob("*.mp4")) if options.clips else []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only in (None, "order"):
            order(worlds, folder)
        if options.only in (None, "categories"):
            categories(worlds, folder, options.clips)
        if options.only in (None, "stable"):
            stable(folder, [*real, *sorted(EXAMPLES.glob("*.mp4"))], worlds[0])
        if options.only in (None, "cost"):
            cost(folder, [path for path in real if probe(str(path)).height >= 480], worlds[0], options.repeats)


if __name__ == "__main__":
    main()
