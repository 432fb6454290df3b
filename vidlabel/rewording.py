"""The same question in other words: by what kind of question it is where that is known, else framed in another way.

Used to see whether a model stands by its answer, and to ask again where an answer was no good.
"""

from __future__ import annotations

import re

from vidlabel.data import Question

# of a question that is known by its form; each says the same
_TURNED_EN = (
    (r"what colou?r (?:is|are) (.+?)\?", ("Which colour does one see on {0}?", "Name the colour of {0}.")),
    (
        r"how many (.+?) (?:are|is|can|do|does|appear|appears)\b.*\?",
        ("What is the number of {0}?", "Count the {0}. How many do you get?"),
    ),
    (r"what (?:is|are) (.+?) doing\?", ("Which action do you see {0} perform?", "Say what {0} does.")),
    (r"where (?:is|are) (.+?)\?", ("In what place can one find {0}?", "Name the place of {0}.")),
    (r"who (?:is|are) (.+?)\?", ("Which person or people can be described as {0}?", "Name who is {0}.")),
    (r"why (.+?)\?", ("For what reason {0}?", "What explains this: why {0}?")),
)
_TURNED_ZH = (
    (r"(.+?)是什么颜色的?[？?]", ("{0}的颜色是什么？", "请说出{0}的颜色。")),
    (r"(.*?)有(?:几|多少)(?:个|只|人|条|张|辆|名|位)?(.*?)[？?]", ("请数一数{0}{1}的数量，是多少？",)),
    (r"(.+?)在做什么[？?]", ("{0}正在进行什么活动？", "请说说{0}的动作。")),
    (r"(.+?)在哪里[？?]", ("{0}位于什么地方？",)),
    (r"为什么(.+?)[？?]", ("{0}的原因是什么？",)),
)
# of any question
_FRAMED_EN = (
    "Watch the clip closely and answer this: {0}",
    "Going by what the video shows: {0}",
    "{0} Answer from what can be seen and heard in the video.",
    "Here is a question about the clip. {0}",
)
_FRAMED_ZH = (
    "请仔细观看视频，回答这个问题：{0}",
    "根据视频内容：{0}",
    "{0}请依据视频中看到和听到的内容回答。",
    "下面是一个关于这段视频的问题。{0}",
)


def reworded(question: Question, count: int) -> tuple[Question, ...]:
    """At most so many; there are never fewer than four. They share the label of `question` by its key."""
    asked = question.original or question.text
    chinese = question.language.lower().startswith("zh")
    texts = [text for text in (*_turned(asked, chinese), *_framed(asked, chinese)) if text != question.text]
    return tuple(
        Question(
            text=text,
            pool=question.pool,
            task=question.task,
            language=question.language,
            extra=question.extra,
            key=question.key or question.text,
            original=asked,
        )
        for text in texts[:count]
    )


def _turned(asked: str, chinese: bool) -> list[str]:
    plain = asked.strip()
    for pattern, forms in _TURNED_ZH if chinese else _TURNED_EN:
        found = re.fullmatch(pattern, plain, re.IGNORECASE)
        if found is not None:
            return [form.format(*found.groups()) for form in forms]
    return []


def _framed(asked: str, chinese: bool) -> list[str]:
    return [form.format(asked.strip()) for form in (_FRAMED_ZH if chinese else _FRAMED_EN)]
