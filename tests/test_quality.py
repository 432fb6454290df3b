"""The checks on answers: the labelled set, the shapes model's own captions, and properties that hold for any text."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality import DATA, Case, load_cases, score, score_all
from vidlabel.quality import FLAGS, Repeats, Said, Thresholds, flags_of, strip_opening
from vidlabel.train.shapes_text import captions, question
from vidlabel.train.shapes_world import Scene, make_scene

CASES = load_cases()
GOOD = [case.said for case in CASES if not case.flags]
LONG_GOOD = [said for said in GOOD if said.task == "caption" and len(said.text) >= 8 and said.text.endswith(".")]


def _half(split: str) -> list[Case]:
    return [case for case in CASES if case.split == split]


# --- the labelled set


def test_labelled_set_is_large_and_has_every_flag_in_both_halves() -> None:
    assert len(CASES) >= 420
    assert abs(len(_half("tune")) - len(_half("held-out"))) < 0.1 * len(CASES)
    for flag in FLAGS:
        if flag != "duplicate":
            assert sum(flag in case.flags for case in CASES) >= 15
            assert sum(flag in case.flags for case in _half("held-out")) >= 7


@pytest.mark.parametrize("split", ["tune", "held-out"])
def test_bad_answers_are_caught_and_good_ones_left_alone(split: str) -> None:
    whole = score_all(_half(split))
    assert whole.caught >= 0.95
    assert whole.wrongly <= 0.02


@pytest.mark.parametrize("flag", [flag for flag in FLAGS if flag != "duplicate"])
def test_each_flag_is_caught_and_hardly_ever_wrong(flag: str) -> None:
    one = score(CASES, flag)
    assert one.caught >= 0.9
    assert one.wrongly <= 0.01


# --- the shapes model's own answers


def test_captions_of_shapes_are_clean() -> None:
    random = np.random.default_rng(4)
    for scene in (make_scene("held-out", number) for number in range(300)):
        asked, text = captions(scene, random)
        assert flags_of(Said(text=text, question=asked, finish_reason="stop", subtitles=_spoken(scene))) == (), text


def test_answers_of_shapes_are_clean() -> None:
    random = np.random.default_rng(5)
    for scene in (make_scene("held-out", number) for number in range(600)):
        asked, text = question(scene, random)
        said = Said(text=text, task="qa", question=asked, finish_reason="stop", subtitles=_spoken(scene))
        assert flags_of(said) == (), (asked, text)


def _spoken(scene: Scene) -> str:
    return " ".join(cue.text for cue in scene.cues)


# --- single promises


def test_flags_come_in_the_order_of_reports() -> None:
    text = "The video shows a man, a man, a man, a man, a man, a man [/INST] visit www.clips.com and"
    assert flags_of(Said(text=text)) == ("truncated", "repetitive", "leak", "prefix", "noise")


def test_an_empty_answer_is_only_empty() -> None:
    assert flags_of(Said(text=" \n", task="qa", question="How many dogs are there?")) == ("empty",)
    assert flags_of(Said(text="", finish_reason="length")) == ("empty", "truncated")


def test_a_whole_sentence_that_hit_the_limit_is_truncated() -> None:
    whole = Said(text="A man opens the door.", finish_reason="stop")
    assert flags_of(whole) == ()
    assert flags_of(replace(whole, finish_reason="length")) == ("truncated",)


def test_the_same_words_are_judged_by_what_was_asked() -> None:
    shows = "The video shows a man who cleans a fish."
    assert flags_of(Said(text=shows)) == ("prefix",)
    assert flags_of(Said(text=shows, task="qa", question="What does the video show?")) == ()
    assert flags_of(Said(text="A dog runs.")) == ()
    assert flags_of(Said(text="A dog runs.", question="Describe this video in detail.")) == ("short",)


def test_reported_speech_is_no_copy_of_the_subtitles() -> None:
    subtitles = "my friend has a small dog and a big house by the river"
    copied = Said(text="My friend has a small dog and a big house by the river.", subtitles=subtitles)
    assert flags_of(copied) == ("subtitle_copy",)
    assert flags_of(replace(copied, text=f'A voice says "{subtitles}".')) == ()
    assert flags_of(replace(copied, task="qa", question="What is said?")) == ()
    assert flags_of(replace(copied, subtitles="")) == ()


def test_what_is_quoted_is_no_fault_of_the_answer() -> None:
    quoted = 'A card reads "I cannot see you, as an AI. Visit www.cards.com" in red letters.'
    assert flags_of(Said(text=quoted)) == ()
    assert set(flags_of(Said(text=quoted.replace('"', "")))) == {"refusal", "noise"}


@pytest.mark.parametrize(
    ("asked", "language", "text", "is_wrong"),
    [
        ("fr", "fr", "Un homme marche dans la rue avec son chien.", False),
        ("fr", "fr", "A man is walking in the street with his dog.", True),
        ("ja", "ja", "男の人が公園で犬と散歩しています。", False),
        ("ja", "ja", "一位男士在公园里和他的狗一起散步。", True),
        ("ru", "ru", "Девушка поёт на сцене.", False),
        ("ru", "ru", "A girl sings on the stage.", True),
        ("zh-CN", "zh-CN", "一个男人在打开他的MacBook。", False),
        ("en-GB", "en-GB", "Colourful balloons rise over the harbour.", False),
        ("hi", "hi", "एक आदमी सड़क पर चल रहा है।", False),
        ("fi", "fi", "Mies kävelee kadulla koiransa kanssa ja hymyilee.", False),
        ("en", "en", "Sinipaitainen mies avaa vihreän oven ja astuu sisään taloon.", True),
        ("en", "en", "Un bărbat în cămașă albastră deschide o ușă verde și intră în casă.", True),
        ("de", "de", "Mavi gömlekli bir adam yeşil kapıyı açıp eve giriyor ve gülüyor.", True),
        ("en", "en", "Ajax, Feyenoord, Bayern Munich, Juventus, Real Madrid, Porto.", False),
        (
            "en",
            "en",
            "Spaghetti carbonara, lasagne, tiramisu, espresso, cappuccino, ciabatta, gelato, panna cotta.",
            False,
        ),
        ("en", "en", "Boy kicks ball, girl catches ball, dog barks loudly nearby.", False),
        ("en", "en", "Kaksi lasta leikkii pallolla.", False),
    ],
)
def test_language_is_told_by_script_by_little_words_and_by_the_detector(
    asked: str, language: str, text: str, is_wrong: bool
) -> None:
    assert ("wrong_language" in flags_of(Said(text=text, language=language))) is is_wrong


def test_sentences_of_many_languages_are_no_english_and_never_wrong_in_their_own() -> None:
    lines = (DATA / "languages.tsv").read_text(encoding="utf-8").splitlines()
    sentences = [(language, text) for language, text in (line.split("\t") for line in lines)]
    assert len({language for language, _ in sentences}) == 19
    found = [language for language, text in sentences if "wrong_language" in flags_of(Said(text=text, language="en"))]
    assert len(found) >= 30  # the little words alone find 23
    own = [text for language, text in sentences if "wrong_language" in flags_of(Said(text=text, language=language))]
    assert own == []


@pytest.mark.parametrize("num_words", [1, 2, 3, 4])
def test_short_texts_are_never_wrong_by_their_words(num_words: int) -> None:
    for line in (DATA / "languages.tsv").read_text(encoding="utf-8").splitlines():
        short = " ".join(line.split("\t")[1].split()[:num_words])
        assert "wrong_language" not in flags_of(Said(text=short, language="en")), short


@pytest.mark.parametrize(
    ("text", "language", "stripped"),
    [
        ("The video shows a dog running.", "en", "A dog running."),
        ("In this video, we can see two cats.", "en", "Two cats."),
        ("Sure! Here is a caption: The clip depicts a red bus.", "en", "A red bus."),
        ("This is a video of a parrot.", "en", "A parrot."),
        ("The video shows that the shop is closed.", "en", "The shop is closed."),
        ("A dog runs.", "en", "A dog runs."),
        ("The video shows.", "en", "The video shows."),
        ("The video artist stands by a wall.", "en", "The video artist stands by a wall."),
        ("  the scene changes. ", "en", "  the scene changes. "),
        ("视频中，一个男孩在骑车。", "zh", "一个男孩在骑车。"),
        ("这段视频展示了一只猫。", "zh", "一只猫。"),
        ("好的，以下是对视频的描述：一只猫在睡觉。", "zh", "一只猫在睡觉。"),
        ("一只猫在睡觉。", "zh", "一只猫在睡觉。"),
    ],
)
def test_openings_are_stripped_and_nothing_else(text: str, language: str, stripped: str) -> None:
    assert strip_opening(text, language) == stripped
    assert strip_opening(stripped, language) == stripped


def test_a_stripped_caption_has_no_prefix() -> None:
    for case in CASES:
        if case.flags == ("prefix",):
            text = strip_opening(case.said.text, case.said.language)
            assert "prefix" not in flags_of(replace(case.said, text=text)), text


def test_thresholds_are_used() -> None:
    said = Said(text="A dog runs very very very very very fast.")
    assert flags_of(said) == ("repetitive",)
    assert flags_of(said, Thresholds(same_word_run=6)) == ()
    assert flags_of(said, Thresholds(same_word_run=6, caption_words=12)) == ("short",)
    with pytest.raises(ValueError, match="same_word_run = 2"):
        Thresholds(same_word_run=2)


# --- duplicates


def test_a_text_of_many_clips_is_a_duplicate() -> None:
    repeats = Repeats()
    text = "A man in a dark suit speaks into a microphone in front of a blue wall."
    for number in range(4):
        repeats.add(f"clip {number}", text)
        repeats.add(f"clip {number}", text.upper())
    assert not repeats.is_duplicate(text)
    repeats.add("clip 4", "  " + text)
    assert repeats.is_duplicate(text)
    assert not repeats.is_duplicate("A man in a dark suit.")


def test_a_short_text_may_be_true_of_some_clips_of_a_large_run() -> None:
    few, many = Repeats(), Repeats()
    for number in range(6):
        few.add(f"clip {number}", "A man talks to the camera.")
    for number in range(1000):
        many.add(f"clip {number}", "A man talks to the camera." if number < 6 else f"Number {number} is held up.")
    assert few.is_duplicate("A man talks to the camera.")
    assert not many.is_duplicate("A man talks to the camera.")


def test_one_clip_that_is_asked_often_is_no_duplicate() -> None:
    repeats = Repeats()
    for _ in range(100):
        repeats.add("clip", "A woman in a green coat feeds the swans at the edge of the frozen lake.")
    assert not repeats.is_duplicate("A woman in a green coat feeds the swans at the edge of the frozen lake.")


def test_the_order_of_the_run_does_not_matter() -> None:
    rows = [
        (f"clip {n % 7}", f"A boy with {n % 3} red kites runs over a hill behind the old farm house.")
        for n in range(60)
    ]
    forward, backward = Repeats(), Repeats()
    for row in rows:
        forward.add(*row)
    for row in reversed(rows):
        backward.add(*row)
    assert [forward.is_duplicate(text) for _, text in rows] == [backward.is_duplicate(text) for _, text in rows]


# --- any text at all

_ANY = st.text(max_size=300)


@settings(deadline=None, max_examples=150)
@given(_ANY, _ANY, _ANY, st.sampled_from(["en", "zh", "fr", "xx", ""]), st.sampled_from(["caption", "qa"]))
def test_any_text_gets_known_flags_and_can_be_stripped(
    text: str, asked: str, spoken: str, language: str, task: str
) -> None:
    said = Said(
        text=text, question=asked, subtitles=spoken, language=language, task="qa" if task == "qa" else "caption"
    )
    flags = flags_of(said)
    assert list(flags) == [flag for flag in FLAGS if flag in flags]
    assert strip_opening(text, language) == text or strip_opening(text, language).strip()
    Repeats().add(asked, text)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(CASES), st.text(" \n\t\r\u3000\u00a0", max_size=4), st.text(" \n\t\r\u3000\u00a0", max_size=4))
def test_space_around_an_answer_does_not_matter(case: Case, before: str, after: str) -> None:
    assert flags_of(replace(case.said, text=before + case.said.text + after)) == flags_of(case.said)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(LONG_GOOD), st.data())
def test_a_loop_at_the_end_of_a_good_caption_is_seen(said: Said, data: st.DataObject) -> None:
    units = list(said.text) if said.language == "zh" else [f" {word}" for word in said.text.split()]
    start = data.draw(st.integers(0, len(units) - 1))
    end = data.draw(st.integers(start + 1, min(len(units), start + 12)))
    loop = "".join(units[start:end])
    if any(map(str.isalnum, loop)):
        assert "repetitive" in flags_of(replace(said, text=said.text + loop * 6))


@settings(deadline=None, max_examples=100)
@given(
    st.sampled_from(LONG_GOOD),
    st.sampled_from(["<Img>", "[/INST]", "</s>", "<|im_end|>", "### Instruction:"]),
    st.data(),
)
def test_a_template_mark_anywhere_in_a_good_caption_is_seen(said: Said, mark: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(said.text)))
    assert "leak" in flags_of(replace(said, text=said.text[:at] + mark + said.text[at:]))


@pytest.mark.parametrize(
    "text",
    ["a" * 20_000, "a@" * 10_000, "ab " * 10_000, "我" * 10_000, '"' * 20_000, "(" * 20_000, "a.b-" * 5_000,
     "The " * 5_000 + "video", "'a " * 5_000, "<" * 20_000, "a-" * 10_000, "i " * 10_000, "a" * 40 + "b" * 20_000,
     "".join(chr(97 + n * n % 26) for n in range(20_000)), "x, " * 8_000, "请" * 10_000, "Ġ" * 10_000],
)  # fmt: skip
def test_no_text_takes_long(text: str) -> None:
    started = time.process_time()
    flags_of(Said(text=text, question=text[:2000], subtitles=text))
    strip_opening(text, "en")
    assert time.process_time() - started < 2.0
