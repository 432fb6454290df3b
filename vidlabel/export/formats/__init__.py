"""The formats, in the order of `--list`. A new one is a file here, its import, and a place in this list."""

from __future__ import annotations

from vidlabel.export.format import Format
from vidlabel.export.formats.cogvideox import COGVIDEOX
from vidlabel.export.formats.cogvideox_sat import COGVIDEOX_SAT
from vidlabel.export.formats.conversations import CONVERSATIONS
from vidlabel.export.formats.cosmos import COSMOS
from vidlabel.export.formats.diffsynth import DIFFSYNTH
from vidlabel.export.formats.diffusion_pipe import DIFFUSION_PIPE
from vidlabel.export.formats.fastvideo import FASTVIDEO
from vidlabel.export.formats.fiftyone import FIFTYONE
from vidlabel.export.formats.finetrainers import FINETRAINERS
from vidlabel.export.formats.hf_videofolder import HF_VIDEOFOLDER
from vidlabel.export.formats.label_studio import LABEL_STUDIO
from vidlabel.export.formats.llama_factory import LLAMA_FACTORY
from vidlabel.export.formats.llava_video import LLAVA_VIDEO
from vidlabel.export.formats.ltx import LTX
from vidlabel.export.formats.minigpt4_video import MINIGPT4_VIDEO
from vidlabel.export.formats.musubi import MUSUBI
from vidlabel.export.formats.open_sora import OPEN_SORA
from vidlabel.export.formats.open_sora_plan import OPEN_SORA_PLAN
from vidlabel.export.formats.qwen_vl import QWEN_VL
from vidlabel.export.formats.videochatgpt import VIDEOCHATGPT
from vidlabel.export.formats.videox_fun import VIDEOX_FUN
from vidlabel.export.formats.webdataset import WEBDATASET

FORMATS: dict[str, Format] = {
    made.name: made
    for made in (
        FINETRAINERS,
        MUSUBI,
        DIFFUSION_PIPE,
        COGVIDEOX,
        COGVIDEOX_SAT,
        OPEN_SORA,
        OPEN_SORA_PLAN,
        FASTVIDEO,
        DIFFSYNTH,
        VIDEOX_FUN,
        LTX,
        COSMOS,
        HF_VIDEOFOLDER,
        WEBDATASET,
        LLAVA_VIDEO,
        VIDEOCHATGPT,
        QWEN_VL,
        LLAMA_FACTORY,
        MINIGPT4_VIDEO,
        CONVERSATIONS,
        LABEL_STUDIO,
        FIFTYONE,
    )
}
