"""Golden cases of tokenisation, and of the reference's sampling of frames and placing of subtitles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from vidlabel.models.minigpt4_video.golden.compare import CaseResult, compare_exact
from vidlabel.models.minigpt4_video.golden.folder import Golden, read_json
from vidlabel.models.minigpt4_video.tokenizer import PromptTokenizer, SentencePieceTokenizer
from vidlabel.reference_sampling import (
    reference_captions,
    reference_indices,
    reference_placeholders,
    reference_prompt,
)

_LIMITS = {"llama2": (45, 400), "mistral": (90, 800)}  # frames and words of the two released models


def check_tokenizer(tokenizer: PromptTokenizer, llm_folder: Path, golden: Golden) -> Iterator[CaseResult]:
    """Each string in both legacy modes, with and without BOS, and each recorded decoding."""
    if not isinstance(tokenizer, SentencePieceTokenizer) or not (golden.folder / "tokenizer_cases.json").is_file():
        return
    recorded = golden.read_json("tokenizer_cases.json")
    for legacy in (True, False):
        mode = SentencePieceTokenizer(llm_folder / "tokenizer.model", legacy=legacy)
        key = f"legacy_{legacy}"
        cases = [(case["text"], case[key]) for case in recorded["cases"] if key in case]
        for bos, special in ((True, "with_bos"), (False, "no_special")):
            found = [mode.encode_reference(text, bos=bos) for text, _ in cases]
            yield compare_exact(f"tokenizer.{key}.{special}", found, [expected[special] for _, expected in cases])
    if "reference_legacy" in recorded:
        yield compare_exact("tokenizer.legacy", [tokenizer.legacy], [recorded["reference_legacy"]])
    decoded = [_decode(tokenizer, case["ids"], recorded.get("pad_token_id")) for case in recorded.get("decode", ())]
    yield compare_exact(
        "tokenizer.decode", decoded, [case["decode_skip_special"] for case in recorded.get("decode", ())]
    )


def reference_answer(tokenizer: PromptTokenizer, ids: Sequence[int], pad_id: int | None) -> str:
    """An answer's text as the reference cuts it out, its habit of losing what stands before "[/INST]" included."""
    kept = ids[1:] if ids and ids[0] == 0 else ids
    text = _decode(tokenizer, kept, pad_id).split("</s>")[0].replace("<s>", "")
    return text.split("[/INST]")[-1].strip()


def check_sampling(golden: Golden) -> Iterator[CaseResult]:
    """Frame indices and prompt text of the reference's inference script, for every recorded run."""
    for folder in (golden.folder / "sampling", golden.folder.parent / "sampling"):
        if (folder / "sampling.json").is_file():
            recorded = read_json(folder / "sampling.json")
            break
    else:
        return
    for case in recorded["cases"]:
        expected, probe = case["inference"], recorded["probe"][case["video"]]
        max_frames, max_words = _LIMITS["mistral" if "mistral" in case["llm"].lower() else "llama2"]
        fps = probe["moviepy_fps"]
        indices = reference_indices(
            duration_seconds=probe["moviepy_duration"],
            fps=fps,
            num_decoded=probe["decoded_frames"],
            max_frames=max_frames,
        )
        name = f"sampling.{case['llm']}.{case['video']}.{case['vtt'] or 'none'}"
        yield compare_exact(f"{name}.indices", indices, expected["frame_indices"])
        cues = [(start, end, text) for start, end, text in recorded["parsed_vtt_ms"].get(case["vtt"], ())]
        captions = reference_captions(indices, cues, fps=fps, max_words=max_words)
        if "prompt" in expected:
            yield compare_exact(f"{name}.prompt", [reference_prompt(captions, case["question"])], [expected["prompt"]])
        elif "placeholder" in expected:
            yield compare_exact(f"{name}.prompt", [reference_placeholders(captions)], [expected["placeholder"]])


def _decode(tokenizer: PromptTokenizer, ids: Sequence[int], pad_id: int | None) -> str:
    """The reference's pad token is an ordinary piece that it calls special: it vanishes from answers."""
    return tokenizer.decode([i for i in ids if i != pad_id])
