"""What the voice in a `shapes` scene may say: phrases of common words, or of words that exist nowhere."""

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
WORDS = tuple(_TEXT.split())
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
