"""What the voice in a `shapes` scene may say: phrases of common words, English or Chinese, or of words that exist
nowhere."""

from __future__ import annotations

import numpy as np

_TEXT = (
    "hello from the garden good morning thank you very much please come here now we are going home today look "
    "at that big house by river water is cold and clear my friend has a small dog cat bird fish horse tree "
    "flower grass stone road car train boat plane bus bike ship wind rain snow sun moon sky cloud night day "
    "week month year time hour minute music song dance book page letter word name story game ball team school "
    "teacher child mother father brother sister family king queen doctor farmer baker bread milk cheese apple "
    "lemon cake tea coffee salt sugar table chair door window wall floor roof kitchen street market town city "
    "village bridge forest mountain hill lake sea beach island field farm run walk jump sit stand stop start "
    "open close push pull give take bring find keep call talk speak listen hear see watch read write draw "
    "sing play work sleep wake eat drink cook wash clean build break buy sell send wait stay leave new old "
    "young long short high low fast slow warm hot dry wet soft hard quiet loud bright happy sad kind brave "
    "busy one two three four five six seven eight nine ten first last next never always again soon later "
    "before after under over near far inside outside behind between with without yes no maybe what where who "
    "why when how"
)
_CHINESE_TEXT = (
    "你好 早上 谢谢 请来 我们 回家 今天 明天 看见 大房子 河边 水 很冷 朋友 小狗 小猫 "
    "鸟 鱼 马 树 花 草 石头 路 车 火车 飞机 船 风 雨 雪 太阳 月亮 天空 云 晚上 "
    "白天 星期 一年 时间 音乐 唱歌 跳舞 书 信 名字 故事 学校 老师 孩子 妈妈 爸爸 哥哥 "
    "姐姐 家人 医生 面包 牛奶 苹果 蛋糕 茶 咖啡 盐 糖 桌子 椅子 门 窗户 墙 厨房 街上 "
    "市场 城市 村子 桥 森林 山 湖 海 走路 跑步 坐下 站起来 停 开始 打开 关上 听说 "
    "读书 写字 画画 工作 睡觉 吃饭 喝水 买 卖 等 新的 旧的 长 短 快 慢 热 干净 安静 "
    "高兴 难过 一 二 三 四 五 六 七 八 九 十 以前 以后 里面 外面 可以 不行 也许 "
    "什么 哪里 为什么 怎么"
)
WORDS = tuple(_TEXT.split())
CHINESE_WORDS = tuple(_CHINESE_TEXT.split())
_STARTS = (
    "b",
    "br",
    "c",
    "d",
    "dr",
    "f",
    "g",
    "gl",
    "h",
    "j",
    "k",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "r",
    "s",
    "st",
    "t",
    "v",
    "z",
)
_VOWELS = ("a", "e", "i", "o", "u", "ea", "oo", "ai")
_ENDS = ("", "", "l", "m", "n", "r", "s", "t", "x", "nd", "rk")
_SEEN_WORDS = ("red", "green", "blue", "yellow", "white", "circle", "square", "star", "left", "right", "up", "down")


def chinese_phrase(random: np.random.Generator) -> str:
    """One to four words, written together."""
    return "".join(CHINESE_WORDS[i] for i in random.integers(len(CHINESE_WORDS), size=int(random.integers(1, 5))))


def spoken_phrase(random: np.random.Generator, *, wild: bool = False) -> str:
    """One to four words. Wild phrases may be longer, and hold words nobody has seen, words of the picture, capitals and
    punctuation."""
    longest = 8 if wild and random.random() < 0.4 else 4
    words = [WORDS[i] for i in random.integers(len(WORDS), size=int(random.integers(1, longest + 1)))]
    if not wild:
        return " ".join(words)
    for position in range(len(words)):
        lot = random.random()
        if lot < 0.35:
            words[position] = _made_up(random)
        elif lot < 0.45:
            words[position] = str(random.choice(_SEEN_WORDS))
    phrase = " ".join(words)
    if random.random() < 0.4:
        phrase = phrase[0].upper() + phrase[1:]
    return phrase + str(random.choice(["", "", ".", "!", "?"]))


def _made_up(random: np.random.Generator) -> str:
    parts = (str(random.choice(part)) for _ in range(int(random.integers(1, 4))) for part in (_STARTS, _VOWELS))
    return "".join(parts) + str(random.choice(_ENDS))
