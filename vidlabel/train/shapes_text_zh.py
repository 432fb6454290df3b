"""The same truths in Chinese: captions of three lengths, and questions with their answers. See `shapes_text`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vidlabel.train.shapes_asking import chinese_instruction
from vidlabel.train.shapes_draws import (
    ANY_KIND,
    Asked,
    Asks,
    Kind,
    Style,
    draw_question,
    draw_style,
    draw_supposed,
    draw_thing,
    draw_words,
    is_there_throughout,
    shape_tells,
)
from vidlabel.train.shapes_text import place
from vidlabel.train.shapes_world import Backdrop, Motion, Scene, Shape, Size, Thing

if TYPE_CHECKING:
    import numpy as np

COLOUR_WORDS = {
    "red": "红色",
    "green": "绿色",
    "blue": "蓝色",
    "yellow": "黄色",
    "purple": "紫色",
    "orange": "橙色",
    "white": "白色",
}
SHAPE_WORDS: dict[Shape, str] = {"circle": "圆形", "square": "正方形", "triangle": "三角形", "star": "星形"}
DOES: dict[Motion, str] = {
    "left": "向左移动",
    "right": "向右移动",
    "up": "向上移动",
    "down": "向下移动",
    "still": "静止不动",
    "appears": "出现了",
    "disappears": "消失了",
}
_BACKDROPS: dict[Backdrop, str] = {"dark": "深色", "grey": "灰色", "light": "浅色"}
_SIZES: dict[Size, str] = {"small": "小", "large": "大"}
_NUMBERS = {1: "一个", 2: "两个"}


def caption(scene: Scene, style: Style) -> str:
    """Every thing with its colour, shape and motion, and what the voice says if it says anything."""
    spoken = spoken_sentence(scene) if scene.cues else ""
    if style == "short":
        parts = [f"{_name(thing)}{DOES[thing.motion]}" for thing in scene.things]
        return "，".join([*parts, *([spoken.removesuffix("。")] if spoken else [])]) + "。"
    if style == "detailed":
        first = f"{_BACKDROPS[scene.backdrop]}背景上有{_NUMBERS[len(scene.things)]}图形。"
        things = [f"一个{_SIZES[t.size]}的{_name(t)}{DOES[t.motion]}。" for t in scene.things]
        return "".join([first, *things, spoken])
    return "，".join(f"一个{_name(thing)}{DOES[thing.motion]}" for thing in scene.things) + "。" + spoken


def spoken_sentence(scene: Scene) -> str:
    return "画外音说" + "，然后说".join(f"“{cue.text}”" for cue in scene.cues) + "。"


def captions(scene: Scene, random: np.random.Generator) -> Asked:
    """An instruction to describe, in some wording, and the caption of the length that it asks for."""
    style = draw_style(random)
    return chinese_instruction(style, random), caption(scene, style)


def question_of_kind(
    scene: Scene, random: np.random.Generator, kinds: tuple[Kind, ...] = ANY_KIND
) -> tuple[Kind, Asked]:
    """One question about the scene, of a kind drawn at random, and its answer."""
    return draw_question(_ASKS, kinds, scene, random)


def track_question(scene: Scene, shares: Sequence[float], random: np.random.Generator) -> Asked:
    """Where something is at each of these shares of the scene, in tenths of the frame's width and height."""
    thing, what = _the(scene, random)
    asked = draw_words(random, f"跟踪{what}。", f"{what}在每一帧里的位置是什么？")
    return asked, "，".join(_place(scene, thing, share) for share in shares) + "。"


def still_caption(scene: Scene, share: float) -> str:
    """What one frame shows, and where."""
    shown = [thing for thing in scene.things if thing.is_shown(share)]
    named = [f"一个{_name(thing)}在{_place(scene, thing, share)}" for thing in shown]
    return ("，".join(named) or "什么也没有") + "。"


def _place(scene: Scene, thing: Thing, share: float) -> str:
    return place(scene, thing, share) if thing.is_shown(share) else "不在"


def _colour(scene: Scene, random: np.random.Generator) -> Asked:
    thing = draw_thing(scene, random)
    what = SHAPE_WORDS[thing.shape] if shape_tells(scene, thing) or random.random() < 0.5 else "图形"
    asked = draw_words(random, f"{what}是什么颜色？", f"{what}的颜色是什么？", f"{what}是哪种颜色的？")
    same = [COLOUR_WORDS[t.colour] for t in scene.things if what in ("图形", SHAPE_WORDS[t.shape])]
    return asked, f"是{same[0]}。" if len(same) == 1 else f"一个是{same[0]}，一个是{same[1]}。"


def _shape(scene: Scene, random: np.random.Generator) -> Asked:
    thing = draw_thing(scene, random)
    what = f"{COLOUR_WORDS[thing.colour]}的{draw_words(random, '东西', '物体', '图形')}"
    return draw_words(
        random, f"{what}是什么形状？", f"{what}的形状是什么？", f"{what}是什么？"
    ), f"是{SHAPE_WORDS[thing.shape]}。"


def _motion(scene: Scene, random: np.random.Generator) -> Asked:
    thing, what = _the(scene, random)
    asked = draw_words(
        random, f"{what}往哪个方向移动？", f"{what}怎样移动？", f"{what}在做什么？", f"{what}去哪里了？",
        f"{what}移动吗？", f"{what}发生了什么？",
    )  # fmt: skip
    return asked, f"它{DOES[thing.motion]}。"


def _event(scene: Scene, random: np.random.Generator) -> Asked:
    thing, what = _the(scene, random)
    asked = draw_words(
        random, f"{what}是出现还是消失？", f"{what}消失了吗？", f"{what}是后来出现的吗？", f"{what}一直都在吗？"
    )
    return asked, "它一直都在。" if is_there_throughout(thing) else f"它{DOES[thing.motion]}。"


def _count(scene: Scene, random: np.random.Generator) -> Asked:
    asked = draw_words(random, "有几个图形？", "能看到多少个图形？", "图形的数量是多少？", "一共有几个物体？")
    return asked, f"有{_NUMBERS[len(scene.things)]}图形。"


def speech_question(scene: Scene, random: np.random.Generator) -> Asked:
    asked = draw_words(
        random,
        "说了什么？",
        "画外音说了什么？",
        "视频里说了什么话？",
        "你听到了什么？",
        "字幕写了什么？",
        "有人说话吗？",
    )
    return asked, spoken_sentence(scene) if scene.cues else "没有人说话。"


def _backdrop(scene: Scene, random: np.random.Generator) -> Asked:
    asked = draw_words(random, "背景是什么样的？", "背景是深色还是浅色？", "背景看起来怎么样？")
    return asked, f"背景是{_BACKDROPS[scene.backdrop]}的。"


def _size(scene: Scene, random: np.random.Generator) -> Asked:
    thing, what = _the(scene, random)
    return draw_words(
        random, f"{what}有多大？", f"{what}是大还是小？", f"{what}的大小怎样？"
    ), f"它很{_SIZES[thing.size]}。"


def _existence(scene: Scene, random: np.random.Generator) -> Asked:
    colour, shape, is_there = draw_supposed(scene, random)
    name = f"{COLOUR_WORDS[colour]}的{SHAPE_WORDS[shape]}"
    return draw_words(random, "有{}吗？", "能看到{}吗？", "视频里有没有{}？").format(
        name
    ), "有。" if is_there else "没有。"


def _the(scene: Scene, random: np.random.Generator) -> tuple[Thing, str]:
    """A thing, and words that point at it alone."""
    thing = draw_thing(scene, random)
    names = [_name(thing), f"{COLOUR_WORDS[thing.colour]}的{draw_words(random, '图形', '东西')}"]
    names += [SHAPE_WORDS[thing.shape]] if shape_tells(scene, thing) else []
    names += ["图形", "它"] if len(scene.things) == 1 else []
    return thing, draw_words(random, *names)


def _name(thing: Thing) -> str:
    return f"{COLOUR_WORDS[thing.colour]}的{SHAPE_WORDS[thing.shape]}"


_ASKS: Asks = {
    "colour": _colour,
    "shape": _shape,
    "motion": _motion,
    "event": _event,
    "count": _count,
    "speech": speech_question,
    "backdrop": _backdrop,
    "size": _size,
    "existence": _existence,
}
