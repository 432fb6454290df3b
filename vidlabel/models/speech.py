"""The Whisper models that `--whisper` can name: a preset, a folder, or a hub repository that is in the hub's own cache.
Needs no torch, and fetches nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.fingerprint import fingerprint
from vidlabel.models.presets import PRESETS, SPEECH_FOLDER, folder_of, is_present

DEFAULT = "whisper"


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """What a run needs to know of a Whisper model before it is loaded."""

    name: str  # of the preset or hub repository, or the folder's absolute path
    folder: Path
    fingerprint: str  # of the weights

    @property
    def megabytes(self) -> int:
        """Of its weights, as stored."""
        return sum(path.stat().st_size for path in self.folder.glob("*.safetensors")) >> 20


def resolve_speech(name: str) -> SpeechModel:
    """The model, if its files are all here; else one line that says how to get them."""
    preset = PRESETS.get(name)
    if preset is not None:
        if preset.task != "speech":
            raise InputError(f"--whisper {name}: a model of pictures; those of speech are {', '.join(_names())}")
        if not is_present(preset):
            raise InputError(
                f"the weights of {name} are not in {folder_of(preset)}; `vidlabel models pull {name}` fetches them "
                f"(about {preset.gigabytes:.1f} GB)"
            )
        return _spec(name, folder_of(preset) / SPEECH_FOLDER)
    folder = Path(name)
    if folder.is_dir():
        return _spec(str(folder.resolve()), folder.resolve())
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _spec(name, _in_hub_cache(name))
    raise InputError(f"--whisper {name}: neither a folder, nor a hub repository, nor one of {', '.join(_names())}")


def _spec(name: str, folder: Path) -> SpeechModel:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        is_whisper = config["model_type"] == "whisper"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"--whisper {name}: {folder / 'config.json'} cannot be read ({error!r})") from error
    if not is_whisper:
        raise InputError(f"--whisper {name}: a model of type {config['model_type']}, not whisper")
    for needed in ("preprocessor_config.json", "tokenizer*.json", "*.safetensors"):
        if not any(folder.glob(needed)):
            raise InputError(f"--whisper {name}: {folder} has no {needed}; a whole copy of the repository is needed")
    return SpeechModel(name, folder, fingerprint(folder))


def _in_hub_cache(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise InputError(
            f"--whisper {name}: neither a folder nor in the hub's cache; `hf download {name}` fetches it, and "
            f"`vidlabel models pull {DEFAULT}` the default"
        ) from error


def _names() -> list[str]:
    return [preset.name for preset in PRESETS.values() if preset.task == "speech"]
