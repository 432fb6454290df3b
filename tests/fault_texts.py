"""Good answers of every kind, and every fault that an answer can have: for a captioner that misbehaves in a known way.

In templates: {n} a number of the answer's own, {good} its good answer, {asked} what was asked, {heard} the subtitles.
"""

from __future__ import annotations

from vidlabel.data import Task

Kind = tuple[Task, str]  # task and language

HEARD = {
    "en": "please remember to close the garden gate before the neighbour's goats come in again tonight",
    "zh": "今天晚上请大家记得把花园的门关好不要让邻居家的山羊再跑进来",
}
GOOD: dict[Kind, dict[str, str]] = {  # by pool
    ("caption", "en"): {"caption": "A man in a blue shirt with the number {n} opens a green door and walks inside."},
    ("caption", "zh"): {"caption": "一位穿着{n}号蓝色球衣的男人打开绿色的门，走进屋里。"},
    ("qa", "en"): {
        "qa-what": "A boy kicks the ball with the number {n} over the fence.",
        "qa-who": "A girl with the number {n} on her shirt.",
        "qa-where": "In front of the house with the number {n}.",
        "qa-count": "There are {n} of them.",
        "qa-colour": "Dark red, with a white number {n} on it.",
        "qa-order": "First bus {n} stops, then two people get off.",
        "qa-why": "Because train {n} leaves in a minute.",
        "qa-speech": "A man says that room {n} is closed today.",
    },
    ("qa", "zh"): {
        "qa-what": "一个男孩把{n}号球踢过了栅栏。",
        "qa-who": "一位穿{n}号球衣的女孩。",
        "qa-where": "在{n}号房子的前面。",
        "qa-count": "一共有{n}个。",
        "qa-colour": "深红色，上面有白色的数字{n}。",
        "qa-order": "先是{n}路公交车停下，然后两个人下车。",
        "qa-why": "因为{n}次列车马上就要开了。",
        "qa-speech": "一个男人说{n}号房间今天不开放。",
    },
}
_COPIED = {
    "en": "A woman in one red coat leads a small white dog along the beach while the sun goes down.",
    "zh": "一位穿红色外套的女子在日落时分牵着一只白色的小狗沿着海滩慢慢散步。",
}
_REPETITIVE = {
    "en": ("{good} " + "and then he turns to the left " * 6 + ".", "two two two two two two two two {n}."),
    "zh": ("{good}" + "然后他向左转，" * 6 + "停下。", "红色" * 9 + "，一共{n}个。"),
}
_LEAKS = {
    "en": ("[/INST] {good}", "{good} <Img><ImageHere></Img>", "{good} ### Assistant: {good}"),
    "zh": ("[/INST] {good}", "{good}<Img><ImageHere></Img>", "{good}用户：{good}"),
}
_REFUSALS = {
    "en": ("I'm sorry, but I cannot see what is in video {n}.", "As an AI language model, I cannot watch video {n}."),
    "zh": ("抱歉，我无法查看第{n}个视频。", "作为一个人工智能语言模型，我看不到第{n}个视频的内容。"),
}
_OTHER_LANGUAGES = {
    "en": (
        "一个穿着{n}号球衣的红发男孩在草地上踢球。",
        "Der Junge mit der Nummer {n} ist rot und läuft mit dem Ball in das Haus.",
    ),
    "zh": (
        "There are {n} boys in red shirts who run over the grass.",
        "Есть {n} красных мячей, и мальчик бежит за ними.",
    ),
}
_NOISE = {
    "en": (
        "{good} Write to us at clips{n}@freemail.com",
        "{good} Watch more at www.clips{n}.com",
        "{good} Ã©Ã¨Ã¢â‚¬â„¢",
    ),
    "zh": ("{good}请联系 clips{n}@freemail.com", "{good}更多内容请访问 www.clips{n}.com", "{good}ï¼Œçš„ï¼Œäº†"),
}
_CUT = {
    "en": ("{good} The other one turns around and looks at the", "{good} Behind it stands a very", "{good}|length"),
    "zh": ("{good}然后另一个人转过身来，正在", "{good}他的旁边放着一个", "{good}|length"),
}  # `|length`: the words are whole, but the length limit was hit

Faults = dict[str, tuple[str, ...]]  # flag -> texts that must get it


def faults_of(kind: Kind, pool: str) -> Faults:
    """What can be wrong with an answer to a question of this pool."""
    task, language = kind
    faults: Faults = {
        "empty": ("", " \n ", "..."),
        "truncated": _CUT[language],
        "repetitive": _REPETITIVE[language],
        "leak": _LEAKS[language],
        "refusal": _REFUSALS[language],
        "wrong_language": _OTHER_LANGUAGES[language],
        "noise": _NOISE[language],
        "duplicate": (_COPIED[language],),
    }
    if pool != "qa-speech":
        faults["subtitle_copy"] = ("{heard}",)
    return faults | (_caption_faults(language) if task == "caption" else _answer_faults(language, pool))


def _caption_faults(language: str) -> Faults:
    if language == "zh":
        return {"short": ("小狗。",), "prefix": ("视频展示了{good}", "在这个视频中，我们可以看到{good}")}
    return {
        "short": ("A dog.", "Number {n}."),
        "prefix": (
            "The video shows how bus {n} stops at a red light.",
            "In this clip, we can see bus {n} on a bridge.",
        ),
    }


def _answer_faults(language: str, pool: str) -> Faults:
    is_english = language == "en"
    faults: Faults = {
        "prefix": ("Sure! Here is the answer: {good}",) if is_english else ("好的，{good}", "以下是回答：{good}"),
        "echo": ("{asked}", "The question is: {asked}") if is_english else ("{asked}",),
        "ignores": ("Yes.", "No, it is not.") if is_english else ("是的。", "不是。"),
    }
    if pool == "qa-count":
        faults["ignores"] = ("They run over the grass.",) if is_english else ("他们在草地上跑来跑去。",)
    if pool == "qa-colour":
        faults["ignores"] = ("It drives fast over the bridge.",) if is_english else ("它在桥上开得很快。",)
    if pool == "qa-why" and is_english:
        faults["short"] = ("Fun.", "Rain.")
    return faults
