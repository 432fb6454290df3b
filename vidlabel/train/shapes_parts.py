"""What the `shapes` model is made from, as MiniGPT4-video is from EVA-CLIP and Llama: a small vision tower that has
learnt to see, and a small language model that has learnt to repeat. They have never met.

`python -m vidlabel.train.shapes_parts --out DIR` writes them as one model folder, for `vidlabel train --from DIR`.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from vidlabel.models.minigpt4_video.config import ModelConfig, VisionConfig
from vidlabel.models.minigpt4_video.loading import load_model
from vidlabel.models.minigpt4_video.model import MiniGPT4Video
from vidlabel.models.minigpt4_video.saving import save_tensors
from vidlabel.models.minigpt4_video.tokenizer import load_tokenizer
from vidlabel.train.shapes_stages import learn_to_repeat, learn_to_see
from vidlabel.train.shapes_tokenizer import VOCABULARY, write_tokenizer
from vidlabel.train.shapes_world import Language

logger = logging.getLogger(__name__)

CONFIG = ModelConfig(
    vision=VisionConfig(image_size=64, patch_size=8, embed_dim=96, depth=3, num_heads=4, mlp_hidden=384),
    context_window=1024,
    num_frames=8,
)
SEEING_STEPS, REPEATING_STEPS = 1600, 400


def llm_config(language: Language = "en") -> Any:
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=VOCABULARY[language],
        hidden_size=128,
        intermediate_size=352,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONFIG.context_window,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=None,
    )


def make_parts(
    out: Path, language: Language = "en", *, tower: Path | None = None, share: float = 1.0, seed: int = 0
) -> None:
    """`tower`: a model folder whose tower is taken, in place of one that learns to see. `share` of all steps: less is a
    quick try. Depends on the arguments alone."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as scratch:
        write_tokenizer(Path(scratch), language)
        model = new_model(language)
        logger.info("%d parameters", sum(parameter.numel() for parameter in model.parameters()))
        if tower is None:
            learn_to_see(model, max(1, round(SEEING_STEPS * share)), seed)
        else:
            _take_tower(model, tower)
        tokenizer = load_tokenizer(Path(scratch))
        learn_to_repeat(model, tokenizer, max(1, round(REPEATING_STEPS * share)), seed, language)
        tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
        out.parent.mkdir(parents=True, exist_ok=True)
        save_tensors(out, model.config, model.llama_model.config, tensors, Path(scratch), overwrite=True)


def new_model(language: Language = "en") -> MiniGPT4Video:
    """With random weights."""
    model = MiniGPT4Video(CONFIG, llm_config(language))
    _loosen(model)
    return model


def _take_tower(model: MiniGPT4Video, folder: Path) -> None:
    taken = load_model(folder)[0]
    model.visual_encoder.load_state_dict(taken.visual_encoder.state_dict())
    model.ln_vision.load_state_dict(taken.ln_vision.state_dict())


def _loosen(model: MiniGPT4Video) -> None:
    """Larger first weights than a wide tower's: in one as narrow as this, attention would begin blind."""
    for module in model.visual_encoder.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    nn.init.normal_(model.visual_encoder.patch_embed.proj.weight, std=0.07)
    nn.init.normal_(model.visual_encoder.pos_embed, std=0.3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the model folder to write")
    parser.add_argument("--language", choices=get_args(Language), default="en")
    parser.add_argument("--tower", type=Path, help="take the vision tower of this model folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=1.0, help="of all steps; less is a quick try")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    make_parts(options.out, options.language, tower=options.tower, share=options.share, seed=options.seed)


if __name__ == "__main__":
    main()
