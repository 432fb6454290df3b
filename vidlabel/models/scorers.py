"""The models that `vidlabel score` can ask about clips: where their files are, and whether they are as they should be.
Needs no torch, and fetches nothing. A folder of them, as `vidlabel models pull` leaves it:

    clip/                              a CLIP, as its repository has it
    sac+logos+ava1-l14-linearMSE.pth   the aesthetic predictor, which reads its embeddings
    nsfw/                              a classifier of pictures, likewise
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidlabel.data import stable_id
from vidlabel.errors import InputError
from vidlabel.models.fetching import sha256_of
from vidlabel.models.minigpt4_video.fingerprint import fingerprint
from vidlabel.models.presets import AESTHETIC_HEAD, CLIP_FOLDER, NSFW_FOLDER, PRESETS, folder_of, is_present

COLUMNS = {"aesthetic": "aesthetic", "nsfw": "nsfw", "clip": "clip_score"}  # model -> what it adds
UNSAFE = "nsfw"  # what a classifier has to call its class


@dataclass(frozen=True, slots=True)
class ScoreModels:
    """What a pass needs to know of its models before they are loaded."""

    names: tuple[str, ...]
    fingerprint: str  # of all their weights
    clip: Path | None = None
    head: Path | None = None
    nsfw: Path | None = None

    @property
    def columns(self) -> list[str]:
        return [COLUMNS[name] for name in self.names]


def resolve_scorers(text: str, folder: Path | None = None) -> ScoreModels:
    """The models of `--model`, if their files are all here; else one line that says how to get them."""
    asked = [name.strip() for name in text.split(",")]
    for name in asked:
        if name not in COLUMNS:
            raise InputError(f"--model {text}: {name or 'nothing'} is none of {', '.join(COLUMNS)}")
    names = tuple(name for name in COLUMNS if name in asked)
    clip = head = nsfw = None
    if "nsfw" in names:
        nsfw = _checked_classifier(_part(folder, "nsfw", NSFW_FOLDER))
    if "aesthetic" in names:
        head = (folder or _pulled("aesthetic")) / AESTHETIC_HEAD
        if not head.is_file():
            raise InputError(f"{head} is missing; `vidlabel models pull aesthetic` fetches it")
    if "aesthetic" in names or "clip" in names:
        lent = not is_present(PRESETS["clip"]) and is_present(PRESETS["aesthetic"])  # the same weights come with both
        owner = "aesthetic" if head is not None or lent else "clip"
        clip = _checked_clip(_part(folder, owner, CLIP_FOLDER), with_texts="clip" in names)
    weights = [fingerprint(part) for part in (clip, nsfw) if part is not None]
    return ScoreModels(names, stable_id(*names, *weights, *([sha256_of(head)] if head else [])), clip, head, nsfw)


def read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: not a JSON object")
    return values


def unsafe_class(config: dict[str, Any], where: Path) -> int:
    """The number of the class that is asked for."""
    labels = config.get("id2label") or {}
    found = [int(number) for number, label in labels.items() if str(label).lower() == UNSAFE]
    if len(found) != 1:
        names = ", ".join(map(str, labels.values())) or "nothing"
        raise InputError(f"{where}: its classes are {names}; one has to be called {UNSAFE}")
    return found[0]


def _pulled(name: str) -> Path:
    preset = PRESETS[name]
    if not is_present(preset):
        raise InputError(
            f"the weights of {name} are not in {folder_of(preset)}; `vidlabel models pull {name}` fetches them "
            f"(about {preset.gigabytes:.1f} GB)"
        )
    return folder_of(preset)


def _part(folder: Path | None, name: str, part: str) -> Path:
    """Where one repository lies: in the folder of that name, or the user's folder is the repository itself."""
    if folder is None:
        return _pulled(name) / part
    if not folder.is_dir():
        raise InputError(f"--model-folder {folder}: no such folder")
    return (folder / part if (folder / part).is_dir() else folder).resolve()


def _checked_clip(folder: Path, *, with_texts: bool) -> Path:
    config = read_json(folder / "config.json")
    if config.get("model_type") != "clip":
        raise InputError(f"{folder}: a model of type {config.get('model_type')}, not clip")
    _require(folder, "preprocessor_config.json", "*.safetensors", *(("tokenizer*.json",) if with_texts else ()))
    return folder


def _checked_classifier(folder: Path) -> Path:
    config = read_json(folder / "config.json")
    kinds = config.get("architectures") or ["no architecture"]
    if not str(kinds[0]).endswith("ForImageClassification"):
        raise InputError(f"{folder}: {kinds[0]} is no classifier of pictures (...ForImageClassification)")
    unsafe_class(config, folder / "config.json")
    _require(folder, "preprocessor_config.json", "*.safetensors")
    return folder


def _require(folder: Path, *patterns: str) -> None:
    for needed in patterns:
        if not any(folder.glob(needed)):
            raise InputError(f"{folder} has no {needed}; a whole copy of the repository is needed")
