"""Which language models the engine can run: those whose stock modules call our attention function as it expects."""

from __future__ import annotations

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.families import lookback
from vidlabel.models.minigpt4_video.model import MiniGPT4Video

MODEL_TYPES = ("llama", "mistral", "qwen2", "qwen3")
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
    window, positions = lookback(config), min(model.config.context_window, model.max_positions)
    if window is not None and window < positions:
        raise InputError(
            f"this language model sees only {window} positions back (sliding_window), "
            f"fewer than the {positions} that prompt and answer may take: {_INSTEAD}"
        )
    rope = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    rope_type = rope.get("rope_type", "default")
    if rope_type not in _ROPE_TYPES:
        raise InputError(f"the slots engine has no rotary positions of type {rope_type!r}: {_INSTEAD}")
