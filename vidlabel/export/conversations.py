"""Questions and answers as the turns of one conversation."""

from __future__ import annotations

from collections.abc import Sequence


def turns(pairs: Sequence[tuple[str, str]], *, opening: str) -> list[dict[str, str]]:
    """`human` and `gpt` in turn; the video is named before the first question alone."""
    conversation: list[dict[str, str]] = []
    for question, answer in pairs:
        conversation.append({"from": "human", "value": question if conversation else opening + question})
        conversation.append({"from": "gpt", "value": answer})
    return conversation
