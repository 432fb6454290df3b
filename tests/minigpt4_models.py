"""Tiny MiniGPT4-video models and clips for tests: the golden ones, and a random one with a Qwen language model."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen2Config

from vidlabel.config import AnswerSettings
from vidlabel.data import AskedClip, Clip, Cue, Frames, Question, Video, VideoInfo, stable_id
from vidlabel.models.minigpt4_video.config import ModelConfig, VisionConfig
from vidlabel.models.minigpt4_video.golden.folder import find_sources, model_config, read_golden
from vidlabel.models.minigpt4_video.loading import Sources, load_model, load_sources
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.saving import save_model
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer

GOLDEN = Path(__file__).parent / "data" / "golden"
VARIANTS = ("llama_small", "mistral_small")
TEXTS = (
    "What is happening in this video?",
    "Describe the clip.",
    "Is there a dog?",
    "Which colour is the car that leaves?",
)


def golden_sources(variant: str) -> Sources:
    return find_sources(GOLDEN / variant)


def golden_config(variant: str) -> ModelConfig:
    return model_config(read_golden(GOLDEN / variant), golden_sources(variant).language_model)


@functools.cache
def golden_model(variant: str) -> tuple[MiniGPT4Video, PromptTokenizer]:
    return load_sources(golden_sources(variant), golden_config(variant))


def qwen_folder(folder: Path) -> Path:
    """Writes a random model whose language model is a Qwen2 with a tokenizer.json of its own."""
    source = folder.with_name("qwen_tokenizer")
    source.mkdir()
    controls = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    backend.train_from_iterator(
        [*TEXTS, "user assistant <Img> <Cap>"] * 3,
        trainers.BpeTrainer(vocab_size=400, special_tokens=controls, initial_alphabet=alphabet, show_progress=False),
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    tokenizer.save_pretrained(source)
    torch.manual_seed(0)
    config = ModelConfig(
        VisionConfig(image_size=28, patch_size=7, embed_dim=24, depth=2, num_heads=3, mlp_hidden=40),
        context_window=512,
        num_frames=4,
        prompt_family="chatml",
        num_bos=0,
    )
    language = Qwen2Config(
        vocab_size=backend.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    save_model(folder, MiniGPT4Video(config, language), source)
    return folder


@functools.cache
def qwen_model(folder: Path) -> tuple[MiniGPT4Video, PromptTokenizer]:
    return load_model(folder)


class ScarceVision(MiniGPT4Video):
    """A vision side with memory for so many frames."""

    max_frames = 99

    def encode_and_pool(self, images: Tensor, *, chunk: int | None = None) -> tuple[Tensor, Tensor]:
        if min(len(images), chunk or len(images)) > self.max_frames:
            raise torch.OutOfMemoryError("not enough memory")
        return super().encode_and_pool(images, chunk=chunk)


def asked_clip(
    clip_id: str,
    *,
    texts: tuple[str, ...] = TEXTS[:1],
    cues: tuple[Cue, ...] = (),
    num_frames: int = 3,
    size: int = 56,
    seed: int = 0,
) -> AskedClip:
    """A clip of random frames that depend on its id alone, one second apart."""
    noise = np.random.default_rng(int(stable_id(clip_id), 16))
    images = noise.integers(0, 256, (num_frames, size, size, 3), dtype=np.uint8)
    clip = Clip(
        clip_id, Video(clip_id, f"{clip_id}.mp4", f"/{clip_id}.mp4"), VideoInfo(64, 48, 25.0, 9.0, "h264"), 0.0, 9.0
    )
    frames = Frames(images, np.arange(num_frames, dtype=np.float64), cues)
    return AskedClip(clip, frames, tuple(Question(text, "test") for text in texts), seed)


def answer_settings(
    *, max_new_tokens: int = 8, repetition_penalty: float = 1.1, temperature: float = 0.0, top_p: float = 1.0
) -> AnswerSettings:
    return AnswerSettings(
        model="test",
        model_fingerprint="0",
        pool="test",
        pool_fingerprint="0",
        max_new_tokens=max_new_tokens,
        repetition_penalty=repetition_penalty,
        temperature=temperature,
        top_p=top_p,
    )
