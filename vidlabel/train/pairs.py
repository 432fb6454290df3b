"""A folder of pairs: a picture or a video, and beside it a text file of the same name that holds its caption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from vidlabel.data import Video, stable_id
from vidlabel.errors import InputError
from vidlabel.folders import find_files, find_videos
from vidlabel.paths import Places, shown
from vidlabel.remote import is_url
from vidlabel.train.examples import NO_TEXT, Example, ExampleTally, language_of

IMAGES = frozenset(["bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp"])


def read_pairs(folder: str, places: Places, tally: ExampleTally) -> Iterator[Example]:
    """Sorted by name. Where a picture and a video share a text, the video has it: the picture is its cover."""
    if is_url(folder):
        raise InputError(f"{folder}: pictures and videos with texts beside them are read from a local folder")
    videos = find_videos(folder)
    stems = {_stem(name) for name in videos}
    images = {name for name in find_files(folder, IMAGES) if _stem(name) not in stems}
    texts = set(find_files(folder, frozenset({"txt"})))
    found = False
    for name in sorted([*videos, *images]):
        text = f"{_stem(name)}.txt"
        if text not in texts:
            tally.leave_out("have no .txt file of their name beside them", shown(f"{folder}/{name}"))
            continue
        found = True
        caption = _read(f"{folder}/{text}")
        if not caption:
            tally.leave_out(NO_TEXT, shown(f"{folder}/{text}"))
            continue
        yield _example(folder, name, caption, places, is_image=name in images)
    if not found:
        raise InputError(f"{folder}: no pair in it; a pair is a picture or a video and its caption, as a.mp4 and a.txt")


def _example(folder: str, name: str, caption: str, places: Places, *, is_image: bool) -> Example:
    location = places.locate(f"{folder}/{name}", base=places.absolute("."), where=(f"{folder}/{name}", 0))
    identity = places.below_root(location) or location
    video = None if is_image else Video(video_id=stable_id(identity), path=identity, location=location)
    return Example(
        example_id=stable_id(identity, caption),
        video=video,
        image=location if is_image else None,
        question=None,
        answer=caption,
        language=language_of(caption),
    )


def _stem(name: str) -> str:
    """Without the extension alone: other dots belong to the name."""
    stem, dot, _ = name.rpartition(".")
    return stem if dot and "/" not in name[len(stem) :] else name


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(f"{shown(file)}: not UTF-8; save the file as UTF-8") from error
    except OSError as error:
        raise InputError(f"{shown(file)}: cannot be read: {error.strerror}") from error
