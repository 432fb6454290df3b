from __future__ import annotations

import pytest

from vidlabel.data import Question
from vidlabel.quality.agreement import agree
from vidlabel.rewording import reworded
from vidlabel.rewriting import adds_facts, propose_prompt, read_questions, rewrite_prompt

CAPTION = "A brown dog runs over the wet grass and jumps over a low wooden fence. Two children are watching."


@pytest.mark.parametrize(
    ("question", "one", "other", "same"),
    [
        ("What colour is the car?", "Red.", "The car is red.", True),
        ("What colour is the car?", "Red.", "It is blue.", False),
        ("How many people are there?", "Three.", "There are 3 people in it.", True),
        ("How many people are there?", "Three.", "two", False),
        ("Is there a dog?", "Yes.", "Yes, there is a dog.", True),
        ("Is there a dog?", "Yes, there is a dog.", "No, there is a cat.", False),
        ("Is there a dog?", "Yes.", "No.", False),
        ("What is the man doing?", "He is riding a bike.", "The man rides a bike down the road.", True),
        ("What is the man doing?", "He is riding a bike.", "He cooks soup.", False),
        ("What is the man doing?", "", "", False),
        ("汽车是什么颜色的？", "红色。", "汽车是红色的。", True),
        ("汽车是什么颜色的？", "红色。", "蓝色。", False),
        ("有几个人？", "三个人。", "3个。", True),
        ("有几个人？", "三个人。", "两个人", False),
        ("视频里有狗吗？", "有。", "没有。", False),
        ("男人在做什么？", "他在骑自行车。", "男人在路上骑自行车。", True),
        ("男人在做什么？", "他在骑自行车。", "他在做饭。", False),
    ],
)
def test_answers_agree_when_they_say_the_same(question: str, one: str, other: str, same: bool) -> None:
    assert agree(question, one, other) is same
    assert agree(question, other, one) is same


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("What colour is the car?", "en"),
        ("How many people are in the room?", "en"),
        ("Where is the dog?", "en"),
        ("Did anything break {0}?", "en"),
        ("汽车是什么颜色的？", "zh"),
        ("房间里有几个人？", "zh"),
        ("发生了什么？", "zh"),
    ],
)
def test_a_question_has_other_wordings_that_lead_to_its_label(text: str, language: str) -> None:
    question = Question(text, "manifest", "qa", language, extra={"row": 1})
    others = reworded(question, 4)
    assert len({text, *(one.text for one in others)}) == 5
    for one in others:
        assert (one.key, one.original, one.task, one.language, one.extra) == (text, text, "qa", language, {"row": 1})
    assert reworded(others[0], 4)[1:] == others[1:] or others[0].text not in {o.text for o in reworded(others[0], 4)}


def test_only_questions_about_the_video_are_read_from_what_the_model_wrote() -> None:
    text = (
        "Sure, here are some questions:\n1. What colour is the dog?\nA: Brown.\n2) Who is watching?\n\n"
        "- What colour is the dog?\nQ3: What does the description say?\nWhy?\n**Where does it run?**\n"
        "What is it? And where is it?\n狗是什么颜色的？"
    )
    assert read_questions(text, "en", 9) == ("What colour is the dog?", "Who is watching?", "Where does it run?")
    assert read_questions(text, "en", 1) == ("What colour is the dog?",)
    assert read_questions(text, "zh", 9) == ("狗是什么颜色的？",)


@pytest.mark.parametrize(
    ("text", "adds"),
    [
        ("A dog jumps over a wooden fence while two children watch.", False),
        ("Two children watch a brown dog running on grass.", False),
        ("A dog jumps over a fence at the airport.", True),
        ("A dog and 4 children.", True),
        ("A dog does not run. No children are watching.", True),
        ("", True),
    ],
)
def test_a_rewriting_adds_facts_when_it_says_what_the_caption_does_not(text: str, adds: bool) -> None:
    assert adds_facts([CAPTION], text) is adds


def test_chinese_rewritings_are_judged_too() -> None:
    assert not adds_facts(["一只棕色的狗在湿草地上奔跑，跳过了木栅栏。"], "棕色的狗跳过木栅栏。")
    assert adds_facts(["一只棕色的狗在湿草地上奔跑，跳过了木栅栏。"], "一只猫在机场睡觉。")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_prompts_hold_the_caption_as_it_is(language: str) -> None:
    odd = "A {brace} and a {0} and\n\na line."
    assert odd in propose_prompt(odd, 3, language)
    assert odd in rewrite_prompt([odd], language)
    assert f"2. {odd}" in rewrite_prompt(["x", odd], language)
