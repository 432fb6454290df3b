"""Which language models the engine can run: those whose stock modules call our attention function as it expects."""

from __future__ import annotations

from typing import Any

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.model import MiniGPT4Video

MODEL_TYPES = ("llama", "mistral", "qwen2")
# the others look at how long the longest sequence of a pass is, so that neighbours would change an answer
_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
_INSTEAD = "use --engine generate"


def check_supported(model: MiniGPT4Video) -> None:
    """InputError for a language model that would answer wrongly."""
    config = model.llama_model.config
    if config.model_type not in MODEL_TYPES:
        raise InputError(
            f"the slots engine runs language models of type {', '.join(MODEL_TYPES)}, "
            f"and this one is {config.model_type!r}: {_INSTEAD}"
        )
    window, positions = _sliding_window(config), min(model.config.context_window, model.max_positions)
    if window is not None and window < positions:
        raise InputError(
            f"this language model sees only {window} positions back (sliding_window), "
            f"fewer than the {positions} that prompt and answer may take: {_INSTEAD}"
        )
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    rope_type = rope.get("rope_type", "default")
    if rope_type not in _ROPE_TYPES:
        raise InputError(f"the slots engine has no rotary positions of type {rope_type!r}: {_INSTEAD}")


def _sliding_window(config: Any) -> int | None:
    """None where every layer sees everything."""
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and "sliding_attention" not in kinds:
        return None
    if config.model_type == "qwen2" and not getattr(config, "use_sliding_window", False):
        return None
    window = getattr(config, "sliding_window", None)
    return None if window is None else int(window)
