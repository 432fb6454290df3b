"""What a decoder is allowed to open: one regular file holding one video, nothing that the file points at.

Three independent walls: we open the file ourselves and hand over the open file, the container must be on a list
of formats that keep their media inside, and any further opening that a container asks for is refused.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import NoReturn

from vidlabel.errors import VideoError
from vidlabel.remote import is_url, reads_in_ranges, recent_info
from vidlabel.remote_file import RemoteFile

# Containers (and raw streams) with their media inside. Absent on purpose: hls, dash, concat, sdp, rtsp, image2, lavfi,
# tee, vobsub, imf, webm_dash_manifest and whatever else opens other files or addresses.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,flv,live_flv,asf,ogg,gif,apng,webp_anim,nut,"
    "mxf,rm,dv,wtv,ivf,obu,av1,h264,hevc,vvc,vc1,h263,mjpeg,dirac,yuv4mpegpipe,swf,gxf,nsv,amv,"
    # sound alone: let in so that the reason can be "no video stream"
    "mp3,aac,wav,w64,flac,aiff,au,caf,ac3,eac3,amr,ape,dts,tta,wv"
)
MAX_PIXELS = 1 << 26  # 8192 x 8192: above any camera, below what would fill the memory of a worker
MAX_SIDE = 1 << 14
OPTIONS = {
    "format_whitelist": FORMATS,
    "protocol_whitelist": "",
    "enable_drefs": "0",
    "use_absolute_path": "0",
    "max_pixels": str(MAX_PIXELS),  # for the decoders that look into the file while it is opened
}

_HEADS = {
    b"#EXTM3U": "an HLS playlist",
    b"ffconcat": "a concat script",
    b"<MPD": "a DASH manifest",
    b"<SmoothStreamingMedia": "a Smooth Streaming manifest",
    b"v=0\r\n": "an SDP description",
    b"v=0\n": "an SDP description",
    b"[playlist]": "a playlist",
    b"[Reference]": "a playlist",
    b"<asx": "a playlist",
    b"<smil": "a playlist",
    b"<!DOCTYPE html": "a web page",
    b"<html": "a web page",
    b"%PDF-": "a PDF document",
    b"\xff\xd8\xff": "a still picture",
    b"\x89PNG\r\n": "a still picture",
    b"BM": "a still picture",
    b"PK\x03\x04": "an archive",
}


def open_regular(location: str, *, whole: bool = False) -> io.RawIOBase:
    """The file, open for reading. Never blocks: a FIFO, a device or a folder with a video's name is refused.

    A URL is read in ranges; with `whole`, or where the server cannot do that, from a copy.
    """
    if is_url(location):
        return _open_remote(location, whole=whole)
    try:
        descriptor = os.open(location, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError:
        raise VideoError("no such file") from None
    except OSError as error:
        raise VideoError(f"cannot be opened: {(error.strerror or str(error)).lower()}") from error
    kind = os.fstat(descriptor)
    if not stat.S_ISREG(kind.st_mode):
        os.close(descriptor)
        what = "a folder" if stat.S_ISDIR(kind.st_mode) else "a pipe, socket or device"
        raise VideoError(f"{what}, not a file", permanent=True)
    if kind.st_size == 0:
        os.close(descriptor)
        raise VideoError("the file is empty", permanent=True)
    return io.FileIO(descriptor, "rb")  # nameless: the decoder cannot derive other names from its own


def _open_remote(url: str, *, whole: bool) -> io.RawIOBase:
    from vidlabel.remote_cache import open_copy

    try:
        info = recent_info(url)
        if info.num_bytes == 0:
            raise VideoError("the file is empty", permanent=True)
        return open_copy(url) if whole or not reads_in_ranges(url, info) else RemoteFile(url, info)
    except FileNotFoundError:
        raise VideoError("no such file") from None
    except OSError as error:
        raise VideoError(f"cannot be opened: {error.strerror or error}") from error


def refuse_other_files(url: str, flags: int, options: dict[str, str]) -> NoReturn:
    """Given to the container as its way to open more files."""
    raise PermissionError(errno.EPERM, "a video file may not open other files or addresses", url)


def is_machine_fault(error: Exception) -> bool:
    """True for a disk or network file system that fails: another try may work.

    Those errors come from our own reading; FFmpeg raises the same kinds about what is in a file.
    """
    import av

    return isinstance(error, OSError) and not isinstance(error, av.FFmpegError) and error.errno != errno.EPERM


def why_not_a_video(file: io.RawIOBase) -> str:
    """The reason for a file that is in no format that we take, from how it begins."""
    file.seek(0)
    head = file.read(4096) or b""
    if head[4:8] == b"ftyp":
        return "an mp4 without its index (moov): cut short, or still being written"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    for mark, what in _HEADS.items():
        if head.startswith(mark) or text[:512].lower().startswith(mark.lower()):
            return f"{what}, not a video"
    if text.startswith(b"<?xml") and b"<MPD" in head:
        return "a DASH manifest, not a video"
    return "not a video in a format that is read"


def check_size(width: int, height: int) -> None:
    """Refuses a header that claims absurd dimensions before any memory is taken for them."""
    if width <= 0 or height <= 0:  # also where the decoder found the claim too large by itself
        raise VideoError(f"the picture has no size, or more than {MAX_PIXELS >> 20} megapixels", permanent=True)
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise VideoError(f"the picture is {width}x{height}, more than {MAX_PIXELS >> 20} megapixels", permanent=True)
