"""Whisper, as transformers has it, told to write down stretches of sound: greedy, a batch at a time, with timestamps.

Decoded here and not by `generate`, which goes on listening to the padding behind a short stretch and makes words of
it. The same weights and sound give the same words, whatever was transcribed before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vidlabel.decoders.sound import SAMPLE_RATE
from vidlabel.errors import InputError
from vidlabel.speech.activity import Stretch

if TYPE_CHECKING:
    import torch

# Whisper's own codes that BCP-47 writes otherwise
_TAGS = {"jw": "jv"}
TICK_SECONDS = 0.02  # of its timestamps


@dataclass(frozen=True, slots=True)
class Segment:
    """Something said, in seconds from the start of its stretch; `end_seconds` None: it has no end in time."""

    start_seconds: float
    end_seconds: float | None
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard in one stretch."""

    segments: tuple[Segment, ...]
    mean_logprob: float
    no_speech: float  # probability, as Whisper sees it
    finished: bool  # False: it was still writing when it had to stop, as it does when it goes round in circles


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """A batch of stretches in the encoder's form, and what the decoder makes of its first token."""

    encoded: Any
    first_logits: torch.Tensor  # (B, V)


class Whisper:
    """A loaded model."""

    def __init__(self, model: Any, features: Any, tokenizer: Any) -> None:
        self._model = model
        self._features = features
        self._tokenizer = tokenizer
        self._end = model.config.eos_token_id
        self._begin = model.config.decoder_start_token_id
        self._no_timestamps = self._id("<|notimestamps|>")
        self._no_speech = self._id("<|nospeech|>", "<|nocaptions|>")
        self._languages = self._find_languages()
        self._max_tokens = model.config.max_target_positions // 2 - 4

    @property
    def batch_size(self) -> int:
        return 16 if self._model.device.type == "cuda" else 4

    def hear(self, stretches: Sequence[Stretch]) -> _Heard:
        """The part that does not depend on the language."""
        import torch

        sounds = [stretch.samples for stretch in stretches]
        features = self._features(sounds, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_features
        with torch.inference_mode():
            encoded = self._model.get_encoder()(features.to(self._model.device, self._model.dtype))
            start = torch.full((len(stretches), 1), self._begin, device=self._model.device)
            logits = self._model(encoder_outputs=encoded, decoder_input_ids=start).logits[:, -1].float()
        return _Heard(encoded, logits)

    def warm_up(self) -> None:
        """Takes the memory that a full batch needs, before anyone else plans with it."""
        import numpy as np

        nothing = Stretch(0.0, np.zeros(SAMPLE_RATE, np.float32), np.zeros(31, np.bool_))
        self.hear([nothing] * self.batch_size)

    def language_weights(self, heard: _Heard) -> list[dict[str, float]]:
        """For each stretch the probability of every language; {"en": 1.0} for a model that knows English alone."""
        if not self._languages:
            return [{"en": 1.0}] * len(heard.first_logits)
        shares = heard.first_logits[:, list(self._languages.values())].softmax(-1).tolist()
        return [dict(zip(self._languages, row, strict=True)) for row in shares]

    def transcribe(self, heard: _Heard, language: str) -> list[Transcript]:
        """What is said in each stretch, taken to be in this language (a key of `language_weights`)."""
        import torch

        prompt = [self._begin]
        if self._languages:
            prompt += [self._languages[language], self._id("<|transcribe|>")]
        with torch.inference_mode():
            no_speech = heard.first_logits.softmax(-1)[:, self._no_speech].tolist()
            tokens, logprobs = self._decode(heard.encoded, prompt)
        return [
            self._transcript(row, logprob, share)
            for row, logprob, share in zip(tokens, logprobs, no_speech, strict=True)
        ]

    def _decode(self, encoded: Any, prompt: list[int]) -> tuple[list[list[int]], list[float]]:
        """Greedy: the tokens of each row, its end token with them, and their mean log-probability."""
        import torch

        processors = self._processors(len(prompt))
        num_rows = len(encoded.last_hidden_state)
        so_far = torch.tensor([prompt] * num_rows, device=self._model.device)
        sums = torch.zeros(num_rows, device=self._model.device)
        finished = torch.zeros(num_rows, dtype=torch.bool, device=self._model.device)
        new, cache = so_far, None
        for _ in range(self._max_tokens):
            output = self._model(encoder_outputs=encoded, decoder_input_ids=new, past_key_values=cache, use_cache=True)
            cache = output.past_key_values
            logprobs = processors(so_far, output.logits[:, -1].float()).log_softmax(-1)
            best, tokens = logprobs.max(-1)
            sums += torch.where(finished, 0.0, best)
            tokens = torch.where(finished, self._end, tokens)
            new = tokens[:, None]
            so_far = torch.cat([so_far, new], 1)
            finished |= tokens == self._end
            if finished.all():
                break
        rows = [_up_to(row, self._end) for row in so_far[:, len(prompt) :].tolist()]
        return rows, [total / len(row) for total, row in zip(sums.tolist(), rows, strict=True)]

    def _processors(self, num_prompt: int) -> Any:
        """Whisper's rules: which tokens it may never write, and that timestamps come in pairs and never go back."""
        from transformers import (
            LogitsProcessorList,
            SuppressTokensAtBeginLogitsProcessor,
            SuppressTokensLogitsProcessor,
            WhisperTimeStampLogitsProcessor,
        )

        config, device = self._model.generation_config, self._model.device
        config.no_timestamps_token_id = self._no_timestamps
        config.eos_token_id = self._end
        begun = getattr(config, "max_initial_timestamp_index", None)
        config.max_initial_timestamp_index = 50 if begun is None else begun
        never = {*(config.suppress_tokens or ()), self._begin, self._no_speech, *self._languages.values()}
        at_begin = [token for token in config.begin_suppress_tokens or () if token != self._end]
        return LogitsProcessorList(
            [
                SuppressTokensLogitsProcessor(sorted(never), device=device),
                SuppressTokensAtBeginLogitsProcessor(at_begin, num_prompt, device=device),
                WhisperTimeStampLogitsProcessor(config, begin_index=num_prompt),
            ]
        )

    def _transcript(self, tokens: list[int], mean_logprob: float, no_speech: float) -> Transcript:
        finished = bool(tokens) and tokens[-1] == self._end
        segments = []
        start, words = 0.0, list[int]()
        for token in tokens:
            if token <= self._no_timestamps:
                words.append(token)
                continue
            seconds = (token - self._no_timestamps - 1) * TICK_SECONDS
            segments += self._segment(start, seconds, words)
            start, words = seconds, []
        if finished:  # else it broke off in the middle of this one
            segments += self._segment(start, None, words)
        return Transcript(tuple(segments), mean_logprob, no_speech, finished)

    def _segment(self, start: float, end: float | None, words: list[int]) -> list[Segment]:
        text = " ".join(self._tokenizer.decode(words, skip_special_tokens=True).split()) if words else ""
        return [Segment(start, end, text)] if text else []

    def _id(self, *names: str) -> int:
        """Of a special token, under any of its names."""
        unknown = self._tokenizer.unk_token_id
        for name in names:
            found = self._tokenizer.convert_tokens_to_ids(name)
            if found is not None and found != unknown:
                return int(found)
        raise InputError(f"its tokenizer has no {names[0]}; is this a Whisper model?")

    def _find_languages(self) -> dict[str, int]:
        """Whisper's code of each language it was taught, and its token; {} for a model of English alone."""
        from transformers.models.whisper.tokenization_whisper import LANGUAGES

        if not getattr(self._model.generation_config, "is_multilingual", True):
            return {}
        ids = {code: self._tokenizer.convert_tokens_to_ids(f"<|{code}|>") for code in LANGUAGES}
        return {code: token for code, token in ids.items() if token not in (None, self._tokenizer.unk_token_id)}


def language_tag(code: str) -> str:
    """Whisper's code of a language as BCP-47."""
    return _TAGS.get(code, code)


def load_whisper(folder: Path, device: str) -> Whisper:
    """The model of a folder, on `cpu` in float32 or on `cuda` in float16. Nothing is fetched."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # this is a worker: the run has its own
    try:
        features = WhisperFeatureExtractor.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model: Any = WhisperForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, dtype=torch.float16 if device == "cuda" else torch.float32
        )
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{folder} holds no Whisper model that can be loaded: {reason}") from error
    return Whisper(model.to(device).eval(), features, tokenizer)


def _up_to(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def is_sure(transcript: Transcript) -> bool:
    """Whether Whisper itself believes that this was speech; its makers' own thresholds."""
    return math.isfinite(transcript.mean_logprob) and (transcript.mean_logprob > -1.0 or transcript.no_speech < 0.6)
