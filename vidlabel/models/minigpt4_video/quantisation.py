"""A model whose language model has 8-bit or 4-bit weights, for small cards: transformers does it, with bitsandbytes.

Only our own folder will do: its LoRA is merged already, and in float32. Vision, projection and the language model's
output layer keep the run's type.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Literal

import torch

from vidlabel.models.minigpt4_video.config import read_config
from vidlabel.models.minigpt4_video.loading import LANGUAGE_MODEL, WEIGHTS, build_empty, float32_names, read_llm_config
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.tensors import check_tensors, read_safetensors, weight_files
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer, load_tokenizer

_LLM = "llama_model."
# Of a self-test, in units of the logits' spread. Measured on random weights: 0.03 in 8 bits, 0.3 in 4; weights that
# have nothing to do with the recorded ones differ by 3 and more
SELF_TEST_TOLERANCE = 2.0


def load_quantised(
    folder: Path, quantize: Literal["8bit", "4bit"], *, device: str | torch.device, dtype: torch.dtype
) -> tuple[MiniGPT4Video, PromptTokenizer]:
    """The model in one of our own folders, in eval mode, its language model quantised while it is read."""
    config = read_config(folder)
    llm_folder = folder / LANGUAGE_MODEL
    model = build_empty(config, read_llm_config(llm_folder))
    expected = {name: value.shape for name, value in model.state_dict().items() if not name.startswith(_LLM)}
    keep_float32 = float32_names(model)
    tensors = {
        name: tensor.to(device=device, dtype=torch.float32 if name in keep_float32 else dtype)
        for name, tensor in read_safetensors(folder / WEIGHTS).items()
    }
    check_tensors(tensors, expected, source=str(folder / WEIGHTS))
    generation_config = model.llama_model.generation_config  # an empty one: the run decides how to decode
    model.llama_model = None  # its empty parameters would only be in the way
    model.load_state_dict(tensors, strict=True, assign=True)
    model.llama_model = _language_model(llm_folder, quantize, device=device, dtype=dtype)
    model.llama_model.generation_config = generation_config
    return model.eval().requires_grad_(False), load_tokenizer(llm_folder)


def _language_model(
    folder: Path, quantize: Literal["8bit", "4bit"], *, device: str | torch.device, dtype: torch.dtype
) -> Any:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call] # it knows nothing of the run's log format
    # In 8 bits every single product would warn that it casts its input to float16, which the rounding to int8 dwarfs
    logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
    options: dict[str, Any] = (
        {"load_in_8bit": True}
        if quantize == "8bit"
        else {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": dtype}
    )
    how = BitsAndBytesConfig(**options)  # type: ignore[no-untyped-call]
    weight_files(folder)  # names what is missing in our own words
    return AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=how, dtype=dtype, device_map={"": device}, local_files_only=True
    )
