"""Instruction pools: the shipped ones, a user's own, and which question goes to which clip."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidlabel.errors import InputError
from vidlabel.prompts import Pool, choose, list_pools, load_pool
from vidlabel.quality import Said, asks_for, flags_of

GOOD_ANSWERS = {
    ("qa-what", "en"): ["A dog runs across a field.", "A red ball.", "Cooking."],
    ("qa-what", "zh"): ["一只狗在草地上跑。", "一个红球。", "做饭。"],
    ("qa-who", "en"): ["A young woman in a red coat.", "No one.", "The video has no people.", "Two men"],
    ("qa-who", "zh"): ["一位穿红衣服的年轻女子。", "没有人。", "两个男人"],
    ("qa-where", "en"): ["In a kitchen.", "Outdoors.", "On the left of the picture."],
    ("qa-where", "zh"): ["在厨房里。", "室外。", "画面左边"],
    ("qa-count", "en"): ["Two.", "None.", "There are 3.", "The video has no people.", "Just one man."],
    ("qa-count", "zh"): ["两个。", "没有。", "有3个。", "只有一个男人。"],
    ("qa-colour", "en"): ["Red.", "It is dark blue.", "A deep plum shade.", "Green and white"],
    ("qa-colour", "zh"): ["红色。", "深蓝色的。", "黑白相间"],
    ("qa-order", "en"): ["First a man opens the door, then he walks in.", "A ball falls and bounces."],
    ("qa-order", "zh"): ["先是男人打开门，然后走进去。", "球落下，再弹起来。"],
    ("qa-why", "en"): ["To win the race.", "Because it rains.", "For fun."],
    ("qa-why", "zh"): ["为了赢得比赛。", "因为下雨了。", "为了好玩。"],
    ("qa-speech", "en"): ["Nothing.", "Nobody speaks.", "The video has no speech.", "He says hello to everyone."],
    ("qa-speech", "zh"): ["没有人说话。", "大家好。", "他向大家问好。"],
    ("caption-medium", "en"): ["A man opens a door. He walks in and turns on the light."],
    ("caption-medium", "zh"): ["一个男人打开门。他走进去，打开了灯。"],
    ("structured-subject", "en"): ["A dog.", "A young woman in a red coat with long dark hair."],
    ("structured-subject", "zh"): ["小狗。", "一位穿红色外套、留着深色长发的年轻女子。"],
    ("structured-action", "en"): ["Running.", "He cuts an onion, then wipes the knife."],
    ("structured-action", "zh"): ["跑步。", "他切洋葱，然后擦刀。"],
    ("structured-setting", "en"): ["A kitchen.", "Outdoors, on a beach at sunset."],
    ("structured-setting", "zh"): ["厨房。", "室外，日落时的海滩。"],
    ("structured-camera", "en"): ["Static.", "A close-up from below; the camera pans slowly to the left."],
    ("structured-camera", "zh"): ["静止。", "仰拍特写，镜头缓缓向左平移。"],
    ("structured-mood", "en"): ["Tense.", "Calm and a little sad, from the dim light and the slow pace."],
    ("structured-mood", "zh"): ["欢快。", "平静而略带伤感，光线昏暗，节奏缓慢。"],
}

POOL = Pool("p", "caption", "", {"en": tuple(f"question {i}" for i in range(7)), "zh": ("描述视频。", "讲讲视频。")})


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_shipped_pools_have_enough_questions_in_english_and_chinese() -> None:
    assert {"caption", "caption-short", "caption-detailed"} <= set(list_pools())
    for name in list_pools():
        pool = load_pool(name)
        assert pool.name == name
        assert pool.about
        for language in ("en", "zh"):
            assert len(pool.questions[language]) >= (12 if name == "caption" else 8)
        assert all(text.isascii() for text in pool.questions["en"])
        assert not any(text.isascii() for text in pool.questions["zh"])


def test_shipped_questions_do_not_disturb_the_prompt_layout() -> None:
    for name in list_pools():
        for texts in load_pool(name).questions.values():
            assert not [text for text in texts if "<" in text or "\n" in text or text != text.strip()]


@pytest.mark.parametrize("name", [name for name in list_pools() if not name.startswith("caption")])
def test_checks_know_what_each_shipped_question_asks_for(name: str) -> None:
    pool = load_pool(name)
    assert pool.task == ("qa" if name.startswith("qa-") else "caption")
    for language, texts in pool.questions.items():
        for text in texts if pool.task == "qa" else ():
            assert asks_for(text) == {"qa-count": "number", "qa-colour": "colour"}.get(name, "open"), text
            bare = Said(text="Yes." if language == "en" else "是的。", task="qa", question=text, language=language)
            assert flags_of(bare)[-1] == "ignores", text


@pytest.mark.parametrize(("name", "language"), GOOD_ANSWERS)
def test_good_answers_to_shipped_questions_have_no_flag(name: str, language: str) -> None:
    for question in load_pool(name).questions[language]:
        for text in GOOD_ANSWERS[name, language]:
            said = Said(text=text, task=load_pool(name).task, question=question, language=language)
            assert flags_of(said) == (), (question, text)


def test_every_shipped_pool_but_the_oldest_has_good_answers_here() -> None:
    oldest = {"caption", "caption-short", "caption-detailed"}
    assert {name for name, _ in GOOD_ANSWERS} == set(list_pools()) - oldest


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_said_may_be_answered_with_the_subtitles(language: str) -> None:
    subtitles = {"en": "welcome back to our small kitchen everyone", "zh": "欢迎大家回到我们的小厨房"}[language]
    for question in load_pool("qa-speech").questions[language]:
        said = Said(text=subtitles, task="qa", question=question, language=language, subtitles=subtitles)
        assert flags_of(said) == (), question


@pytest.mark.parametrize("question", ["Describe this video.", "What takes place in this video?", "请描述这段视频。"])
def test_a_caption_of_everything_is_more_than_a_word_and_one_of_an_aspect_need_not_be(question: str) -> None:
    language = "en" if question.isascii() else "zh"
    text = "Tense." if language == "en" else "欢快。"
    assert flags_of(Said(text=text, question=question, language=language)) == ("short",)
    for aspect in load_pool("structured-mood").questions[language]:
        assert flags_of(Said(text=text, question=aspect, language=language)) == ()


@given(clip_id=st.text(), seed=st.integers(), per_clip=st.integers(1, 7))
def test_choice_has_no_repeats_and_fewer_are_the_first_of_more(clip_id: str, seed: int, per_clip: int) -> None:
    chosen = choose(POOL, clip_id=clip_id, seed=seed, per_clip=per_clip, language="en")
    texts = [question.text for question in chosen]
    assert len(set(texts)) == per_clip
    assert set(texts) <= set(POOL.questions["en"])
    every = choose(POOL, clip_id=clip_id, seed=seed, per_clip=7, language="en")
    assert every[:per_clip] == chosen
    assert {(q.pool, q.task, q.language) for q in chosen} == {("p", "caption", "en")}


def test_choice_is_the_same_on_every_machine_and_python() -> None:
    script = (
        "from vidlabel.prompts import *\n"
        "pool = Pool('p', 'caption', '', {'en': tuple(f'question {i}' for i in range(7))})\n"
        "print([choose(pool, clip_id=c, seed=5, per_clip=1, language='en')[0].text[-1] for c in 'abcdefgh'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['1', '0', '3', '0', '2', '3', '6', '5']"  # recorded once; must never change


def test_choice_is_even_over_clips_and_moves_with_the_seed() -> None:
    def first(seed: int) -> list[str]:
        return [choose(POOL, clip_id=f"c{i}", seed=seed, per_clip=1, language="en")[0].text for i in range(1400)]

    counts = [first(0).count(text) for text in POOL.questions["en"]]
    assert min(counts) > 150
    assert max(counts) < 250
    assert sum(a != b for a, b in zip(first(0), first(1), strict=True)) > 1000


def test_choice_in_a_language_the_pool_lacks_lists_those_it_has() -> None:
    with pytest.raises(InputError, match=r"--language fr: pool p has no questions in it; it has en, zh"):
        choose(POOL, clip_id="a", seed=0, per_clip=1, language="fr")
    assert choose(POOL, clip_id="a", seed=0, per_clip=1, language="ZH")[0].language == "zh"


@pytest.mark.parametrize("per_clip", [0, 8])
def test_more_questions_than_the_pool_holds_is_an_error(per_clip: int) -> None:
    with pytest.raises(InputError, match=rf"--per-clip {per_clip}: pool p has 7 .* 1 to 7"):
        choose(POOL, clip_id="a", seed=0, per_clip=per_clip, language="en")


def test_unknown_pool_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"nonesuch.*caption, caption-detailed, caption-medium, caption-short"):
        load_pool("nonesuch")


def test_own_toml_is_read_and_its_fingerprint_follows_its_questions(tmp_path: Path) -> None:
    text = 'task = "qa"\n[questions]\nen = ["Who is it?"]\npt-BR = ["Quem é?"]\n'
    pool = load_pool(write(tmp_path / "mine.toml", text))
    assert (pool.name, pool.task) == ("mine", "qa")
    assert choose(pool, clip_id="a", seed=0, per_clip=1, language="pt-BR")[0].text == "Quem é?"
    same = load_pool(write(tmp_path / "mine.toml", 'about = "said otherwise"\n' + text))
    assert same.fingerprint == pool.fingerprint
    for other in (text.replace("Who", "What"), text.replace("qa", "caption"), text.replace("pt-BR", "pt")):
        assert load_pool(write(tmp_path / "mine.toml", other)).fingerprint != pool.fingerprint


def test_own_txt_holds_one_instruction_a_line_in_the_language_asked_for(tmp_path: Path) -> None:
    pool = load_pool(write(tmp_path / "mine.txt", "\ufeffQue voit-on ?\r\n\r\n  Décris la vidéo. \r\n"))
    assert list(pool.questions.values()) == [("Que voit-on ?", "Décris la vidéo.")]
    assert choose(pool, clip_id="a", seed=0, per_clip=1, language="fr")[0].language == "fr"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[questions\n", "not TOML"),
        ('[prompts]\nen = ["a"]\n', "unknown key 'prompts'; the keys are name, task, about, questions"),
        ('name = "x"\n', r"needs a table \[questions\]"),
        ("name = 3\n", "name must be a text, got 3"),
        ('task = "poem"\n', "task must be one of caption, qa, got 'poem'"),
        ('[questions]\nen = "a"\n', r"questions\.en: needs at least one"),
        ("[questions]\nen = []\n", r"questions\.en: needs at least one"),
        ('[questions]\nen = ["a", " "]\n', r"questions\.en: question 2 must be a text"),
        ('[questions]\nen = ["a", "a"]\n', r"questions\.en: question 2 stands there twice: 'a'"),
        ('[questions]\n"in English" = ["a"]\n', r"a language is a tag"),
        ('[questions]\nen = ["a"]\nEN = ["b"]\n', r"a language stands twice"),
    ],
)
def test_wrong_toml_is_one_line_that_names_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    file = write(tmp_path / "mine.toml", text)
    with pytest.raises(InputError, match=message) as caught:
        load_pool(file)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


def test_prompt_file_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        load_pool(str(tmp_path / "absent.toml"))
    (tmp_path / "latin.txt").write_bytes("Décris".encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8 at byte 1"):
        load_pool(str(tmp_path / "latin.txt"))
    with pytest.raises(InputError, match=r"ends in \.toml or \.txt"):
        load_pool(write(tmp_path / "mine.json", "[]"))
    with pytest.raises(InputError, match="at least one question"):
        load_pool(write(tmp_path / "empty.txt", "\n"))
