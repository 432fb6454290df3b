"""What sampling costs: ours against decord alone and against a plain OpenCV loop, on the same clips.

    python benchmarks/decode.py                     makes H.264 files of 720p and 1080p and measures those
    python benchmarks/decode.py a.mp4 b.mkv         measures the first seconds of these files

CPU seconds (all threads together), medians of runs made in turn, 45 frames of 224x224 from each clip. The others get
every advantage: decord scales by itself while decoding, OpenCV uses its fastest good filter; neither is then what the
model was trained on. "right" is how many of the 45 are the frames that the clip's times ask for.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch

from vidlabel.config import FrameSettings
from vidlabel.data import Clip, Video
from vidlabel.decoders import probe, small_frames
from vidlabel.frames import sample_frames
from vidlabel.picking import even_targets

NUM_FRAMES = 45
SIZE = 224
CLIP_SECONDS = 10.0

Sampler = Callable[[Clip], npt.NDArray[np.float64]]  # the times of the frames it took


def ours(clip: Clip) -> npt.NDArray[np.float64]:
    return sample_frames(clip, FrameSettings(NUM_FRAMES, SIZE, subtitles="none")).pts_seconds


def ours_with_decord(clip: Clip) -> npt.NDArray[np.float64]:
    return sample_frames(clip, FrameSettings(NUM_FRAMES, SIZE, subtitles="none", decoder="decord")).pts_seconds


def decord_alone(clip: Clip) -> npt.NDArray[np.float64]:
    import decord

    reader = decord.VideoReader(clip.video.location, width=SIZE, height=SIZE, num_threads=1)
    rate = float(reader.get_avg_fps())
    indices = [min(len(reader) - 1, index) for index in indices_of(clip, rate)]
    assert reader.get_batch(indices).asnumpy().shape == (NUM_FRAMES, SIZE, SIZE, 3)
    return np.array(indices, np.float64) / rate


def opencv_loop(clip: Clip) -> npt.NDArray[np.float64]:
    capture = cv2.VideoCapture(clip.video.location)
    rate = capture.get(cv2.CAP_PROP_FPS)
    wanted = indices_of(clip, rate)
    taken: list[cv2.typing.MatLike] = []
    index = 0
    while len(taken) < NUM_FRAMES:
        good, image = capture.read()
        if not good:
            break
        while len(taken) < NUM_FRAMES and wanted[len(taken)] <= index:
            taken.append(cv2.cvtColor(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))
        index += 1
    capture.release()
    return np.array(wanted[: len(taken)], np.float64) / rate


SAMPLERS: dict[str, Sampler] = {
    "vidlabel (PyAV)": ours,
    "vidlabel (decord)": ours_with_decord,
    "decord alone": decord_alone,
    "OpenCV loop": opencv_loop,
}


def indices_of(clip: Clip, rate: float) -> list[int]:
    """What the others are asked for: the nearest frames, if the rate is constant and the file begins at 0."""
    return [math.ceil(target * rate - 0.5) for target in even_targets(clip.start_seconds, clip.end_seconds, NUM_FRAMES)]


def measure(clip: Clip, repeats: int) -> dict[str, float]:
    """Median CPU seconds of each sampler; they take turns, so that a busy machine slows all of them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in SAMPLERS}
    for _ in range(repeats):
        for name, sampler in SAMPLERS.items():
            before = time.process_time()
            sampler(clip)
            seconds[name].append(time.process_time() - before)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(path: Path, repeats: int) -> None:
    info = probe(str(path))
    start = next(small_frames(str(path)))[0]
    end = start + min(CLIP_SECONDS, info.video_seconds)
    clip = Clip("clip", Video("video", path.name, str(path)), info, start, end)
    decoded = round((end - start) * info.fps)
    print(
        f"\n{path.name}: {info.width}x{info.height} {info.codec}, {info.fps:.2f} fps, {end - start:.1f} s, "
        f"{decoded} frames",
        flush=True,
    )
    for sampler in SAMPLERS.values():
        sampler(clip)  # once unmeasured: imports and caches
    medians = measure(clip, repeats)
    mine = medians["vidlabel (PyAV)"]
    truth = sample_frames(clip, FrameSettings(NUM_FRAMES, SIZE, subtitles="none")).pts_seconds
    print(f"  {'':20} {'CPU s':>7} {'frames/s':>9} {'against ours':>13} {'right':>6}")
    for name, seconds in medians.items():
        took = SAMPLERS[name](clip)
        right = int((np.abs(took - truth[: len(took)]) < 0.6 / info.fps).sum())
        print(f"  {name:20} {seconds:7.3f} {decoded / seconds:9.0f} {seconds / mine:12.2f}x {right:3}/{NUM_FRAMES}")


def made_files(folder: Path) -> Iterator[Path]:
    for width, height, gop in ((1280, 720, 250), (1920, 1080, 30)):
        path = folder / f"made-{height}p-gop{gop}.mp4"
        make_file(path, width, height, gop)
        yield path


def make_file(path: Path, width: int, height: int, gop: int) -> None:
    """Ten seconds of soft coloured patches that drift over each other, at an ordinary bit rate."""
    rng = np.random.default_rng(gop)
    layers = [cv2.resize(rng.integers(0, 256, (9, 16, 3), np.uint8), (width * 2, height)) for _ in range(2)]
    grain = rng.integers(-6, 7, (height, width * 2, 3), np.int16)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "23", "g": str(gop)})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(250):
            slow, fast = (
                np.roll(layer, -index * step, axis=1)[:, :width] for layer, step in zip(layers, (2, 7), strict=True)
            )
            mixed = cv2.addWeighted(slow, 0.5, fast, 0.5, 0).astype(np.int16) + grain[:, index : index + width]
            frame = av.VideoFrame.from_ndarray(np.clip(mixed, 0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="videos to measure instead of made ones")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        for path in options.files or made_files(Path(folder)):
            report(path, options.repeats)


if __name__ == "__main__":
    main()
