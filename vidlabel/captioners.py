"""From settings to a captioner that is ready to answer. Torch is loaded only for a model that needs it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from vidlabel.captioner import Captioner, EchoCaptioner
from vidlabel.config import AnswerSettings, Limits, Quantize
from vidlabel.errors import InputError
from vidlabel.models.presets import ModelSpec, read_sources, read_sources_config, resolve

if TYPE_CHECKING:
    from torch import Tensor

    from vidlabel.models.minigpt4_video.model import MiniGPT4Video
    from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer


def load_captioner(
    settings: AnswerSettings, limits: Limits, *, device: str | None = None, num_questions: int | None = None
) -> Captioner:
    """The model, loaded, and tested where its folder holds a known answer. `device` None: a GPU if there is one.

    `num_questions` is the most that any clip is asked (None: unknown): memory is kept for so many and no more.
    """
    spec = resolve(settings.model)
    if spec.fingerprint != settings.model_fingerprint:
        raise InputError(f"--model {settings.model}: its weights are not those that this run began with")
    if spec.folder is None:
        return EchoCaptioner(embeddings=limits.embeddings)
    import torch

    model, tokenizer = load_weights(spec, settings, device or ("cuda" if torch.cuda.is_available() else "cpu"))
    _check_self_test(spec, settings, model, tokenizer)
    if limits.compile_vision:
        for block in model.visual_encoder.blocks:  # they share their code, so it is compiled once
            block.compile(dynamic=True)
    writes = settings.propose > 0 or settings.rewrite != "none"
    base = _base_weights(spec, model) if writes else {}  # first: the engine takes what memory is left
    captioner: Captioner
    if limits.engine == "generate":
        from vidlabel.models.minigpt4_video.generate import GenerateCaptioner

        captioner = GenerateCaptioner(
            model, tokenizer, settings, batch_size=limits.batch_size, embeddings=limits.embeddings
        )
    else:
        from vidlabel.engine.captioner import EngineCaptioner

        captioner = EngineCaptioner(
            model,
            tokenizer,
            settings,
            num_slots=limits.num_slots,
            rows_per_slot=rows_per_slot(num_questions),
            keep_features=settings.propose > 0 or settings.retry_flagged > 0,  # then clips are asked again
            embeddings=limits.embeddings,
        )
    if not writes:
        return captioner
    from vidlabel.models.minigpt4_video.writing import WritingCaptioner

    return WritingCaptioner(captioner, model, tokenizer, base, max_new_tokens=settings.max_new_tokens)


def load_encoder(settings: AnswerSettings, *, device: str | None = None) -> Captioner:
    """The model's vision side, which says nothing and tells what clips look like."""
    spec = resolve(settings.model)
    if spec.folder is None:
        return EchoCaptioner(embeddings=True)
    import torch

    from vidlabel.engine.encoding import EncodingCaptioner
    from vidlabel.models.minigpt4_video.vision_side import load_vision, load_vision_sources

    place, dtype = device or ("cuda" if torch.cuda.is_available() else "cpu"), getattr(torch, settings.dtype)
    if spec.form == "own":
        return EncodingCaptioner(load_vision(spec.folder, device=place, dtype=dtype))
    sources, config = read_sources(spec.folder), read_sources_config(spec.folder)
    return EncodingCaptioner(load_vision_sources(sources, config, device=place, dtype=dtype))


def rows_per_slot(num_questions: int | None) -> int:
    """How many questions about one clip are asked at once; any more follow as rows become free."""
    from vidlabel.engine.captioner import ROWS_PER_SLOT

    return ROWS_PER_SLOT if num_questions is None else max(1, min(num_questions, ROWS_PER_SLOT))


def check_quantize(spec: ModelSpec, quantize: Quantize) -> None:
    """Whether these weights can be quantised here: found before any work starts."""
    if quantize == "none":
        return
    if spec.form == "echo":
        raise InputError(f"--quantize {quantize}: {spec.name} has no weights")
    if spec.form == "sources":
        raise InputError(
            f"--quantize {quantize}: {spec.folder} holds the original files, whose LoRA is not merged yet; "
            "run `vidlabel models convert` first and give the folder it writes as --model"
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise InputError(f"--quantize {quantize} needs bitsandbytes: pip install 'vidlabel[quantize]'")


def load_weights(spec: ModelSpec, settings: AnswerSettings, device: str) -> tuple[MiniGPT4Video, PromptTokenizer]:
    """The model as the settings want it, and its tokenizer."""
    import torch

    from vidlabel.models.minigpt4_video.loading import load_model, load_sources

    assert spec.folder is not None
    dtype: torch.dtype = getattr(torch, settings.dtype)
    check_quantize(spec, settings.quantize)
    if settings.quantize != "none":
        from vidlabel.models.minigpt4_video.quantisation import load_quantised

        return load_quantised(spec.folder, settings.quantize, device=device, dtype=dtype)
    if spec.form == "own":
        return load_model(spec.folder, device=device, dtype=dtype)
    return load_sources(read_sources(spec.folder), read_sources_config(spec.folder), device=device, dtype=dtype)


def _base_weights(spec: ModelSpec, model: MiniGPT4Video) -> dict[str, Tensor]:
    """What the language model's weights are without the adapter."""
    from vidlabel.models.minigpt4_video.adapter import base_weights, read_adapter
    from vidlabel.models.minigpt4_video.checkpoint import read_checkpoint

    assert spec.folder is not None
    if spec.form == "own":
        return base_weights(model, read_adapter(spec.folder))
    return base_weights(model, read_checkpoint(read_sources(spec.folder).checkpoint).lora)


def _check_self_test(
    spec: ModelSpec, settings: AnswerSettings, model: MiniGPT4Video, tokenizer: PromptTokenizer
) -> None:
    from vidlabel.models.minigpt4_video.quantisation import SELF_TEST_TOLERANCE
    from vidlabel.models.minigpt4_video.self_test import FILE, run_self_test

    assert spec.folder is not None
    if not (spec.folder / FILE).exists():
        return
    result = run_self_test(spec.folder, model, tokenizer)
    # rounded weights cannot give the recorded numbers, only numbers that are related to them
    passed = result.passed if settings.quantize == "none" else result.largest_difference <= SELF_TEST_TOLERANCE
    if not passed:
        raise InputError(f"{spec.folder}: the model does not answer as recorded ({'; '.join(result.problems)})")
