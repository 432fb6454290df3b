"""What Whisper writes where nobody said it: loops, sounds in brackets, and the closing words of the subtitles that it
was taught with (thanks for watching, subtitles by so-and-so), in the languages where that is known.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeVar

from vidlabel.data import Cue
from vidlabel.quality.loops import is_repetitive
from vidlabel.quality.thresholds import DEFAULTS
from vidlabel.quality.words import read, words_of
from vidlabel.speech.activity import Stretch
from vidlabel.speech.whisper import Segment, Transcript, is_sure

LOOP_RUN = 3  # the same words so often in a row are one at most
MAX_COMPRESSION = 2.4  # of a text whose loops are out already; plain speech is below 2
MIN_SPEECH_SECONDS = 0.1  # of voice below what is written down: else it was written into a pause

# alone in a cue, whatever the case and the marks
_STOCK = (
    "thanks for watching",
    "thank you for watching",
    "thank you so much for watching",
    "thank you very much for watching",
    "thank you all for watching",
    "thanks for watching bye",
    "thanks for watching see you next time",
    "thanks for watching and see you next time",
    "thanks for watching and i'll see you in the next video",
    "i'll see you in the next video",
    "see you in the next video",
    "please subscribe",
    "please subscribe to my channel",
    "please subscribe to the channel",
    "please like and subscribe",
    "like and subscribe",
    "don't forget to subscribe",
    "don't forget to like and subscribe",
    "if you enjoyed this video please like and subscribe",
    "untertitelung aufgrund der amara org community",
    "vielen dank fürs zuschauen",
    "vielen dank für's zuschauen",
    "danke fürs zuschauen",
    "bis zum nächsten mal",
    "merci d'avoir regardé cette vidéo",
    "merci d'avoir regardé",
    "n'oubliez pas de vous abonner",
    "gracias por ver el vídeo",
    "gracias por ver el video",
    "gracias por ver",
    "suscríbete al canal",
    "grazie per aver guardato il video",
    "grazie a tutti per la visione",
    "obrigado por assistir",
    "obrigada por assistir",
    "bedankt voor het kijken",
    "dziękuję za uwagę",
    "dzięki za oglądanie",
    "tack för att ni tittade",
    "izlediğiniz için teşekkür ederim",
    "izlediğiniz için teşekkürler",
    "спасибо за просмотр",
    "продолжение следует",
    "подписывайтесь на канал",
    "ご視聴ありがとうございました",
    "ご視聴ありがとうございます",
    "最後までご視聴いただきありがとうございます",
    "チャンネル登録お願いします",
    "チャンネル登録よろしくお願いします",
    "시청해주셔서 감사합니다",
    "시청해 주셔서 감사합니다",
    "구독과 좋아요 부탁드립니다",
    "谢谢观看",
    "谢谢大家观看",
    "谢谢大家的观看",
    "谢谢收看",
    "谢谢大家收看",
    "感谢观看",
    "感谢您的观看",
    "感谢大家观看",
    "感谢收看",
    "感谢您的收看",
    "多谢观看",
    "谢谢您的观看",
    "謝謝觀看",
    "謝謝大家觀看",
    "謝謝收看",
    "謝謝大家收看",
    "感謝觀看",
    "感謝您的觀看",
    "感謝收看",
    "請訂閱我的頻道",
    "请订阅我的频道",
)
# anywhere in a cue: who made the subtitles, and channels whose signatures were learnt by heart
_CREDITS = re.compile(
    r"amara\.?\s?org|otter\.ai|castingwords|dimatorzok|\bqtss\b|zeoranger"
    r"|^(?:sub-?titles?|subtitled|captions?|captioned|closed captioning|transcri(?:bed|ption|pt)|translat(?:ed|ion))"
    r"(?: (?:and|&) \w+)? (?:(?:is |was )?(?:made|provided|created|done) )?by\b"
    r"|^untertitel(?:ung)?[\s:]+(?:von|der|des|im auftrag|:|swr|br|ard|wdr|mdr|ndr)|^copyright wdr"
    r"|^sous-titrage|^sous-titres (?:réalisés|par|faits)|^subtítulos (?:realizados|por|de)|^sottotitoli (?:creati|e|a)"
    r"|^legendas? (?:pela|por)|^ondertite(?:ld|ling)|^tv gelderland|^napisy (?:stworzone|wykonane)|^altyazı"
    r"|^(?:редактор )?субтитр\w*|^корректор|^mbc 뉴스|자막 ?제공"
    r"|^字幕(?:[:：by由制]|志[愿願]者|製作|组|組)|中文字幕[:：志]"
    r"|明镜与点点|明鏡與點點|点点栏目|點點欄目|不吝点赞|不吝點[赞贊讚]|优优独播剧场|優優獨播劇場|yoyo television"
    r"|^(?:作)?[词詞](?:曲)?[\s:：、·]+\S{0,6}$|^作曲[\s:：]"
)
_SOUND = re.compile(r"[\[(（【〔*♪♫].*[\])）】〕*♪♫]\.?|[♪♫\s]*")

Said = TypeVar("Said", Segment, Cue)


def believable(stretch: Stretch, transcript: Transcript) -> list[Segment]:
    """The segments of a stretch that somebody will have said, with their ends."""
    if not is_sure(transcript):
        return []
    segments = without_loops(_within(stretch, segment) for segment in transcript.segments)
    kept = [segment for segment in segments if not is_made_up(segment.text) and _is_voiced(stretch, segment)]
    return [] if _compression(" ".join(segment.text for segment in kept)) > MAX_COMPRESSION else kept


def is_made_up(text: str) -> bool:
    """A text that Whisper writes into silence, a sound in brackets, or a loop."""
    plain = text.strip().lower()
    if _SOUND.fullmatch(plain) or not words_of(plain):
        return True
    return _key(plain) in _STOCK_KEYS or _CREDITS.search(plain) is not None or is_repetitive(read(text), DEFAULTS)


def without_loops(said: Iterable[Said]) -> list[Said]:
    """The same words three times in a row and more are left once."""
    kept: list[Said] = []
    for _, group in groupby(said, key=lambda each: _key(each.text)):
        run: Sequence[Said] = list(group)
        kept += run[:1] if len(run) >= LOOP_RUN else run
    return kept


def _within(stretch: Stretch, segment: Segment) -> Segment:
    """With an end, and inside the stretch: Whisper also names times in the padding behind it."""
    start = min(segment.start_seconds, stretch.seconds)
    end = stretch.seconds if segment.end_seconds is None else min(segment.end_seconds, stretch.seconds)
    return replace(segment, start_seconds=start, end_seconds=end)


def _is_voiced(stretch: Stretch, segment: Segment) -> bool:
    assert segment.end_seconds is not None
    return stretch.speech_seconds(segment.start_seconds, segment.end_seconds) >= MIN_SPEECH_SECONDS


def _key(text: str) -> tuple[str, ...]:
    return tuple(words_of(text))


def _compression(text: str) -> float:
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


_STOCK_KEYS = frozenset(_key(text) for text in _STOCK)
