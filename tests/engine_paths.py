"""The whole engine on a given attention path, held against `generate`."""

from __future__ import annotations

import copy

from tests.engine_models import STOP_IDS, TOKENIZER, Kind, clips, model_of, said
from tests.minigpt4_models import TEXTS, answer_settings
from vidlabel.engine.attention import Kernels
from vidlabel.engine.captioner import EngineCaptioner
from vidlabel.models.minigpt4_video.generate import GenerateCaptioner


def same_as_generate(kind: Kind, kernels: Kernels, *, device: str = "cpu", max_new_tokens: int = 10) -> None:
    """Four clips with three questions each through three slots of two rows, in float32, token for token."""
    model = copy.deepcopy(model_of(kind)).to(device)
    options = answer_settings(max_new_tokens=max_new_tokens, repetition_penalty=1.2)
    asked = clips(4, texts=TEXTS[:3])
    oracle = GenerateCaptioner(model, TOKENIZER, options, batch_size=4)
    captioner = EngineCaptioner(model, TOKENIZER, options, kernels=kernels, num_slots=3, rows_per_slot=2)
    oracle.stop_ids = captioner.stop_ids = STOP_IDS
    expected = said(oracle.answer(asked))
    assert len({text for text, *_ in expected.values()}) > 6
    assert said(captioner.answer(asked)) == expected
