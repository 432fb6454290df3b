"""Openings that speak of the video and not of what is in it: "The video shows ...", "Sure! Here is a caption: ..."."""

from __future__ import annotations

import re

from vidlabel.quality.words import words_of

_VIDEO = (
    r"(?:videos?|clips?|footage|film|movie|scene|images?|pictures?|photo|frames?|recording|animation|gif|sequence"
    r"|segment|montage)(?: (?:clip|footage|recording|frame|sequence|segment))?"
)
_WHICH = (
    r"(?:(?:short|brief|given|provided|above|first|entire|whole|following|same|present|animated|beautiful|time-lapse"
    r"|youtube|music|input|aerial) )*"
)
_SHOWS = (
    r"(?:(?:then|also|mainly|mostly|primarily|simply|clearly|likely|only) )?(?:shows?|depicts?|features?|captures?"
    r"|presents?|displays?|illustrates?|showcases?|portrays?|demonstrates?|documents|highlights|describes|follows"
    r"|contains|includes|consists of|focus(?:es)? on|centers on|revolves around|(?:begins|starts|opens|ends)"
    r"(?: off| out| up)? (?:with|on|by showing|by|in|to)|is (?:about|of|showing)"
    r"|is an? (?:\w+ )?(?:video|clip|tutorial|compilation|montage|recording|demonstration) (?:of|about|on|showing)"
    r"|are (?:of|showing)|(?:appears?|seems?) to (?:show|be (?:of|about)|depict|feature|capture))"
)
_TAIL = (
    r"(?: (?:us|that|how)\b)?"
    r"(?: (?:(?:a|an|the) (?:shot|view|video|scene|image)|footage|images|scenes) (?:of|in which)\b)?"
)
_SEE = (
    r"(?:we|you|one|viewers)(?: (?:can|could|may|first|also|clearly|then))* (?:see|observe|watch|notice"
    r"|are (?:shown|looking at|presented with))(?: that)?\b"
)
_TALK = (
    r"(?:sure|certainly|of course|absolutely|okay|ok|great)(?: thing)?[!,.:]"
    r"|(?:here(?:'s| is| are)|below is|the following is)\b[^:.!?\n]{0,80}:"
)
_CLAUSE_START = r"(?=,|\s+(?:we|you|there|a|an|the|two|three|four|he|she|they|it|some|several|many|people|someone)\b)"
_TALKING = re.compile(rf"\W*(?:{_TALK})", re.IGNORECASE)
_OPENING = re.compile(
    rf"\W*(?:{_TALK}"
    r"|(?:(?:short|detailed|brief|video|final) )*(?:caption|description|summary|title|output)(?:\*\*)?\s*:"
    rf"|(?:the|this|these|our)\s{_WHICH}{_VIDEO}\s{_SHOWS}\b{_TAIL}"
    rf"|(?:this|it) (?:is|appears to be|seems to be) an? {_WHICH}(?:video|clip|scene|image|animation)(?: clip)?"
    r" (?:of|about|showing|where|in which|from)\b"
    rf"|it {_SHOWS}\b{_TAIL}"
    rf"|(?:an? )?{_WHICH}(?:video|clip|gif)(?: clip)? (?:of|showing|about|featuring|that shows|in which)\b"
    rf"|(?:in|throughout|during|at the (?:start|beginning|end) of) (?:the|this|these) {_WHICH}{_VIDEO}{_CLAUSE_START}"
    rf"(?:,?\s{_SEE})?"
    r"|the user (?:has )?(?:uploaded|provided|shared|given|sent) an? (?:video|clip)(?: of| showing| in which)?\b"
    rf"|{_SEE}|the viewers? (?:sees?|(?:is|are) shown|can see)\b|what (?:we|you) see(?: here)? is\b"
    r"|(?:the|this) (?:video|clip|footage) (?:takes place in|is set (?:in|at|on)|(?:is|was) (?:shot|filmed|taken)"
    r" (?:in|at))\b"
    rf"|as (?:we|you) can see(?: (?:in|from) (?:the|this|these) {_WHICH}{_VIDEO})?,"
    rf"|(?:based on|according to|judging by|from) (?:the|these|this) {_WHICH}(?:{_VIDEO}|subtitles|captions"
    r"|information)[^,.]{0,20},)",
    re.IGNORECASE,
)
_ZH_TALK = r"(?:好的|当然可以|当然|没问题)[，,。！!：:]|以下(?:是|为)[^：:，。]{0,24}[：:]"
_ZH_VIDEO = r"(?:短?视频|片段|画面|影片|录像|短片|镜头|图片|图像|场景|影像)(?:片段|画面|内容)?"
_ZH_SHOWS = (
    r"(?:主要|首先|一开始|清晰地|生动地|详细地)*(?:展示|展现|显示|呈现|描绘|描述|讲述|介绍|记录|拍摄|捕捉|讲的是|是关于)"
    r"(?:了|的是|出|着|的)*"
)
_ZH_SEE = r"(?:我们|(?:我们|你|观众)?(?:可以|能够|能|会))(?:清楚地|清晰地)?(?:看到|看见|观察到)(?:的是)?"
_ZH_TALKING = re.compile(rf"\W*(?:{_ZH_TALK})")
_ZH_OPENING = re.compile(
    rf"\W*(?:{_ZH_TALK}|(?:视频|详细|简短)?(?:描述|标题|说明|总结|概述)[：:]"
    rf"|(?:在|从)?(?:这|该|本|此|整)?(?:个|段|部|条|则|张|幅)?{_ZH_VIDEO}(?:"
    rf"(?:中|里|内|上|当中|里面)(?:，|,|{_ZH_SEE}|{_ZH_SHOWS})"
    rf"|的?(?:一开始|开始|开头|开端|最后|结尾)(?:部分)?(?:处|时|，)|{_ZH_SHOWS}|{_ZH_SEE})"
    rf"|这是一?(?:个|段|部|条|则)(?:关于|展示|介绍|记录|描述|(?:短?视频|短片|动画|录像|影片)(?:，|。|：))"
    rf"|{_ZH_SEE})"
)
_JOIN = ' \t\r\n,:;，：；、*"“'
_MOST_OPENINGS = 3  # "Sure! Here is a caption: The video shows a dog."


def has_opening(text: str, language: str, *, talk_only: bool = False) -> bool:
    """With `talk_only` only what a chat assistant says first: an answer may well begin with "The video shows"."""
    if language.lower().startswith("zh"):
        pattern = _ZH_TALKING if talk_only else _ZH_OPENING
    else:
        pattern = _TALKING if talk_only else _OPENING
    return pattern.match(text) is not None


def strip_opening(text: str, language: str) -> str:
    """ "The video shows a dog running." -> "A dog running."; unchanged where there is no such opening or nothing would
    be left."""
    pattern = _ZH_OPENING if language.lower().startswith("zh") else _OPENING
    rest = text.strip()
    for _ in range(_MOST_OPENINGS):
        match = pattern.match(rest)
        if match is None:
            break
        shorter = rest[match.end() :].lstrip(_JOIN)
        if len(words_of(shorter)) < 2:
            break
        rest = shorter[0].upper() + shorter[1:]
    return text if rest == text.strip() else rest
