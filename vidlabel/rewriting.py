"""What the language model is told when it works on text alone, and what of its answer is taken: questions that it
comes up with from a caption, and captions that it condenses or merges, never with facts that were not there."""

from __future__ import annotations

import re
from collections.abc import Sequence

from vidlabel.quality.words import stem, word_set, words_of

_PROPOSE_EN = (
    "Here is a description of a video:\n{caption}\n\nWrite {count} different short questions that somebody who watches "
    "the video could answer. Ask about what is seen, who does what, where, how many, what colour, and in what order. "
    "One question a line, without the answers."
)
_PROPOSE_ZH = (
    "下面是对一段视频的描述：\n{caption}\n\n请写出{count}个不同的简短问题，让看过视频的人可以回答。"
    "问题可以关于画面内容、人物动作、地点、数量、颜色和先后顺序。每行一个问题，不要写答案。"
)
_CONDENSE_EN = (
    "Shorten this description of a video to one or two plain sentences. Keep only what it says and add nothing:\n"
    "{caption}"
)
_CONDENSE_ZH = "请把下面的视频描述压缩成一两句话，只保留其中的内容，不要添加任何信息：\n{caption}"
_MERGE_EN = (
    "Here are several descriptions of one video:\n{caption}\n\nWrite one description that says everything in them "
    "once. Add nothing that they do not say."
)
_MERGE_ZH = (
    "下面是对同一段视频的几种描述：\n{caption}\n\n请把它们合并成一段描述，内容不重复，也不要添加其中没有的信息。"
)

_MARKER = re.compile(r"^\s*(?:[-*•]+|\(?\d{1,2}[.):、]|[Qq](?:uestion)?\s*\d*[.:)])\s*")
_ANSWER_LINE = re.compile(r"^\s*(?:[Aa](?:nswer)?\s*\d*[.:)]|答[案：:])")
_QUESTION_CHARS = (8, 200)  # an English question; shorter or longer is something else
_ZH_QUESTION_CHARS = (4, 60)
_ABOUT_TEXT = re.compile(r"\b(?:description|caption|text above|passage|paragraph)\b|描述|上文", re.IGNORECASE)
_HAN = re.compile("[㐀-䶿一-鿿]")

_FREE = word_set(  # words that say nothing of the world; a rewriting may bring them in
    "a an the and or but while then as with of in on at to from by for into over under near next after before during "
    "is are was were be been being has have had do does did it its he she they his her their him them this that these "
    "those there here who which what where when video clip scene shows shown show seen see can one some also both "
    "another other first second finally later until"
)
_MOST_NEW = 0.1  # of a rewriting's telling words; more, and it says what the caption did not
_ZH_MOST_NEW = 0.15  # of its characters


def propose_prompt(caption: str, count: int, language: str) -> str:
    """Asks for half as many again as are wanted: some will not do."""
    return _pick(language, _PROPOSE_EN, _PROPOSE_ZH).format(caption=caption, count=count + (count + 1) // 2)


def rewrite_prompt(captions: Sequence[str], language: str) -> str:
    """One caption is condensed, several are merged."""
    if len(captions) == 1:
        return _pick(language, _CONDENSE_EN, _CONDENSE_ZH).format(caption=captions[0])
    listed = "\n".join(f"{number}. {caption}" for number, caption in enumerate(captions, start=1))
    return _pick(language, _MERGE_EN, _MERGE_ZH).format(caption=listed)


def read_questions(text: str, language: str, most: int) -> tuple[str, ...]:
    """The questions in what the model wrote, in order, each once: whole lines that end in a question mark and ask
    about the video, not about its description."""
    chinese = language.lower().startswith("zh")
    least, longest = _ZH_QUESTION_CHARS if chinese else _QUESTION_CHARS
    found: dict[str, str] = {}
    for line in text.splitlines():
        question = _MARKER.sub("", line).strip().strip("\"“”'*")
        ends = question.endswith(("?", "？"))
        if not ends or _ANSWER_LINE.match(line) or not least <= len(question) <= longest:
            continue
        if _ABOUT_TEXT.search(question) or bool(_HAN.search(question)) != chinese:
            continue
        if re.search(r"[?？].+[?？]$|[.!] |[。！]", question):
            continue  # two questions in one, or talk before it
        found.setdefault(" ".join(words_of(question)), question)
    return tuple(found.values())[:most]


def adds_facts(captions: Sequence[str], rewritten: str) -> bool:
    """Whether the rewriting says what none of the captions does, judged by its telling words (Chinese: characters)."""
    if not words_of(rewritten):
        return True
    source = " ".join(captions)
    if _HAN.search(rewritten):
        mine = set(_HAN.findall(rewritten))
        return len(mine - set(_HAN.findall(source))) > _ZH_MOST_NEW * len(mine)
    known = {stem(word) for word in words_of(source)}
    telling = [word for word in dict.fromkeys(words_of(rewritten)) if word not in _FREE]
    new = [word for word in telling if stem(word) not in known]
    if any(word.isdecimal() for word in new):
        return True
    return len(new) > _MOST_NEW * len(telling)


def _pick(language: str, english: str, chinese: str) -> str:
    return chinese if language.lower().startswith("zh") else english
