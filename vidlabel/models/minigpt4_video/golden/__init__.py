"""Recomputing golden data, numbers that the reference itself produced, to show that this is the same model."""

from vidlabel.models.minigpt4_video.golden.check import check_golden
from vidlabel.models.minigpt4_video.golden.compare import CaseResult

__all__ = ["CaseResult", "check_golden"]
