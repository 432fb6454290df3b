"""Tiny models of the kinds that `vidlabel score` loads, with the real layouts and names: random weights, seeded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidlabel.models.presets import AESTHETIC_HEAD, CLIP_FOLDER, NSFW_FOLDER, PRESETS, SOURCES, sources_text

WIDTH = 8  # of the embeddings
SIDE = 32
_SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}


def tiny_clip(folder: Path) -> Path:
    """A whole CLIP repository; its preparation is written as OpenAI's is."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    start, end = len(words) - 2, len(words) - 1
    text = _SMALL | {"vocab_size": len(words), "max_position_embeddings": 24, "bos_token_id": start,
                     "eos_token_id": end, "pad_token_id": end}  # fmt: skip
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config=text, vision_config=_SMALL | {"image_size": SIDE, "patch_size": 8}, projection_dim=WIDTH
    )
    CLIPModel(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    special: dict[str, Any] = {"bos_token": words[start], "eos_token": words[end]}
    special |= {"unk_token": words[end], "pad_token": words[end], "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special))
    _write_preparation(folder, crop_size=SIDE, do_center_crop=True, resample=3, size=SIDE,
                       image_mean=[0.48, 0.46, 0.41], image_std=[0.27, 0.26, 0.28])  # fmt: skip
    return folder


def tiny_head(path: Path, *, width: int = WIDTH) -> Path:
    """The aesthetic predictor's five layers, by their names."""
    import torch

    torch.manual_seed(1)
    sizes = [width, 12, 10, 6, 4, 1]
    state = {}
    for number, before, after in zip((0, 2, 4, 6, 7), sizes, sizes[1:], strict=False):
        state |= {f"layers.{number}.weight": torch.randn(after, before), f"layers.{number}.bias": torch.randn(after)}
    torch.save(state, path)
    return path


def tiny_nsfw(folder: Path, labels: tuple[str, ...] = ("normal", "nsfw")) -> Path:
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(2)
    names = dict(enumerate(labels))
    config = ViTConfig(
        **_SMALL, image_size=SIDE, patch_size=8, id2label=names, label2id={name: at for at, name in names.items()}
    )
    model = ViTForImageClassification(config)
    with torch.no_grad():
        model.classifier.weight.mul_(30)  # or every picture is as likely as not
    model.save_pretrained(folder)
    _write_preparation(folder, resample=2, size={"height": SIDE, "width": SIDE}, do_rescale=True,
                       rescale_factor=1 / 255, image_mean=[0.5] * 3, image_std=[0.5] * 3)  # fmt: skip
    return folder


def pulled(home: Path) -> Path:
    """A VIDLABEL_HOME as the three commands `models pull` leave it."""
    for name in ("clip", "aesthetic", "nsfw"):
        folder = home / "models" / name
        folder.mkdir(parents=True)
        if name == "nsfw":
            tiny_nsfw(folder / NSFW_FOLDER)
        else:
            tiny_clip(folder / CLIP_FOLDER)
        if name == "aesthetic":
            tiny_head(folder / AESTHETIC_HEAD)
        (folder / SOURCES).write_text(sources_text(PRESETS[name]))
    return home


def _write_preparation(folder: Path, **values: object) -> None:
    text = json.dumps({"do_normalize": True, "do_resize": True, **values})
    (folder / "preprocessor_config.json").write_text(text)
