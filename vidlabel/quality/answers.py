"""Whether an answer answers its question, judged by form alone and only where that is sure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from vidlabel.quality.thresholds import Thresholds
from vidlabel.quality.wording import says_question
from vidlabel.quality.words import Reading, is_spaceless, question_words, word_set

Asked = Literal["number", "colour", "yes or no", "open"]

_NUMBERS = word_set(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred hundreds thousand thousands "
    "million dozen dozens no none nobody nothing once twice thrice several many few some couple pair both "
    "single multiple numerous various only never half lot lots number countless handful trio duo each every all bunch "
    "crowd plenty loads tons quartet majority most"
)
_SINGLE = re.compile(r"^(?:(?:just|only|there(?:'s| is|'s only| is only)|it is|it's) )?(?:an?|the same)\b")
_COLOURS = (
    "red green blue yellow purple orange white black grey gray brown pink violet beige tan gold golden silver "
    "cyan magenta teal navy maroon cream ivory crimson scarlet olive lavender lilac indigo khaki bronze copper amber "
    "blond blonde chestnut hazel ginger auburn turquoise aqua mint rose ruby emerald peach coral burgundy charcoal "
    "colour color colours colors coloured colored colourful colorful colourless multicolored multicoloured dark light "
    "pale bright clear transparent striped rainbow camouflage checkered plaid neon pastel metallic wooden tabby calico "
    "bay spotted dotted patterned monochrome same different mustard rust sand salmon wine caramel sepia"
)
COLOUR_WORDS = frozenset(_COLOURS.split())
_COLOUR_PART = re.compile("|".join(sorted({word for word in COLOUR_WORDS if len(word) > 3} | {"red", "grey", "tan"})))
_BEFORE_COLOUR = re.compile(r"^(?:it|they|he|she|that|the \w+)?\s*(?:is|are|was|were|looks?|has)?\s*(?:(?:an?|the) )?")
_ZH_NUMBER = re.compile("[0-9０-９一二两三四五六七八九十百千万零几多单双半没无]")
_ZH_COLOUR = re.compile("[色红橙黄绿青蓝紫黑白灰棕粉褐金银彩透]")
_ZH_YES = re.compile("[是不没有无对否会能可嗯未]")
_ZH_POINTING = re.compile("[他她它这那]")
_ZH_BARE = re.compile(r"^(?:是的?|不是的?|对的?|不对|没有|否|有的)[。，,.！!]?$")
_ZH_HOW_MANY = re.compile(
    r"多少[个只人条张辆次种名位件块本支把棵头匹盏艘]|几[个只人条张辆次种名位件块本支把棵头匹盏艘]"
)
_ZH_COLOUR_ASKED = re.compile("(?:什么|哪种|哪些|哪几种)颜色")
_ZH_WH = re.compile("什么|谁|哪|为何|怎么|怎样")

_AUXILIARIES = word_set(
    "is are was were am do does did can could has have had will would should isn't aren't doesn't don't didn't"
)
_WH = word_set("what who whom whose where when why how which")
_BEFORE_WH = word_set("in at on by with for from to of")  # "in what order"
_COLOUR_ASKED = word_set("colour color colours colors")
_YES_NO = word_set(
    "yes no not yeah yep nope never nobody none nothing correct incorrect true false maybe probably possibly likely "
    "seems appears indeed neither either only both without isn't aren't doesn't don't didn't wasn't weren't can't "
    "cannot hasn't haven't couldn't unclear sometimes partly barely hardly always still"
)
_POINTING = word_set("he she it they there this that these those someone everyone one both all some i")
_SPEECH = word_set("speak speaks speaking say says said saying talk talks talking voice spoken sing sings")
_BARE_YES = re.compile(r"^(?:yes|no|yeah|nope)(?:[,.!;]|$)")
_EXISTENCE = word_set("anybody anyone anything any somebody someone something")
_ARTICLES = word_set("a an the")
_LEAST_WORDS = 4
_DULL = word_set("the a an is are was were do does did in on at of to with and or any there")


def says_back(reading: Reading, question: str, thresholds: Thresholds) -> bool:
    """The question stands in the answer, or the answer is the question in nearly the same words."""
    if says_question(reading, question, thresholds) and (
        reading.words[0] == question_words(question)[0] or "question" in reading.vocabulary or "?" in reading.plain
    ):  # otherwise "it cannot be seen what is inside the bag" would be an echo
        return True
    if not reading.text.endswith(("?", "？")):
        return False
    asked = set(question_words(question))
    return len(asked & reading.vocabulary) >= thresholds.echo_share * len(asked | reading.vocabulary) > 0


@lru_cache(maxsize=4096)  # a run has few questions and many answers to each
def asks_for(question: str) -> Asked | None:
    """What a question wants, where its form is one that `ignores` knows; English and Chinese."""
    asked = question_words(question)
    if not asked:
        return None
    if is_spaceless(question):
        return _chinese_asks_for(question)
    if asked[0] in _AUXILIARIES:
        return "yes or no"
    if asked[0] in _BEFORE_WH and len(asked) > 1:
        asked = asked[1:]
    if asked[0] not in _WH:
        return None
    if _asks_how_many(asked):
        return "number"
    if asked[0] in ("what", "which") and not _COLOUR_ASKED.isdisjoint(asked[1:2]):
        return "colour"
    return "open"


def ignores(reading: Reading, question: str) -> bool:
    if not question_words(question):
        return False
    if _is_question(reading):
        return True
    wanted = asks_for(question)
    if wanted is None or reading.spaceless != is_spaceless(question):
        return False  # in another language than the question: `wrong_language` says so
    if reading.spaceless:
        return _chinese_ignores(reading.plain, question, wanted)
    if wanted == "yes or no":
        return _passes_by(reading, question_words(question))
    if _BARE_YES.match(reading.lower):
        return True
    if wanted == "number":
        return _has_no_number(reading)
    return wanted == "colour" and _has_no_colour(reading)


def _is_question(reading: Reading) -> bool:
    """A question and nothing else."""
    return reading.plain.endswith(("?", "？")) and not re.search(r"[.!?。！？]", reading.plain[:-1])


def _asks_how_many(asked: tuple[str, ...]) -> bool:
    return asked[:2] == ("how", "many") or (
        asked[:3] in (("what", "number", "of"), ("what", "is", "the"))
        and (asked[:2] == ("what", "number") or asked[3:5] == ("number", "of"))
    )


def _has_no_number(reading: Reading) -> bool:
    return (
        reading.vocabulary.isdisjoint(_NUMBERS)
        and not any(char.isdigit() for char in reading.text)
        and not _SINGLE.match(reading.lower)
        and not any("-" in part and part.split("-")[0] in _NUMBERS for part in reading.lower.split())
    )


def _has_no_colour(reading: Reading) -> bool:
    """A name of two or three words may be a colour that is not in the list: "a deep plum shade"."""
    if not reading.vocabulary.isdisjoint(COLOUR_WORDS) or _COLOUR_PART.search(reading.lower):
        return False
    rest = _BEFORE_COLOUR.sub("", reading.lower).split()
    return len(rest) > 3 or any(word.rstrip(".,!").endswith("ing") for word in rest)


def _passes_by(reading: Reading, asked: tuple[str, ...]) -> bool:
    """Yes or no was asked, and the answer has neither, points at nothing, and shares no word with the question."""
    if "or" in asked:
        return reading.lower.rstrip(".! ") in ("yes", "no")
    words = reading.vocabulary
    if len(reading.words) < _LEAST_WORDS or (not _EXISTENCE.isdisjoint(asked) and words & _ARTICLES):
        return False  # "Sunny and warm." may be meant as yes; "A red truck." says that there is one
    if not words.isdisjoint(_YES_NO) or not words.isdisjoint(_POINTING):
        return False
    if not _SPEECH.isdisjoint(asked) and not words.isdisjoint(_SPEECH):
        return False
    stems = {word[:4] for word in asked if word not in _DULL}
    return not any(word[:4] in stems for word in words if word not in _DULL)


def _chinese_asks_for(question: str) -> Asked | None:
    if _ZH_COLOUR_ASKED.search(question):
        return "colour"
    if _ZH_HOW_MANY.search(question):
        return "number"
    if _ZH_WH.search(question):
        return "open"
    return "yes or no" if question.rstrip("？? 。").endswith("吗") else None


def _chinese_ignores(plain: str, question: str, wanted: Asked) -> bool:
    if wanted == "colour":
        return not _ZH_COLOUR.search(plain)
    if wanted == "number":
        return not _ZH_NUMBER.search(plain)
    if wanted == "open":
        return _ZH_BARE.match(plain) is not None
    return _chinese_passes_by(plain, question)


def _chinese_passes_by(plain: str, question: str) -> bool:
    if len(plain) <= _LEAST_WORDS or _ZH_YES.search(plain) or _ZH_POINTING.search(plain):
        return False
    return not (set(plain) & set(question)) - set("的了在着吗，。？?")
