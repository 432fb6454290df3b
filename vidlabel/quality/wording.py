"""Words that no good answer has: pieces of the prompt, and refusals. What stands in quotation marks is left alone."""

from __future__ import annotations

import re

from vidlabel.data import Task
from vidlabel.quality.thresholds import Thresholds
from vidlabel.quality.words import Reading, contains_run, question_words, word_set

_MARKS = (
    "[inst", "inst]", "<img", "</img>", "<cap>", "</cap>", "<imagehere>", "<videohere>", "<image>", "<video>", "<<sys",
    "<</sys", "<s>", "</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<|", "|>", "<start_of_turn>", "<end_of_turn>",
    "###", "{question}", "{instruction}", "{caption}", "{{",
)  # fmt: skip
_ROLE = re.compile(
    r"(?:^|\n|[.!?。！？]\s*)[*\s]*(?:user|assistant|human|system|question|answer|instruction|response|gpt|bot|q|a"
    r"|用户|助手|助理|系统|人类|问题|回答|提问|问|答|指令)\s*(?:\*\*)?\s*[:：]",
    re.IGNORECASE,
)
_SYSTEM = (
    "you are a helpful", "you are an assistant", "you are an ai", "helpful assistant", "the user wants",
    "the user asks", "the user asked", "your task is to", "question asked:",
    "你是一个助手", "你是一个ai", "用户要求", "用户问",
)  # fmt: skip
_ORDERS = word_set("describe summarize summarise explain caption write give tell look watch answer provide")
_ORDER = re.compile(
    r"(?:^|[.!?]\s+)(?:please )?(?:describe|summari[sz]e|explain|caption|write|give|tell me|look (?:closely )?at|watch"
    r"|answer|provide)\b[^.!?]{0,80}\b(?:video|clip|footage|frames|caption|question|every detail|next scene)\b"
)
_ZH_ORDER = re.compile(
    r"请(?:你)?[^。！？，]{0,12}(?:描述|概括|介绍|说明|总结|写)[^。！？，]{0,10}(?:视频|片段|画面|场景|内容|描述|说明)"
)

_REFUSING = word_set(
    "i i'm sorry unable cannot can't couldn't ai impossible unclear unknown unspecified undetermined specified "
    "information determine determined know known knowing possible mention mentioned mentions provided apologies "
    "unfortunately sure evidence details stated idea n provide provides upload context difficult hard clear "
    "insufficient indication clue hint indicate indicates reveal say show not no without applicable explained"
)
_TELL = (
    r"(?:tell|say|see|view|watch|access|hear|determine|know|describe|identify|make out|discern|read|answer|verify"
    r"|confirm|infer|guess|recogni[sz]e|analy[sz]e|interpret|provide|give|offer|help|assist|process|comment|fulfil|complete|open"
    r"|load|play)"
)
_UNABLE = (
    r"(?:cannot|can't|can not|could not|couldn't|won't|will not|(?:am|'m|was) (?:unable|not able) to"
    r"|do not|don't|did not|didn't)(?: (?:actually|directly|really|currently|clearly|reliably))?"
)
_SELF = (
    rf"i(?: {_UNABLE}|'m (?:unable|not able) to) (?:{_TELL}|have (?:access|enough|the|any|an?))\b"
    r"|i(?:'m| am) (?:very |so |really |truly )?(?:sorry|afraid|just an? (?:ai|language)|an? (?:ai|artificial"
    r"|large language|language|text|virtual|chat))\b|i(?:'m| am) (?:only|just) an?\b"
    r"|i have no (?:way|access|ability|means|information|idea|knowledge)|i apologi[sz]e|i would need (?:to see|more)"
)
_REFUSAL = re.compile(
    r"\bas an? (?:ai|artificial|large language|language model|text-based|visual assistant|virtual)\b"
    rf"|(?<!say )(?<!says )(?<!says, )(?<!said )(?<!said, )\b(?:{_SELF})"
    r"|^(?:i'm |i am )?(?:so |very )?sorry[,. ]|^my apologies|^unfortunately, (?:i|the (?:video|clip)|there)\b"
    r"|(?:please|could you|can you) (?:upload|provide|share|attach)\b"
    r"|\bno (?:video|image|clip|frames|footage)(?: (?:was|is|were|are|has been))? (?:provided|attached|given|available)"
    r"|\b(?:it is|it's) (?:not possible|impossible) to (?:tell|determine|say|know|describe|identify)"
    r"|\b(?:isn't|not) possible to (?:tell|determine|say|know|describe|identify)"
    r"|\b(?:video|clip|footage|content|frames?|images?|file)\b[^.,;]{0,30} (?:cannot|can't|could not|couldn't) be"
    r" (?:determined|described|processed|loaded|opened|accessed|viewed|identified|analy[sz]ed)"
)
_UNTOLD = (
    r"(?:specified|mentioned|stated|known|disclosed|revealed|clear|explained|indicated|identified|determined|confirmed)"
)
_SHOWABLE = (  # "The video has no people" is what it shows, "no name" is what it does not tell
    r"(?:\w+ )?(?:people|persons?|humans?|animals?|vehicles?|cars?|speech|speakers?|speaking|spoken|dialogue|narration"
    r"|voices?|words|subtitles|sound|audio|cuts?|movement|motion|colou?rs?|action|change)\b"
)
_NO_ANSWER = re.compile(
    rf"\b(?:we|one|you) {_UNABLE} (?:tell|determine|know|identify|be (?:sure|certain)"
    r"|say (?:who|what|why|where|when|how))"
    rf"|\b(?:video|clip|footage|scene|frames?) (?:gives?|provides?|offers?|contains?|has|have) no\b(?! {_SHOWABLE})"
    r"|\b(?:cannot|can't|can not|could not|couldn't) be (?:determined|identified|answered|known|inferred|told|verified"
    r"|confirmed|established|discerned|made out|(?:seen|heard|read) (?:what|who|where|why|how|whether|clearly))"
    rf"|\b(?:is|are|was|were|it's) (?:not|never) (?:\w+ly )?{_UNTOLD}\b|\b(?:isn't|aren't|wasn't|weren't) {_UNTOLD}\b"
    rf"|^not (?:\w+ly )?(?:{_UNTOLD}|sure|applicable|enough|visible|shown|given|possible)\b"
    r"|\b(?:is|are|it's|remains?) (?:unclear|unknown|unspecified|undetermined|not known)\b"
    r"|^(?:unclear|unknown|unspecified|undetermined|n/a|no idea|impossible to)\b"
    r"|\b(?:video|clip|footage|frames?|scene|images?|question|subtitles?|text|it|they) (?:does not|doesn't|do not|don't"
    r"|did not|didn't|never) (?:\w+ly )?(?:provide|mention|specify|state|give|contain|reveal|indicate|clarify|tell"
    r"|say (?:who|what|why|where|when|how)|(?:show|explain|make clear) (?:who|what|why|where|when|how|enough))"
    r"|\b(?:gives?|offers?|provides?|has|have|contains?|there is|there's|there are|with) (?:no|not enough|insufficient"
    r"|too little) (?:\w+ )?(?:information|indication|mention|clues?|hints?|evidence|context|details)\b"
    r"|^(?:not enough|insufficient|no) (?:information|evidence|context|details|indication|mention)\b"
    r"|\bno (?:way|means) (?:to|of) (?:know|tell|say|see|determin|find)|\bi(?:'m| am) not (?:sure|certain)"
    rf"|^(?:don't know|do not know|{_UNABLE} {_TELL})\b|\bwithout (?:more|further|additional) (?:information|context)"
    r"|\b(?:difficult|hard|not possible|impossible) to (?:tell|determine|say|know|identify|make out|be sure)"
)
_ZH_REFUSAL = re.compile(
    r"^\W*(?:很|非常|十分|真的?)?(?:抱歉|对不起|不好意思|遗憾)"
    r"|(?:作为|身为)(?:一个|一名|一款|一种)?(?:ai|人工智能|大?语言模型|文本|大模型|虚拟)"
    r"|我(?:只?是一?(?:个|名|款)?(?:ai|人工智能|大?语言模型|文本)|(?:暂时|目前|并|也|还|现在|实在|真的)*(?:无法|不能|没法"
    r"|没有办法|没办法|没有能力|看不到|看不清|看不见|听不到|不知道|不清楚|不确定|无从|没有看到任何))"
    r"|请(?:您)?(?:先)?(?:提供|上传)(?:更多|视频|图片|相关)|(?:没有|未)(?:提供|上传|收到)(?:任何)?(?:视频|图片)"
)
_ZH_NO_ANSWER = re.compile(
    r"(?:无法|不能|难以|很难|无从|没法|没办法)(?:准确|直接|完全|从\w{1,8}?)?(?:确定|判断|得知|回答|看出|辨认|知道|看清|识别|确认|推断|了解)"
    r"|(?:没有|未|并未|没)(?:明确|直接|具体|清楚)?(?:地)?(?:提到|提及|说明|提供|交代|给出|指出|透露|显示出?(?:他|她|它|是))"
    r"|^\W*(?:我)?不(?:知道|清楚|确定|详|太清楚)|不得而知|(?<![他她们人])(?:看|听|判断|辨认|分辨)不(?:出|清)|信息不足|尚不清楚"
    r"|没有(?:足够|相关|任何)的?信息|^\W*未知|不明确"
)


_UNSEEN = re.compile(r"\b(?:is|are|was|were) not (visible|shown|given|legible|readable|apparent|evident|audible)\b")


def leaks(reading: Reading, task: Task, question: str, thresholds: Thresholds) -> bool:
    """Text of the prompt: marks, role names, orders, or for captions the instruction itself."""
    lower, plain = reading.lower, reading.plain
    if ("<" in lower or "[" in lower or "#" in lower or "{" in lower or "]" in lower or "|>" in lower) and any(
        mark in lower for mark in _MARKS
    ):
        return True
    if (":" in plain or "：" in plain) and _ROLE.search(plain):
        return True
    if any(text in lower for text in _SYSTEM):
        return True
    if not reading.vocabulary.isdisjoint(_ORDERS) and _ORDER.search(plain.lower()):
        return True
    if reading.spaceless and "请" in plain and _ZH_ORDER.search(plain):
        return True
    return task == "caption" and says_question(reading, question, thresholds)


def says_question(reading: Reading, question: str, thresholds: Thresholds) -> bool:
    """Whether the question or instruction stands in the answer, whatever its punctuation."""
    asked = question_words(question)
    by_character = len(asked) > 0 and not asked[0].isascii()
    enough = thresholds.copied_chars if by_character else thresholds.copied_words
    return len(asked) >= enough and asked[0] in reading.vocabulary and contains_run(reading.words, asked)


def refuses(reading: Reading, task: Task, question: str) -> bool:
    """For answers, also that the video does not tell; a caption may say of somebody that he does not know."""
    if reading.spaceless:
        lower = reading.plain.lower()
        return bool(_ZH_REFUSAL.search(lower) or (task == "qa" and _ZH_NO_ANSWER.search(lower)))
    if reading.vocabulary.isdisjoint(_REFUSING):
        return False
    lower = reading.plain.lower().replace("’", "'").strip()
    if task == "caption":
        return _REFUSAL.search(lower) is not None
    return bool(_REFUSAL.search(lower) or _NO_ANSWER.search(lower) or _is_unseen(lower, question))


def _is_unseen(lower: str, question: str) -> bool:
    """ "It is not visible" is an answer to "Is the cat visible?" and a refusal to "What does it cost?"."""
    match = _UNSEEN.search(lower)
    return match is not None and match[1] not in question_words(question) and "can" not in question_words(question)
