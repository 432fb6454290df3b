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
    with pytest.raises(InputError, match=r"nonesuch.*caption, caption-detailed, caption-short"):
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
