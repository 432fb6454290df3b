"""The reference's sampling: the same frames and the same prompt text, from what the files themselves say."""

from __future__ import annotations

import json
from typing import Any

import av
import pytest

from tests.minigpt4_models import GOLDEN
from vidlabel.reference_sampling import (
    reference_captions,
    reference_fps,
    reference_indices,
    reference_milliseconds,
    reference_placeholders,
    reference_prompt,
)

SAMPLING = json.loads((GOLDEN / "sampling" / "sampling.json").read_text(encoding="utf-8"))
LIMITS = {"llama2": (45, 400), "mistral": (90, 800)}


@pytest.mark.parametrize("case", SAMPLING["cases"], ids=lambda case: f"{case['llm']}-{case['video']}-{case['vtt']}")
def test_reference_run_is_reproduced_from_the_video_file(case: dict[str, Any]) -> None:
    max_frames, max_words = LIMITS[case["llm"]]
    with av.open(str(GOLDEN / "sampling" / "videos" / case["video"])) as container:
        assert container.duration is not None
        seconds = container.duration / av.time_base
        stream = container.streams.video[0]
        assert stream.base_rate is not None
        fps = float(stream.base_rate)
        num_decoded = sum(1 for _ in container.decode(stream))
    indices = reference_indices(duration_seconds=seconds, fps=fps, num_decoded=num_decoded, max_frames=max_frames)
    expected = case["inference"]
    assert indices == expected["frame_indices"]
    assert reference_fps(fps) == expected["fps"]
    cues = [(start, end, text) for start, end, text in SAMPLING["parsed_vtt_ms"].get(case["vtt"], [])]
    captions = reference_captions(indices, cues, fps=fps, max_words=max_words)
    if "prompt" in expected:
        assert reference_prompt(captions, case["question"]) == expected["prompt"]
    else:
        assert reference_placeholders(captions) == expected["placeholder"]


def test_cue_times_are_cut_off_as_the_reference_does() -> None:
    assert reference_milliseconds(1.005) == 1004
    assert reference_milliseconds(2.3) == 2300


def test_a_rate_that_is_no_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="fps = 0"):
        reference_indices(duration_seconds=1.0, fps=0.0, num_decoded=3, max_frames=45)
