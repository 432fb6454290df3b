"""What grounding costs and what it tells: `python -m benchmarks.grounding`.

    python -m benchmarks.grounding --modes none,video    the engine with and without it, in turn, random weights
    python -m benchmarks.grounding --auc 200             captions of `shapes`, right ones and swapped ones

Cost: every round runs each mode, and the medians of a mode's time beside that of `none` in the same round are compared;
above 15% for `video` in a `real` row the exit code is 1 (by wall time on a GPU, by the process's CPU time without one,
where a machine that others use changes the wall time but hardly that). `short` rows show what shorter prompts cost.
AUC: every label (question and caption) is also moved whole to other clips, and the ROC AUC says how often a right one
scores above a moved one; below 0.95 the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.grounding_cost import MODES, Row, measure
from benchmarks.shapes import SHIPPED
from vidlabel.config import AnswerSettings, FrameSettings, SceneSettings
from vidlabel.data import Answer, AskedClip, Video
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.frames import sample_frames
from vidlabel.models.minigpt4_video.answers import ask
from vidlabel.models.minigpt4_video.grounding import mean_logprobs, prompts_without_video
from vidlabel.models.minigpt4_video.loading import load_model
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.prompt import prompt_budget, stop_ids
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer
from vidlabel.prompts import choose, load_pool
from vidlabel.scenes import find_clips
from vidlabel.train.shapes_video import write_video
from vidlabel.train.shapes_world import make_scene

MOST_COST, LEAST_AUC = 1.15, 0.95
_FIRST_SCENE = 500_000  # held-out scenes that nothing else here looks at
_MOVES = 3  # clips that each label is moved to


@dataclass(frozen=True, slots=True)
class Separation:
    """How well right labels are told from moved ones by each score."""

    num_right: int
    num_moved: int
    auc: dict[str, float]


def roc_auc(right: Sequence[float], wrong: Sequence[float]) -> float:
    """The share of pairs in which the right one scores higher; a tie counts half."""
    wins = sum((r > w) + (r == w) / 2 for r in right for w in wrong)
    return wins / (len(right) * len(wrong))


def film(folder: Path, count: int, frames: FrameSettings) -> list[AskedClip]:
    """Held-out clips as files, read back, each with an instruction of its own from the pool of captions."""
    asked = []
    for number in range(_FIRST_SCENE, _FIRST_SCENE + count):
        path = folder / f"{number}.mp4"
        write_video(path, [make_scene("held-out", number)])
        (clip,) = find_clips(Video(path.stem, path.name, str(path)), SceneSettings(split="none"))
        questions = choose(load_pool("caption"), clip_id=path.stem, seed=0, per_clip=1, language="en")
        asked.append(AskedClip(clip, sample_frames(clip, frames), tuple(questions)))
    return asked


class Reader:
    """Scores any label against any clip."""

    def __init__(self, model: MiniGPT4Video, tokenizer: PromptTokenizer, settings: AnswerSettings) -> None:
        self.model, self.tokenizer = model, tokenizer
        self._max_tokens = prompt_budget(model.config, model.max_positions, settings.max_new_tokens)
        self._stop = stop_ids(tokenizer, model.config)[0]
        self._encoded: dict[str, Tensor] = {}

    def given_video(self, clip: AskedClip, label: Answer) -> float:
        (one,), _ = ask(
            replace(clip, questions=(label.question,)), self.tokenizer, self.model.config, max_tokens=self._max_tokens
        )
        with torch.inference_mode():
            prefix = self.model.embed_prefix(one.prompt.prefix, self._images(clip))
            return self._mean(torch.cat([prefix, self.model.embed_ids(one.prompt.suffix)]), label)

    def given_nothing(self, clip: AskedClip, label: Answer) -> float:
        (one,), _ = ask(
            replace(clip, questions=(label.question,)), self.tokenizer, self.model.config, max_tokens=self._max_tokens
        )
        (bare,) = prompts_without_video(self.tokenizer, self.model.config, [one.prompt.suffix])
        return self._mean(self.model.embed_ids(bare), label)

    def _images(self, clip: AskedClip) -> Tensor:
        """Each clip's frames are encoded once."""
        if clip.clip.clip_id not in self._encoded:
            encoded = self.model.encode_images(self.model.preprocess(clip.frames.images))
            self._encoded[clip.clip.clip_id] = encoded
        return self._encoded[clip.clip.clip_id]

    def _mean(self, prompt: Tensor, label: Answer) -> float:
        return mean_logprobs(self.model, [prompt], [(*self.tokenizer.encode(label.text), self._stop)])[0]


def separation(weights: Path, scratch: Path, count: int) -> Separation:
    """Labels as the engine makes them, scored where they belong and where they do not."""
    model, tokenizer = load_model(weights)
    settings = AnswerSettings(str(weights), "", "caption", "", grounding="video")
    clips = film(scratch, count, FrameSettings(model.config.num_frames, model.config.vision.image_size))
    answers = {answer.clip_id: answer for answer in EngineCaptioner(model, tokenizer, settings).answer(clips)}
    labels = [answers[clip.clip.clip_id] for clip in clips]
    reader = Reader(model, tokenizer, settings)
    right: dict[str, list[float]] = {"mean_logprob": [], "video": [], "strict": []}
    moved: dict[str, list[float]] = {name: [] for name in right}
    for number, label in enumerate(labels):
        without = reader.given_nothing(clips[number], label)
        spots = [clips[(number + step) % count] for step in range(_MOVES + 2)]
        given = [reader.given_video(clip, label) for clip in spots]
        assert label.mean_logprob is not None
        assert label.grounding is not None
        assert abs(given[0] - label.mean_logprob) < 1e-3, "the text is not what was said"
        assert abs(given[0] - without - label.grounding) < 1e-3, "the engine scores otherwise"
        for at, score in enumerate(given[:-1]):  # the clip after each is its other one
            if at and labels[(number + at) % count].text == label.text:
                continue  # two clips of one content: the label is right there too
            group = right if at == 0 else moved
            group["mean_logprob"].append(score)
            group["video"].append(score - without)
            group["strict"].append(score - max(without, given[at + 1]))
    auc = {name: roc_auc(right[name], moved[name]) for name in right}
    return Separation(len(right["video"]), len(moved["video"]), auc)


def parse(args: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--auc", type=int, metavar="CLIPS", help="measure the AUC instead of the cost")
    parser.add_argument("--weights", type=Path, default=SHIPPED, help="of a `shapes` model")
    parser.add_argument("--size", choices=["tiny", "small", "7b"], default="small")
    parser.add_argument("--model", choices=["llama2", "mistral"], default="llama2")
    parser.add_argument(
        "--rows",
        type=lambda text: [Row.of(part) for part in text.split(",")],
        default="short:1,short:8,real:8",
        help="short:K for K questions about 860 positions, real:K about 3,020 as in released models (%(default)s)",
    )
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, help="a clip; default: as the model was trained")
    parser.add_argument("--slots", type=int)
    parser.add_argument("--new-tokens", type=int, default=64, help="of each answer in short rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--modes", default=",".join(MODES), help="joined by commas, none among them")
    parser.add_argument("--device", default="cuda" if on_gpu else "cpu")
    parser.add_argument("--dtype", default="float16" if on_gpu else "float32")
    options = parser.parse_args(args)
    options.modes = options.modes.split(",")
    if set(options.modes) - set(MODES) or "none" not in options.modes:
        parser.error("--modes: none, and video, strict or both")
    return options


def main(args: Sequence[str] | None = None) -> int:
    options = parse(args)
    if options.auc:
        with tempfile.TemporaryDirectory() as scratch:
            found = separation(options.weights, Path(scratch), options.auc)
        print(f"{found.num_right} labels where they belong, {found.num_moved} moved to other clips; ROC AUC:")
        for name, auc in found.auc.items():
            print(f"{name:14}{auc:7.4f}")
        return 0 if found.auc["video"] >= LEAST_AUC else 1
    costs = {row: measure(options, row).get("video") for row in options.rows}
    on_gpu = options.device.startswith("cuda")
    judged = [cost for row, cost in costs.items() if row.prompts == "real" and cost is not None]
    return int(any((cost.wall if on_gpu else cost.cpu) > MOST_COST for cost in judged))


if __name__ == "__main__":
    sys.exit(main())
