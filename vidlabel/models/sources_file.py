"""`sources.json`: what makes a folder with a checkpoint, and the other original files wherever they lie, a model."""

from __future__ import annotations

import json
from pathlib import Path

from vidlabel.models.minigpt4_video.config import ModelConfig
from vidlabel.models.presets import SOURCES, SOURCES_FORMAT

VISION, LANGUAGE_MODEL, CHECKPOINT = "eva_vit_g.pth", "language_model", "video_checkpoint.pth"


def write_sources(
    folder: Path,
    config: ModelConfig,
    *,
    vision: Path | None = None,
    language_model: Path | None = None,
    max_new_tokens: int | None = None,
) -> None:
    """The checkpoint is in `folder`; so are the others unless they are named."""
    values = {
        "format": SOURCES_FORMAT,
        "format_version": 1,
        "vision": VISION if vision is None else str(vision.resolve()),
        "language_model": LANGUAGE_MODEL if language_model is None else str(language_model.resolve()),
        "checkpoint": CHECKPOINT,
        "num_frames": config.num_frames,
        "image_size": config.vision.image_size,
        "max_new_tokens": max_new_tokens or max(1, config.context_window // 8),
        "config": json.loads(config.to_json()),
    }
    (folder / SOURCES).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
