"""The models that have a name, and what a name or a folder stands for. Needs no torch.

`shapes` and `echo` are always there. `mistral` and `llama2` are the released MiniGPT4-video models, which
`vidlabel models pull` fetches to `$VIDLABEL_HOME/models`, or else to `~/.cache/vidlabel/models`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vidlabel.errors import InputError
from vidlabel.models.minigpt4_video.config import ModelConfig, read_config
from vidlabel.models.minigpt4_video.fingerprint import fingerprint
from vidlabel.models.preset import HubFiles, Preset, UrlFile

if TYPE_CHECKING:
    from vidlabel.models.minigpt4_video.loading import Sources

Form = Literal["echo", "own", "sources"]
SOURCES = "sources.json"
SPEECH_FOLDER = "whisper"  # in the folder of a model of speech
CLIP_FOLDER, NSFW_FOLDER = "clip", "nsfw"  # in those of models that score
AESTHETIC_HEAD = "sac+logos+ava1-l14-linearMSE.pth"
SOURCES_FORMAT = "vidlabel-sources"


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a run needs to know of a model before it is loaded."""

    name: str  # of the preset, or the folder's absolute path
    form: Form
    num_frames: int
    image_size: int
    max_new_tokens: int  # that fit beside the frames
    fingerprint: str  # of the weights
    folder: Path | None = None

    @property
    def needs_torch(self) -> bool:
        return self.form != "echo"


# Size and SHA-256 as published, alike, with two independent copies of this file
_VISION = UrlFile(
    "https://storage.googleapis.com/sfr-vision-language-research/LAVIS/models/BLIP2/eva_vit_g.pth",
    "eva_vit_g.pth",
    2_025_249_237,
    "99d2bb36c6b52c94fe6e2e12373afb27de57ae81378c3d8c53bf0e83b0f4275f",
)
_CHECKPOINTS = ("Vision-CAIR/MiniGPT4-Video", "0d8b6eb4ff1400a23ce185a43104cdfb8300f39c", "video_checkpoint.pth")
_CLIP = HubFiles("openai/clip-vit-large-patch14", "32bd64288804d66eefd0ccbe215aa642df71cc41", CLIP_FOLDER, 1.71)
# Commit, size and SHA-256 as several independent projects have them
_AESTHETIC = UrlFile(
    "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/"
    "6934dd81792f086e613a121dbce43082cb8be85e/sac%2Blogos%2Bava1-l14-linearMSE.pth",
    AESTHETIC_HEAD,
    3_714_759,
    "21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
)
# The language model first: if it is gated, that shows at once
PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            "mistral",
            "MiniGPT4-video on Mistral-7B-Instruct-v0.2 (Apache-2.0); the default",
            num_frames=90,
            files=(
                HubFiles(
                    "mistralai/Mistral-7B-Instruct-v0.2",
                    "63a8b081895390a26e140280378bc85ec8bce07a",
                    "language_model",
                    14.5,
                ),
                HubFiles(
                    *_CHECKPOINTS,
                    0.604,
                    path="checkpoints/video_mistral_checkpoint_last.pth",
                    sha256="29f0630d5b53b92dc9b0af7e4412b3303b7c36b5c2110f519b48922fe484bb1f",
                ),
                _VISION,
            ),
        ),
        Preset(
            "llama2",
            "MiniGPT4-video on Llama-2-7b-chat (Llama 2 Community License, to be accepted on the hub first)",
            num_frames=45,
            files=(
                HubFiles(
                    "meta-llama/Llama-2-7b-chat-hf",
                    "f5db02db724555f92da89c216ac04704f23d4590",
                    "language_model",
                    13.5,
                    gated=True,
                ),
                HubFiles(
                    *_CHECKPOINTS,
                    0.680,
                    path="video_llama_checkpoint_last.pth",
                    sha256="ea6029a15e068d22e743d80a2c18d366c68ab8855015fb8093c12bff893357c7",
                ),
                _VISION,
            ),
        ),
        Preset(
            "shapes",
            "a toy-world model for trying things out: it knows only generated videos of coloured shapes; Apache-2.0",
            num_frames=0,  # as its own config says
        ),
        Preset("echo", "no model: says back what it was given, to try a pipeline and its speed", num_frames=45),
        Preset(
            "whisper",
            "Whisper small, for --subtitles whisper (Apache-2.0)",
            num_frames=0,
            files=(HubFiles("openai/whisper-small", "973afd24965f72e36ca33b3055d56a652f456b4d", SPEECH_FOLDER, 0.97),),
            task="speech",
        ),
        Preset(
            "whisper-turbo",
            "Whisper large v3 turbo: fewer errors, and still quick on a GPU (MIT)",
            num_frames=0,
            files=(
                HubFiles(
                    "openai/whisper-large-v3-turbo", "41f01f3fe87f28c78e2fbf8b568835947dd65ed9", SPEECH_FOLDER, 1.62
                ),
            ),
            task="speech",
        ),
        Preset(
            "clip",
            "CLIP ViT-L/14, for vidlabel score: does the caption fit?",
            num_frames=0,
            files=(_CLIP,),
            task="score",
        ),
        Preset(
            "aesthetic",
            "LAION's aesthetic predictor on CLIP ViT-L/14, for vidlabel score (Apache-2.0)",
            num_frames=0,
            files=(_CLIP, _AESTHETIC),
            task="score",
        ),
        Preset(
            "nsfw",
            "a classifier of unsafe pictures, for vidlabel score (Apache-2.0)",
            num_frames=0,
            files=(
                HubFiles(
                    "Falconsai/nsfw_image_detection", "04367978d3474804ab1a00a9bd6548b741764069", NSFW_FOLDER, 0.34
                ),
            ),
            task="score",
        ),
    )
}


def resolve(name: str) -> ModelSpec:
    """A preset, or a folder that `vidlabel models convert` or `pull` wrote."""
    preset = PRESETS.get(name)
    labellers = [preset.name for preset in PRESETS.values() if preset.task == "label"]
    if preset is None:
        folder = Path(name)
        if not folder.is_dir():
            raise InputError(f"--model {name}: neither a folder nor one of {', '.join(labellers)}")
        return _spec_of_folder(str(folder.resolve()), folder)  # one folder is one model, however it was typed
    if preset.task != "label":
        use = "a model of speech, for --whisper" if preset.task == "speech" else "for vidlabel score"
        raise InputError(f"--model {name}: {use}; a labeller is {', '.join(labellers)}")
    if name == "echo":
        return ModelSpec(name, "echo", preset.num_frames, preset.image_size, preset.max_new_tokens, "echo-1")
    folder = folder_of(preset)
    if not is_present(preset):
        raise InputError(
            f"the weights of {name} are not in {folder}; `vidlabel models pull {name}` fetches them "
            f"(about {preset.gigabytes:.0f} GB)"
            if preset.files
            else f"the weights of {name} should be in {folder}; install vidlabel again"
        )
    return _spec_of_folder(name, folder)


def list_presets() -> list[str]:
    """A line for each preset: its name, whether it is here, and what it is."""
    return [f"{preset.name:<13} {_presence(preset):<24} {preset.summary}" for preset in PRESETS.values()]


def folder_of(preset: Preset) -> Path:
    if preset.name == "shapes":
        return Path(__file__).parent / "weights" / "shapes"
    return models_home() / preset.name


def models_home() -> Path:
    """Where fetched weights are kept."""
    if home := os.environ.get("VIDLABEL_HOME"):
        return Path(home).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "vidlabel" / "models"


def is_present(preset: Preset) -> bool:
    if preset.name == "echo":
        return True
    return (folder_of(preset) / (SOURCES if preset.files else "config.json")).is_file()


def sources_text(preset: Preset) -> str:
    """The file that makes a folder of original files a model; written when all of them are there."""
    if preset.task != "label":
        return json.dumps({"format": f"vidlabel-{preset.task}", "format_version": 1}, indent=2) + "\n"
    values = {
        "format": SOURCES_FORMAT,
        "format_version": 1,
        "vision": "eva_vit_g.pth",
        "language_model": "language_model",
        "checkpoint": "video_checkpoint.pth",
        "num_frames": preset.num_frames,
        "image_size": preset.image_size,
        "max_new_tokens": preset.max_new_tokens,
    }
    return json.dumps(values, indent=2) + "\n"


def read_sources(folder: Path) -> Sources:
    """Where the original files are."""
    from vidlabel.models.minigpt4_video.loading import Sources

    values = _read_sources(folder)
    return Sources(
        vision=folder / values["vision"],
        language_model=folder / values["language_model"],
        checkpoint=folder / values["checkpoint"],
    )


def read_sources_config(folder: Path) -> ModelConfig | None:
    """The config of original files that are not of the released sizes."""
    values = _read_sources(folder)
    if "config" not in values:
        return None
    return ModelConfig.from_json(json.dumps(values["config"]), source=f"{folder / SOURCES}: config")


def _spec_of_folder(name: str, folder: Path) -> ModelSpec:
    if (folder / SOURCES).is_file():
        values = _read_sources(folder)
        sizes = [int(values[key]) for key in ("num_frames", "image_size", "max_new_tokens")]
        return ModelSpec(name, "sources", sizes[0], sizes[1], sizes[2], fingerprint(folder), folder)
    config = read_config(folder)
    return ModelSpec(
        name,
        "own",
        config.num_frames,
        config.vision.image_size,
        max(1, config.context_window // 8),  # as in the released set-up: 512 of 4096
        fingerprint(folder),
        folder,
    )


def _read_sources(folder: Path) -> dict[str, Any]:
    path = folder / SOURCES
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != SOURCES_FORMAT or values["format_version"] != 1:
            raise InputError(f"{path}: of another format than this vidlabel reads")
        for key in ("num_frames", "image_size", "max_new_tokens"):
            int(values[key])
        for key in ("vision", "language_model", "checkpoint"):
            if not (folder / values[key]).exists():
                raise InputError(f"{path}: {folder / values[key]} is missing")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read ({error!r})") from error
    assert isinstance(values, dict)
    return values


def _presence(preset: Preset) -> str:
    if is_present(preset):
        return "here" if preset.files else "here, ships with vidlabel"
    size = preset.gigabytes
    return f"not here, {size:.{0 if size >= 0.95 else 1}f} GB to pull"
