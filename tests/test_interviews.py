from __future__ import annotations

import dataclasses

import pytest

from tests.interviews import COLOURS, COUNTS, GOOD, LOOP, caption_asking, interview, qa_asking, said
from tests.minigpt4_models import asked_clip
from vidlabel.asking import Asking
from vidlabel.data import Question
from vidlabel.interviews import Interview
from vidlabel.plan import label_id_of
from vidlabel.prompts import Pool, load_pool

LEVEL_POOLS = [
    load_pool("caption-short"),
    load_pool("caption-detailed"),
    *(Pool(f"structured-{part}", "caption", "", {"en": (f"Say the {part}.", f"Which {part} is it?")})
      for part in ("subject", "action", "setting", "camera", "mood")),
]  # fmt: skip
PROPOSED = "1. What does the dog jump over?\n2) Where is the dog running?\n- It runs.\nWhat is wet?"


def test_without_options_a_clip_is_asked_once_and_has_no_more_columns() -> None:
    (label,), asked = interview(caption_asking(), lambda _: GOOD)
    assert len(asked) == 1
    assert (label.caption, label.flags, dict(label.more)) == (GOOD, (), {})


def test_a_flagged_caption_is_asked_for_again_with_another_instruction_and_the_good_one_kept() -> None:
    texts = iter([LOOP, "", GOOD])
    (label,), asked = interview(caption_asking(retry_flagged=5), lambda _: next(texts))
    assert len({question.text for question in asked}) == 3
    assert (label.caption, label.flags, label.more["attempt"]) == (GOOD, (), 3)
    assert label.instruction == asked[-1].text
    (first,), _ = interview(caption_asking(retry_flagged=5), lambda _: GOOD)
    assert label.label_id == first.label_id  # whatever was asked in the end, it is this label


def test_retries_end_and_the_best_answer_is_kept_with_its_flags() -> None:
    texts = iter([LOOP + " [INST] a@b.com", LOOP, LOOP])
    (label,), asked = interview(caption_asking(retry_flagged=2), lambda _: next(texts))
    assert len(asked) == 3
    assert (label.caption, label.more["attempt"]) == (LOOP, 2)
    assert "repetitive" in label.flags


def test_a_pool_with_nothing_else_to_ask_ends_the_retries() -> None:
    one = Pool("one", "caption", "", {"en": ("Describe it.",)})
    (label,), asked = interview(caption_asking(pools=[one], retry_flagged=3), lambda _: LOOP)
    assert (len(asked), label.more["attempt"]) == (1, 1)


def test_a_question_is_asked_again_in_other_words_and_the_pair_keeps_the_question() -> None:
    def say(question: Question) -> str:
        return "A red one." if question.original else "How nice it looks there today."

    labels, asked = interview(qa_asking(pools=[COLOURS], retry_flagged=2), say)
    assert [label.question for label in labels] == [question.text for question in asked[:2]]
    assert {label.answer for label in labels} == {"A red one."}
    assert all(label.instruction != label.question for label in labels)


def test_openings_are_stripped_and_no_longer_flagged() -> None:
    text = f"The video shows {GOOD[0].lower()}{GOOD[1:]}"
    (plain,), _ = interview(caption_asking(), lambda _: text)
    (label,), _ = interview(caption_asking(strip_openings=True), lambda _: text)
    assert (plain.caption, plain.flags) == (text, ("prefix",))
    assert (label.caption, label.flags) == (GOOD, ())


def test_agreement_is_the_share_of_rewordings_that_are_answered_alike() -> None:
    answers = {0: "Three people.", 1: "3", 2: "There are two people.", 3: "Three", 4: ""}

    def say(question: Question) -> str:
        return answers[asked_for_count.setdefault(question.text, len(asked_for_count))]

    asked_for_count: dict[str, int] = {}
    (label,), asked = interview(qa_asking(pools=[COUNTS], per_clip=1, verify=4), say)
    assert len(asked) == 5
    assert (label.answer, label.more["agreement"]) == ("Three people.", 0.5)


def test_levels_come_from_one_asking_and_structured_has_a_column_for_each_part() -> None:
    asking = caption_asking(pools=LEVEL_POOLS, levels="short,detailed,structured", per_clip=1)
    labels, asked = interview(asking, lambda question: f"{question.text} {GOOD}")
    assert len(asked) == 7
    assert asking.first_questions("clip", asking.wanted("clip", asked_clip("clip").clip.video)) == tuple(asked)
    short, _, structured = labels
    assert [label.more["level"] for label in labels] == ["short", "detailed", "structured"]
    assert short.more["subject"] is None
    parts = {part: text for part, text in structured.more.items() if part != "level"}
    assert list(parts) == ["subject", "action", "setting", "camera", "mood"]
    for part, text in parts.items():
        assert part in str(text)
    assert structured.caption == " ".join(map(str, parts.values()))
    assert structured.num_tokens == sum(len(str(text).split()) for text in parts.values())
    assert structured.instruction.count("\n") == 4


def test_condensed_caption_keeps_the_original_beside_it() -> None:
    def say(question: Question) -> str:
        return GOOD if question.sees_video else "A dog jumps over a fence."

    (label,), asked = interview(caption_asking(rewrite="condense"), say)
    assert [question.sees_video for question in asked] == [True, False]
    assert GOOD in asked[1].text
    assert (label.caption, label.more["caption_original"]) == ("A dog jumps over a fence.", GOOD)
    assert label.flags == ()


@pytest.mark.parametrize("made", ["A dog jumps over a fence while Anna films 3 cats from a balloon.", "", "  "])
def test_a_rewriting_that_adds_facts_or_says_nothing_is_not_taken(made: str) -> None:
    (label,), _ = interview(caption_asking(rewrite="condense"), lambda q: GOOD if q.sees_video else made)
    assert (label.caption, label.more["caption_original"]) == (GOOD, None)


def test_captions_of_a_clip_are_merged_into_one_label() -> None:
    other = "The grass is wet after rain."

    def say(question: Question) -> str:
        if not question.sees_video:
            assert GOOD in question.text
            assert other in question.text
            return f"{GOOD} {other}"
        return GOOD if question.pool == "caption-short" else other

    asking = caption_asking(pools=LEVEL_POOLS, levels="short,detailed", rewrite="merge")
    (label,), asked = interview(asking, say)
    assert len(asked) == 3
    assert (label.caption, label.more["caption_original"]) == (f"{GOOD} {other}", f"{GOOD}\n{other}")


def test_proposed_questions_are_answered_from_the_video() -> None:
    def say(question: Question) -> str:
        if not question.sees_video:
            assert GOOD in question.text
            return PROPOSED
        return GOOD

    labels, asked = interview(qa_asking(propose=2), say)
    assert len(labels) == 4
    mine = [label for label in labels if label.pool == "proposed"]
    assert [label.question for label in mine] == ["What does the dog jump over?", "Where is the dog running?"]
    assert all(question.sees_video for question in asked if question.pool == "proposed")
    assert {label.task for label in labels} == {"qa"}  # the caption that they come from is no label


def test_pools_fill_in_where_the_model_proposes_too_few() -> None:
    labels, _ = interview(
        qa_asking(propose=2), lambda q: GOOD if q.sees_video else "Sure! What does the dog jump over?"
    )
    assert len({label.question for label in labels}) == 4
    assert sorted(label.pool for label in labels) == ["colours", "colours", "counts", "counts"]
    assert len({label.label_id for label in labels}) == 4


def test_a_resumed_clip_gets_the_same_proposed_question_for_the_same_label() -> None:
    asking = qa_asking(propose=3, verify=1)

    def say(question: Question) -> str:
        return GOOD if question.sees_video else PROPOSED

    labels, _ = interview(asking, say)
    clip = asked_clip("clip")
    wanted = [one for one in asking.wanted("clip", clip.clip.video) if one.key == "proposed 1"]
    held, waiting, again = Interview(clip, wanted, asking), list(asking.first_questions("clip", wanted)), []
    while waiting:
        question = waiting.pop(0)
        following = held.take(said(clip, question, say(question)))
        again += following.labels
        waiting += following.questions
    (label,) = again
    (same,) = [one for one in labels if one.label_id == label.label_id]
    assert dataclasses.replace(label, created_at=same.created_at) == same


def test_the_ids_of_all_labels_are_known_before_anything_is_asked() -> None:
    for asking in (qa_asking(propose=2, verify=1), caption_asking(pools=LEVEL_POOLS, levels="short,structured")):
        labels, _ = interview(asking, lambda q: GOOD if q.sees_video else PROPOSED)
        wanted = asking.wanted("clip", asked_clip("clip").clip.video)
        assert {label.label_id for label in labels} == {label_id_of("clip", one, asking.settings) for one in wanted}


def test_an_error_costs_the_labels_it_belongs_to_and_no_others() -> None:
    asking, clip = qa_asking(propose=2), asked_clip("clip")
    wanted = asking.wanted("clip", clip.clip.video)
    held, num_labels, errors, num_closed = Interview(clip, wanted, asking), 0, [], 0
    for question in asking.first_questions("clip", wanted):
        answer = said(clip, question, GOOD)
        if question.pool in ("counts", "caption-detailed"):
            answer = dataclasses.replace(answer, error="does not fit")
        following = held.take(answer)
        num_labels += len(following.labels)
        num_closed += following.num_closed
        errors += [following.error] if following.error else []
    assert (num_labels, num_closed, errors) == (1, 4, ["does not fit"] * 2)


def test_an_error_of_a_retry_keeps_what_was_said_before() -> None:
    asking, clip = caption_asking(retry_flagged=1), asked_clip("clip")
    held = Interview(clip, asking.wanted("clip", clip.clip.video), asking)
    (first,) = asking.first_questions("clip", asking.wanted("clip", clip.clip.video))
    (second,) = held.take(said(clip, first, LOOP)).questions
    following = held.take(dataclasses.replace(said(clip, second, ""), error="out of memory"))
    assert following.error is None
    assert [label.caption for label in following.labels] == [LOOP]


def test_an_answer_to_a_question_that_is_not_open_is_no_label() -> None:
    asking, clip = caption_asking(), asked_clip("clip")
    held = Interview(clip, asking.wanted("clip", clip.clip.video), asking)
    with pytest.raises(KeyError):
        held.take(said(clip, Question("Something else?", "caption"), GOOD))


def test_columns_are_the_same_in_every_row_of_a_run() -> None:
    asking = caption_asking(pools=LEVEL_POOLS, levels="short,structured", retry_flagged=1, rewrite="condense")
    labels, _ = interview(asking, lambda _: GOOD)
    assert {tuple(label.more) for label in labels} == {asking.columns}


@pytest.mark.parametrize(
    ("asking", "most"),
    [
        (caption_asking(), 1),
        (caption_asking(pools=LEVEL_POOLS, levels="short,structured"), 6),
        (qa_asking(verify=1), 4),
        (qa_asking(propose=3), 3),
    ],
)
def test_memory_is_planned_for_as_many_questions_as_are_asked_at_once(asking: Asking, most: int) -> None:
    clip = asked_clip("clip")
    wanted = asking.wanted("clip", clip.clip.video)
    held, batch, seen = Interview(clip, wanted, asking), list(asking.first_questions("clip", wanted)), 0
    while batch:
        seen = max(seen, sum(question.sees_video for question in batch))
        results = [held.take(said(clip, q, GOOD if q.sees_video else PROPOSED)) for q in batch]
        batch = [question for result in results for question in result.questions]
    assert seen == most == asking.most_questions(0)


def test_questions_are_drawn_from_different_pools_first_and_fewer_are_the_first_of_more() -> None:
    shared = Pool("shared", "qa", "", {"en": ("What colour is the car?", "Who is it?", "Why?")})
    for clip_id in map(str, range(20)):
        drawn = {
            per_clip: [
                wanted.key
                for wanted in qa_asking(pools=[COLOURS, COUNTS, shared], per_clip=per_clip).wanted(
                    clip_id, asked_clip(clip_id).clip.video
                )
            ]
            for per_clip in range(1, 7)
        }
        assert len(set(drawn[6])) == 6  # 7 texts, one of them in two pools
        assert all(drawn[fewer] == drawn[6][:fewer] for fewer in drawn)
        first = [pool.name for key in drawn[2] for pool in (COLOURS, COUNTS, shared) if key in pool.questions["en"]]
        assert len(set(first)) >= 2
