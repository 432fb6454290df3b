"""Finds the videos in a folder: every folder below it once, in an order that does not depend on the disk.

A file is known by its extension, and by its first bytes where the extension says nothing.
"""

from __future__ import annotations

import heapq
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from vidlabel.errors import InputError
from vidlabel.remote import is_url, list_files

logger = logging.getLogger(__name__)

_VIDEO = """
3g2 3gp asf avi divx f4v flv ivf m1v m2ts m2v m4v mkv mov mp4 mpe mpeg mpg mts mxf nut ogm ogv qt rm rmvb vob webm wmv
wtv y4m
"""
# What stands beside videos and need not be opened; `ts` is in neither list, for it is TypeScript too. The last line:
# files that are not whole yet.
_OTHER = """
aac ac3 aif aiff alac amr ape caf dts flac m4a m4b mid midi mka mp2 mp3 mpa oga opus ra wav wma wv
avif bmp exr gif heic heif ico jpeg jpg jxl png psd svg tga tif tiff webp
ass idx json3 lrc sbv scc srt srv1 srv2 srv3 ssa stl sub sup ttml vtt
c cc cfg conf cpp css csv doc docx go h htm html ini ipynb js json jsonl log md nfo ndjson parquet pdf py rs rst sh tex
toml tsv txt url xls xlsx xml yaml yml
7z a bz2 ckpt db dll exe gz h5 hdf5 npy npz o onnx pickle pkl pt pth pyc rar safetensors so sqlite tar tgz torrent xz
zip zst
aria2 bak crdownload download lock part partial swp temp tmp ytdl
"""
VIDEO_EXTENSIONS = frozenset(_VIDEO.split())
_OTHER_EXTENSIONS = frozenset(_OTHER.split())

_PROBE_BYTES = 4096
_MAGIC = (
    b"\x1a\x45\xdf\xa3",  # EBML: Matroska, WebM
    b"\x00\x00\x01\xba",  # MPEG program stream
    b"\x00\x00\x01\xb3",  # MPEG video
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b".RMF",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01",  # MXF
    b"YUV4MPEG2 ",
    b"DKIF\x00\x00",  # IVF
    b"nut/multimedia container\x00",
)
_NO_VIDEO_BRANDS = (b"M4A ", b"M4B ", b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis", b"jp2 ", b"jxl ", b"crx ")


def find_videos(folder: str) -> list[str]:
    """The videos below `folder` as sorted paths relative to it. Hidden files and folders are left out. In a store
    the extension alone decides: nothing is opened."""
    if is_url(folder):
        return _remote_videos(folder)
    top = folder.rstrip("/") or "/"
    prefix = top if top == "/" else f"{top}/"
    return sorted(path.removeprefix(prefix) for path in _files(top) if _is_video(path))


def _remote_videos(url: str) -> list[str]:
    prefix = f"{url.rstrip('/')}/"
    try:
        names = [found.removeprefix(prefix) for found in list_files(url)]
    except OSError as error:
        raise InputError(f"{url}: cannot be listed: {error.strerror or error}") from error
    hidden = (any(part.startswith(".") for part in name.split("/")) for name in names)
    return [
        name
        for name, is_hidden in zip(names, hidden, strict=True)
        if not is_hidden and Path(name).suffix[1:].lower() in (*VIDEO_EXTENSIONS, "ts")
    ]


def find_files(folder: str, extensions: frozenset[str]) -> list[str]:
    """The files below `folder` with one of these extensions, in lower case, as `find_videos` gives them."""
    top = folder.rstrip("/") or "/"
    prefix = top if top == "/" else f"{top}/"
    return sorted(path.removeprefix(prefix) for path in _files(top) if Path(path).suffix[1:].lower() in extensions)


def find_video_names(folder: str) -> Iterator[str]:
    """As `find_videos`, by extension alone and in the order of the disk: nothing is opened or gathered."""
    top = folder.rstrip("/") or "/"
    prefix = top if top == "/" else f"{top}/"
    return (path.removeprefix(prefix) for path in _files(top) if without_extension(path) != path)


def without_extension(name: str) -> str:
    """The name without the extension of a video, if it has one: other dots belong to the name."""
    stem, _, extension = name.rpartition(".")
    return stem if stem and extension.lower() in VIDEO_EXTENSIONS else name


def _files(top: str) -> Iterator[str]:
    """Every file that can be reached. Links to folders come last: a folder goes by its own name where it has one."""
    try:
        seen = {_identity(top)}
    except OSError as error:
        raise InputError(f"{top}: the folder cannot be listed: {error.strerror}") from error
    folders, links = [top], list[str]()
    while folders:
        path = folders.pop()
        for entry in _listed(path, is_top=path == top):
            if entry.name.startswith("."):
                continue
            if not _leads_to_folder(entry):
                yield entry.path
            elif entry.is_symlink():
                heapq.heappush(links, entry.path)
            elif (identity := _identity(entry.path)) not in seen:
                seen.add(identity)
                folders.append(entry.path)
        while links and not folders:
            link = heapq.heappop(links)
            if (identity := _identity(link)) not in seen:
                seen.add(identity)
                folders.append(link)


def _identity(folder: str) -> tuple[int, int]:
    status = Path(folder).stat()
    return status.st_dev, status.st_ino


def _listed(folder: str, *, is_top: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        if is_top:
            raise InputError(f"{folder}: the folder cannot be listed: {error.strerror}") from error
        # such as lost+found: no reason to stop, but not to be passed over in silence
        logger.warning("%s: the folder cannot be listed: %s; videos in it are left out", folder, error.strerror)
        return []


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself, or into a place that may not be entered: opening it will say so


def _is_video(path: str) -> bool:
    extension = Path(path).suffix[1:].lower()
    if extension in VIDEO_EXTENSIONS:
        return True
    if extension in _OTHER_EXTENSIONS:
        return False
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            return False  # a pipe would be waited for without end
        with Path(path).open("rb") as file:
            return has_video_magic(file.read(_PROBE_BYTES))
    except FileNotFoundError:
        return False  # a link to nothing, or gone meanwhile
    except OSError as error:
        logger.warning("%s: cannot be read: %s; left out, though it may be a video", path, error.strerror)
        return False


def has_video_magic(head: bytes) -> bool:
    """Whether a file that begins like this is of a kind that holds video."""
    if head.startswith(_MAGIC):
        return True
    if head[:4] == b"RIFF":
        return head[8:12] in (b"AVI ", b"AVIX")
    if head[:4] == b"OggS":
        return b"\x80theora" in head or b"BBCD\x00" in head or b"\x01video\x00" in head
    size = int.from_bytes(head[:4], "big")
    match head[4:8]:  # MP4 and QuickTime: the size of the first box, then its kind
        case b"ftyp":
            return head[8:12] not in _NO_VIDEO_BRANDS
        case b"mdat":
            return True
        case b"moov" | b"wide" | b"free" | b"skip" | b"pnot":
            return 8 <= size < 1 << 28  # more, and it is four letters of a text
    return any(_has_sync_bytes(head, first, packet) for first, packet in ((0, 188), (4, 192), (0, 204)))


def _has_sync_bytes(head: bytes, first: int, packet: int) -> bool:
    """MPEG transport streams: 0x47 at the beginning of every packet."""
    marks = head[first::packet]
    return len(marks) >= 5 and marks.count(0x47) == len(marks)
