"""Rubbish in a text: broken encodings, control characters, markup, and addresses that are not part of the scene."""

from __future__ import annotations

import re
import unicodedata

from vidlabel.quality.thresholds import Thresholds
from vidlabel.quality.words import Reading

# ZERO WIDTH JOINER and the marks of writing direction belong into some texts; private characters and halves of
# surrogate pairs into none
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2060\ufeff\ufffe\uffff\ud800-\udfff\ue000-\uf8ff]")
_BROKEN = re.compile(  # UTF-8 that was read as Latin-1 or GBK, and the pieces of byte-level tokenizers
    "\ufffd|[ÃÂ][\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œžŸ]|â[€\x80-\x9f]|[à-ï][\x80-\x9f¡-¿€‚ƒ„†‡ˆ‰Š‹Œ•˜™š›œžŸ][\x80-\xbf€‚-„†‡ˆ‰Š‹Œ‘-•–—˜™š›œžŸ]|锟斤拷|锟斤|烫烫烫|屯屯屯|\u2581|Ċ"
)
_MARKUP = re.compile(
    r"<0x[0-9a-f]{2}>|&(?:amp|lt|gt|quot|nbsp|apos|#\d+|#x[0-9a-f]+);"
    r"|</?(?:div|p|br|b|i|u|span|a|strong|em|html|body|table|tr|td|li|ul|ol|h[1-6]|font|center|script)\b[^<>]*>",
    re.IGNORECASE,
)
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[nrt](?![a-z]))")
_ADDRESS_PARTS = ("@", "://", "www.", ".com", ".net", ".org", ".cn", ".io", ".tv", ".co.uk")
_ADDRESS = re.compile(
    r"[\w.+-]{1,64}@[\w-]+\.\w[\w.]*|https?://\S+|www\.\w\S*|\b[\w-]{1,64}\.(?:com|net|org|cn|io|tv|co\.uk)\b",
    re.IGNORECASE | re.ASCII,
)
_SHOWN = re.compile(  # an address that can be seen or heard is a part of the scene
    r"\b(?:web ?sites?|web address|url|address|reads?|reading|sign|logo|watermark|banner|label|painted|written|printed"
    r"|screen|displays?|displayed|browser|text|says|billboard|poster|card|e-?mail)\b|网址|网站|写着|印着|显示|水印|屏幕|标志|招牌",
    re.IGNORECASE,
)
_ADVERTISED = re.compile(
    r"\b(?:visit|contact|subscribe|(?:follow|call|e-?mail|(?:write|talk) to) us|check out"
    r"|(?:for|see|watch|read|find) more|download|click)\b"
    r"|访问|联系|关注|下载|点击|更多",
    re.IGNORECASE,
)
_HASHTAG = re.compile(r"(?:^|\s)#\w+")
_MOST_HASHTAGS = 2
_MOST_SPACE_MARKS = 2  # a letter of Maltese, and how byte-level tokenizers write a space


def is_noisy(reading: Reading, question: str, thresholds: Thresholds) -> bool:
    text = reading.text
    if not text.isprintable() and _CONTROL.search(text):
        return True
    if not text.isascii() and (_BROKEN.search(text) or text.count("Ġ") > _MOST_SPACE_MARKS):
        return True
    if ("<" in text or "&" in text) and _MARKUP.search(text):
        return True
    if "\\" in text and _ESCAPE.search(text):
        return True
    if "#" in text and len(_HASHTAG.findall(text)) > _MOST_HASHTAGS:
        return True
    return _mostly_symbols(reading, thresholds) or _has_stray_address(reading, question)


def _mostly_symbols(reading: Reading, thresholds: Thresholds) -> bool:
    text = reading.text
    num_symbols = len(text) - sum(map(len, reading.words)) - text.count(" ")
    most = thresholds.symbol_share * len(text)
    if num_symbols <= most or len(text) < thresholds.symbol_share_chars:
        return False
    if not text.isascii():  # some scripts write their vowels as marks, which are no letters to a regular expression
        num_symbols = sum(not char.isspace() and unicodedata.category(char)[0] in "PSC" for char in text)
    return num_symbols > most


def _has_stray_address(reading: Reading, question: str) -> bool:
    if not any(part in reading.lower for part in _ADDRESS_PARTS):
        return False
    around = _ADDRESS.sub(" ", reading.plain)
    if around == reading.plain:
        return False
    return bool(_ADVERTISED.search(around)) or not (_SHOWN.search(around) or _SHOWN.search(question))
