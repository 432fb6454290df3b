"""The networks that score clips: CLIP, the aesthetic predictor that reads its embeddings, and a classifier of pictures.
Loaded from folders of this disk, every weight accounted for: one that is missing would be a random number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidlabel.errors import InputError
from vidlabel.models.scorers import ScoreModels, read_json, unsafe_class
from vidlabel.scores.pictures import PictureForm, read_form

if TYPE_CHECKING:
    import torch

    from vidlabel.scores.pictures import Pictures

# of the released predictor; the numbers between are dropout's, which does nothing here
HEAD_LAYERS = (0, 2, 4, 6, 7)
PICTURES_AT_ONCE = 64
TEXTS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Scores:
    """Of one clip; what was not asked for is None. `clip`: of each of its texts."""

    aesthetic: float | None = None
    nsfw: float | None = None
    clip: tuple[float, ...] = ()


class Networks:
    """All that were asked for, on one device."""

    def __init__(self, models: ScoreModels, device: str, dtype: str) -> None:
        self._device = device
        self._reads_texts = "clip" in models.names
        self.forms: tuple[PictureForm, ...] = ()  # of the pictures that it takes, in this order
        self._clip: Any = None
        self._head: list[tuple[torch.Tensor, torch.Tensor]] | None = None
        self._nsfw: Any = None
        if models.clip is not None:
            self._clip = _load("CLIPModel", models.clip, device, dtype)
            self.forms += (read_form(models.clip),)
            if self._reads_texts:
                self._tokenizer = _load_tokenizer(models.clip)
        if models.head is not None:
            self._head = load_head(models.head, self._clip.config.projection_dim, device)
        if models.nsfw is not None:
            self._nsfw = _load("AutoModelForImageClassification", models.nsfw, device, dtype)
            self._unsafe = unsafe_class(read_json(models.nsfw / "config.json"), models.nsfw / "config.json")
            self.forms += (read_form(models.nsfw),)

    def score(self, clips: Sequence[Sequence[Pictures]], texts: Sequence[Sequence[str]]) -> list[Scores]:
        """`clips`: pictures in each of `forms`, of as many frames each; `texts`: what is said of each clip."""
        import torch

        aesthetic: list[float | None] = [None] * len(clips)
        nsfw: list[float | None] = [None] * len(clips)
        likeness: list[tuple[float, ...]] = [()] * len(clips)
        with torch.inference_mode():
            if self._clip is not None:
                seen = self._of_frames([pictures[0] for pictures in clips], self.forms[0], self._look)  # (B, T, D)
                if self._head is not None:
                    aesthetic = list(_through(seen, self._head).squeeze(-1).mean(dim=1).tolist())
                if self._reads_texts:
                    likeness = self._likeness(seen.mean(dim=1), texts)
            if self._nsfw is not None:
                judged = self._of_frames([pictures[-1] for pictures in clips], self.forms[-1], self._judge)
                nsfw = list(judged.amax(dim=1).tolist())  # one such frame is enough
        return [Scores(*of_clip) for of_clip in zip(aesthetic, nsfw, likeness, strict=True)]

    def _of_frames(
        self, clips: Sequence[Pictures], form: PictureForm, look: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """(B, T, ...): what `look` says of every frame."""
        import numpy as np
        import torch

        pictures = torch.from_numpy(np.concatenate(clips)).permute(0, 3, 1, 2)  # (B * T, 3, H, W)
        mean, std = (torch.tensor(of, device=self._device).view(1, 3, 1, 1) for of in (form.mean, form.std))
        some = torch.split(pictures, PICTURES_AT_ONCE)
        found = torch.cat([look((part.to(self._device).float() * form.scale - mean) / std) for part in some])
        return found.reshape(len(clips), -1, *found.shape[1:])

    def _look(self, pixels: torch.Tensor) -> torch.Tensor:
        clip = self._clip
        seen = clip.vision_model(pixel_values=pixels.to(clip.dtype)).pooler_output
        return _unit(clip.visual_projection(seen))

    def _judge(self, pixels: torch.Tensor) -> torch.Tensor:
        logits = self._nsfw(pixel_values=pixels.to(self._nsfw.dtype)).logits.float()
        unsafe: torch.Tensor = logits.softmax(dim=-1)[:, self._unsafe]
        return unsafe

    def _likeness(self, seen: torch.Tensor, texts: Sequence[Sequence[str]]) -> list[tuple[float, ...]]:
        """The mean of unit vectors, times a unit vector, is the mean cosine."""
        distinct = list(dict.fromkeys(text for of_clip in texts for text in of_clip))
        said: dict[str, torch.Tensor] = {}
        for at in range(0, len(distinct), TEXTS_AT_ONCE):
            some = distinct[at : at + TEXTS_AT_ONCE]
            said |= dict(zip(some, self._read(some), strict=True))
        return [
            tuple(float(vector @ said[text]) for text in of_clip) for vector, of_clip in zip(seen, texts, strict=True)
        ]

    def _read(self, texts: list[str]) -> torch.Tensor:
        limit = self._clip.config.text_config.max_position_embeddings  # what is longer is cut off
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        asked = {name: tokens[name].to(self._device) for name in ("input_ids", "attention_mask")}
        return _unit(self._clip.text_projection(self._clip.text_model(**asked).pooler_output))


def load_head(path: Path, width: int, device: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Weights and biases of the predictor's linear layers, from an embedding of that width to one number."""
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = {key: state[key].float() for key in state}
    except Exception as error:  # bytes that are no weights make torch's reader fall over in any way
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path}: not a file of weights that torch can load ({reason})") from error
    expected = {f"layers.{number}.{kind}" for number in HEAD_LAYERS for kind in ("weight", "bias")}
    if set(found) != expected:
        keys = ", ".join(sorted(set(found) ^ expected)[:4])
        raise InputError(f"{path}: not the aesthetic predictor: its weights differ from it in {keys}")
    layers = [(found[f"layers.{number}.weight"], found[f"layers.{number}.bias"]) for number in HEAD_LAYERS]
    for number, (weight, bias) in zip(HEAD_LAYERS, layers, strict=True):
        if weight.ndim != 2 or weight.shape[1] != width or bias.shape != weight.shape[:1]:
            shape = tuple(weight.shape)
            raise InputError(f"{path}: layers.{number} is {shape} where {width} numbers come in; is it for this CLIP?")
        width = weight.shape[0]
    if width != 1:
        raise InputError(f"{path}: gives {width} numbers instead of one")
    return [(weight.to(device), bias.to(device)) for weight, bias in layers]


def _through(vectors: torch.Tensor, layers: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    import torch

    for weight, bias in layers:
        vectors = torch.nn.functional.linear(vectors, weight, bias)
    return vectors


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.nn.functional.normalize(vectors.float(), dim=-1)


def _load(kind: str, folder: Path, device: str, dtype: str) -> Any:
    import torch
    import transformers
    from safetensors import SafetensorError

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model, loaded = getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, dtype=getattr(torch, dtype), output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = re.sub(r"\s+", " ", str(error))[:300]
        raise InputError(f"{folder} holds no model that can be loaded: {reason}") from error
    missing = sorted(loaded["missing_keys"]) + [str(key) for key in loaded.get("mismatched_keys", ())]
    if missing:
        raise InputError(f"{folder}: its files lack {len(missing)} of the model's weights, {missing[0]} for one")
    return model.to(device).eval()


def _load_tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{folder}: its tokenizer cannot be loaded: {reason}") from error
