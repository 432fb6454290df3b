"""What is said in a video: its sound from beginning to end, once, in memory that does not grow with its length."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from vidlabel.cores import available_cores
from vidlabel.data import Cue
from vidlabel.decoders.sound import sound_blocks
from vidlabel.speech.activity import Stretch, speech_stretches
from vidlabel.speech.made_up import believable, without_loops
from vidlabel.speech.whisper import Whisper, language_tag, load_whisper


@dataclass(frozen=True, slots=True)
class Speech:
    """The cues of a whole video; empty where nobody speaks."""

    cues: tuple[Cue, ...] = ()
    language: str | None = None  # BCP-47, of the whole video; None where nobody speaks


def transcribe(location: str, whisper: Whisper) -> Speech:
    """The speech of a file. VideoError where it cannot be read; a file without sound has none."""
    cues: list[Cue] = []
    language: str | None = None
    for batch in _batches(speech_stretches(sound_blocks(location)), whisper.batch_size):
        heard = whisper.hear(batch)
        if language is None:  # from the first stretches, up to some minutes of speech
            language = _language(batch, whisper.language_weights(heard))
        for stretch, transcript in zip(batch, whisper.transcribe(heard, language), strict=True):
            for segment in believable(stretch, transcript):
                start = stretch.start_seconds + segment.start_seconds
                assert segment.end_seconds is not None
                cues.append(Cue(start, stretch.start_seconds + segment.end_seconds, segment.text))
    kept = without_loops(cues)
    return Speech(tuple(kept), language_tag(language) if kept and language is not None else None)


def choose_device(device: str) -> str:
    """What `auto` means here."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@lru_cache(maxsize=1)  # a worker loads it once and keeps it
def loaded(folder: str, device: str) -> Whisper:
    import torch

    device = choose_device(device)
    if device == "cpu":  # a worker has one thread; this one is alone, and the decode workers rest while they are ahead
        torch.set_num_threads(max(1, available_cores() // 2))
    whisper = load_whisper(Path(folder), device)
    if device == "cuda":
        whisper.warm_up()
    return whisper


def _language(stretches: Sequence[Stretch], weights: Sequence[dict[str, float]]) -> str:
    """The language that most of the speech is likely to be in."""
    total: defaultdict[str, float] = defaultdict(float)
    for stretch, shares in zip(stretches, weights, strict=True):
        seconds = stretch.speech_seconds(0.0, stretch.seconds)
        for language, share in shares.items():
            total[language] += seconds * share
    return max(sorted(total), key=lambda language: total[language])


def _batches(stretches: Iterable[Stretch], size: int) -> Iterator[list[Stretch]]:
    remaining = iter(stretches)
    while batch := list(islice(remaining, size)):
        yield batch
