"""Sound for tests: synthetic speech (espeak-ng made `data/speech/speech.mp4`), silence, noise and music, and a tiny
Whisper that says what it is told to, whatever it hears.

`python -m tests.make_speech` writes the checked-in video again.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from tests.make_videos import noise_scene, write_video
from vidlabel.decoders.sound import SAMPLE_RATE, sound_blocks

Sound = npt.NDArray[np.float32]  # (N,) at 16 kHz

SPEECH = Path(__file__).parent / "data" / "speech" / "speech.mp4"
FIRST, SECOND = (1.0, 3.65), (7.0, 9.75)  # seconds in which it speaks
SENTENCES = ("The red ball rolls slowly across the floor.", "Then the door opens and a woman walks in.")


def silence(seconds: float) -> Sound:
    return np.zeros(round(seconds * SAMPLE_RATE), np.float32)


def noise(seconds: float) -> Sound:
    return np.random.default_rng(0).normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32)


def music(seconds: float) -> Sound:
    """A plucked tune over a chord."""
    at = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch = np.array([262, 330, 392, 523, 440, 349, 294, 392])[(at * 2).astype(int) % 8]
    fading = np.exp(-(at % 0.5) * 4)
    tune = 0.25 * fading * (np.sin(2 * np.pi * pitch * at) + 0.5 * np.sin(4 * np.pi * pitch * at))
    chord = sum(0.04 * np.sin(2 * np.pi * hertz * at) for hertz in (131, 165, 196))
    return np.asarray(tune + chord, np.float32)


def sound_of(path: Path) -> Sound:
    return np.concatenate([block.samples for block in sound_blocks(str(path))])


def spoken(text: str) -> Sound:
    """By espeak-ng, which has to be there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        subprocess.run(["espeak-ng", "-v", "en-us", "-s", "150", "-w", str(path), text], check=True)
        return sound_of(path)


def add_sound(video: Path, out: Path, sound: Sound, *, codec: str = "aac", start_seconds: float = 0.0) -> Path:
    """`video` with this sound, its pictures as they are."""
    with av.open(str(video)) as source, av.open(str(out), "w") as target:
        pictures = target.add_stream_from_template(source.streams.video[0])
        audio = target.add_stream(codec, rate=SAMPLE_RATE)
        audio.layout = "mono"
        audio.bit_rate = 32_000
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                target.mux(packet)
        first = round(start_seconds * SAMPLE_RATE)
        for start in range(0, len(sound), 1024):
            frame = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, first + start, Fraction(1, SAMPLE_RATE)
            target.mux(audio.encode(frame))
        target.mux(audio.encode())
    return out


def video_with(out: Path, sound: Sound, *, seconds: float = 4.0, start_seconds: float = 0.0) -> Path:
    """Two scenes of half of `seconds` each."""
    count = round(seconds * 25 / 2)
    scenes = [noise_scene(count, colour, width=64, height=48, seed=3) for colour in ((200, 60, 40), (30, 80, 210))]
    silent = write_video(out.with_name(f"silent-{out.name}"), scenes[0] + scenes[1], b_frames=0)
    made = add_sound(silent, out, sound, start_seconds=start_seconds)
    silent.unlink()
    return made


# ---- a tiny Whisper

_NAMES = ("<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")
_SIZE = 96
NUM_TIMESTAMPS = 1501  # as in the real one, though not in this tokenizer: nobody asks it for them


def tiny_whisper(folder: Path, script: str, *, language: str = "en", no_speech: bool = False) -> Path:
    """A whole Whisper folder of random weights, with the decoder's positions set so that its likeliest tokens are
    `script`: text and timestamps, as `"<|0.20|> A ball<|1.00|><|1.40|> A dog<|2.00|>"`."""
    import torch
    from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    tokenizer = _tokenizer()
    token = tokenizer.convert_tokens_to_ids
    begin, end = token("<|startoftranscript|>"), token("<|endoftext|>")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        f"{part}_{name}": value
        for part in ("encoder", "decoder")
        for name, value in (("layers", 1), ("attention_heads", 2), ("ffn_dim", 32))
    }
    config = WhisperConfig(
        vocab_size=len(tokenizer) + NUM_TIMESTAMPS,
        d_model=_SIZE,
        max_target_positions=448,
        decoder_start_token_id=begin,
        bos_token_id=end,
        eos_token_id=end,
        pad_token_id=end,
        suppress_tokens=None,
        begin_suppress_tokens=None,
        **sizes,
    )
    model = WhisperForConditionalGeneration(config)
    model.generation_config = GenerationConfig(
        eos_token_id=end, bos_token_id=end, pad_token_id=end, decoder_start_token_id=begin, is_multilingual=True
    )
    said = [token(f"<|{language}|>"), 0, *_tokens_of(script, tokenizer), end]
    with torch.no_grad():
        words = model.model.decoder.embed_tokens.weight
        words.copy_(torch.randn(words.shape))
        places = model.model.decoder.embed_positions.weight
        places.zero_()
        places[: len(said)] = 20 * words[said]
        if no_speech:
            places[0] = 20 * words[token("<|nospeech|>")] + 19 * words[said[0]]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)
    return folder


def _tokens_of(script: str, tokenizer: Any) -> list[int]:
    tokens: list[int] = []
    for text, seconds in re.findall(r"([^<]*)(?:<\|([\d.]+)\|>)?", script):
        tokens += tokenizer.encode(text, add_special_tokens=False) if text else []
        tokens += [len(tokenizer) + round(float(seconds) * 50)] if seconds else []
    return tokens


def _tokenizer() -> Any:
    """Bytes as tokens, and Whisper's special tokens in Whisper's order."""
    from transformers import WhisperTokenizer
    from transformers.convert_slow_tokenizer import bytes_to_unicode
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    letters = {letter: number for number, letter in enumerate(bytes_to_unicode().values())}
    tokenizer = WhisperTokenizer(vocab=letters, merges=[])
    special: Sequence[str] = [
        "<|endoftext|>", "<|startoftranscript|>", *(f"<|{code}|>" for code in LANGUAGES), *_NAMES
    ]  # fmt: skip
    tokenizer.add_tokens(list(special), special_tokens=True)
    return tokenizer


if __name__ == "__main__":
    pieces = [silence(FIRST[0]), spoken(SENTENCES[0])]
    pieces.append(silence(SECOND[0] - sum(map(len, pieces)) / SAMPLE_RATE))
    pieces.append(spoken(SENTENCES[1]))
    pieces.append(silence(12.0 - sum(map(len, pieces)) / SAMPLE_RATE))
    SPEECH.parent.mkdir(parents=True, exist_ok=True)
    video_with(SPEECH, np.concatenate(pieces), seconds=12.0)
