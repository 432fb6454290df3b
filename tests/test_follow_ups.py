"""Runs in which answers lead to further questions: every label once, of its own clip, also after a stop."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest

from tests.interviews import GOOD, LOOP, ScriptedCaptioner, qa_asking
from tests.runs import echo_settings, folder_of_videos, job, label, label_ids, rows
from vidlabel.data import Question
from vidlabel.run import Job


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_videos(tmp_path_factory.mktemp("videos"), 4)


def follow_up_job(out: Path, captioner: ScriptedCaptioner, **answers: object) -> Job:
    return job(out, captioner=captioner, settings=echo_settings(**answers))


def test_answers_lead_to_further_questions_about_their_own_clip(videos: Path, tmp_path: Path) -> None:
    """Every third answer is a loop, and every caption is condensed: three rounds, some of them after the last clip."""
    num_said = 0

    def say(question: Question) -> str:
        nonlocal num_said
        num_said += 1
        if not question.sees_video:
            return question.text.splitlines()[-1].removesuffix(".") + "."
        return LOOP if num_said % 3 == 0 else GOOD

    captioner = ScriptedCaptioner(say)
    out = tmp_path / "labels.parquet"
    summary = label(videos, follow_up_job(out, captioner, retry_flagged=3, rewrite="condense"))
    assert (summary.num_clips, summary.num_labels, summary.num_failures) == (8, 8, 0)
    assert len(label_ids(out)) == 8
    made = rows(out)
    assert {row["caption"] for row in made} == {GOOD}
    assert any(int(str(row["attempt"])) > 1 for row in made)
    asked = Counter(clip_id for clip_id, question in captioner.asked if question.sees_video)
    assert asked == Counter({str(row["clip_id"]): int(str(row["attempt"])) for row in made})
    # follow-ups come before new clips, so that the frames of few clips are held
    turns = [clip_id for clip_id, _ in groupby(clip_id for clip_id, _ in captioner.asked)]
    assert len(turns) == len(set(turns)) == 8
    assert (
        label(videos, follow_up_job(out, ScriptedCaptioner(say), retry_flagged=3, rewrite="condense")).num_labels == 0
    )


def test_a_run_stopped_between_rounds_resumes_to_the_same_labels(videos: Path, tmp_path: Path) -> None:
    def say(question: Question) -> str:
        return GOOD if question.sees_video else "What does the dog jump over?\nWhere is the dog?"

    def qa_job(out: Path, captioner: ScriptedCaptioner) -> Job:
        asking = qa_asking(propose=2, verify=1)
        return job(out, captioner=captioner, settings=asking.settings, pools=asking.pools)

    class StoppedError(RuntimeError):
        pass

    def breaks_off(question: Question) -> str:
        if len(captioner.asked) == 30:
            raise StoppedError
        return say(question)

    whole, out = tmp_path / "whole.parquet", tmp_path / "labels.parquet"
    assert label(videos, qa_job(whole, ScriptedCaptioner(say))).num_labels == 8 * 4
    captioner = ScriptedCaptioner(breaks_off)
    with pytest.raises(StoppedError):
        label(videos, qa_job(out, captioner))
    summary = label(videos, qa_job(out, ScriptedCaptioner(say)))
    assert 0 < summary.num_labels < 8 * 4
    assert label_ids(out) == label_ids(whole)
    pairs = [{(row["label_id"], row["question"], row["answer"]) for row in rows(path)} for path in (whole, out)]
    assert pairs[0] == pairs[1]
    assert label(videos, qa_job(out, ScriptedCaptioner(say))).num_labels == 0


def test_manifest_columns_keep_out_of_the_way_of_a_runs_own(videos: Path, tmp_path: Path) -> None:
    manifest, out = tmp_path / "m.csv", tmp_path / "labels.parquet"
    manifest.write_text(f"video,attempt\n{videos / 'video000.mp4'},mine\n")
    label(manifest, follow_up_job(out, ScriptedCaptioner(lambda _: GOOD), retry_flagged=1))
    assert {(row["attempt"], row["manifest_attempt"]) for row in rows(out)} == {(1, "mine")}
