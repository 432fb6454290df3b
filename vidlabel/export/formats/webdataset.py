"""WebDataset: `00000.tar`, ... of NAME.mp4, NAME.txt and NAME.json. A shard that is right is not made again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from vidlabel.atomic import whole_file, write_whole
from vidlabel.export.clips import ClipTexts, Sample
from vidlabel.export.format import COMMON, Format, Source
from vidlabel.jsonl import json_line

SHARD_CLIPS = 1000
SHARD_CLIPS_WITHOUT_VIDEOS = 10_000
BLOCK = 512
# finetrainers picks one of these at random
FIELDS = {"short": "short_caption", "detailed": "long_caption"}


def _write(source: Source) -> None:
    state = source.folder / ".shards.json"
    known: dict[str, str] = json.loads(state.read_text()) if state.exists() else {}
    shards = {}
    size = SHARD_CLIPS if source.has_videos else SHARD_CLIPS_WITHOUT_VIDEOS
    for number, clips in enumerate(_groups(source.clips(), size)):
        name = f"{number:05d}.tar"
        abouts = {clip.name: _about(clip) for clip in clips}
        fingerprint = hashlib.sha256("\n".join([*source.levels, *abouts.values()]).encode()).hexdigest()
        if known.get(name) != fingerprint or not (source.folder / name).exists():
            if _write_shard(source, name, clips, abouts) < len(clips):
                fingerprint = "incomplete"  # so the next export tries again
            known[name] = fingerprint
            write_whole(state, json.dumps(known))
        shards[name] = known[name]
    for path in source.folder.glob("[0-9]*.tar"):
        if path.name not in shards:  # of an earlier export with more clips
            path.unlink()
    write_whole(state, json.dumps(shards))


def _groups(clips: Iterator[ClipTexts], size: int) -> Iterator[list[ClipTexts]]:
    while group := list(islice(clips, size)):
        yield group


def _write_shard(source: Source, name: str, clips: Iterable[ClipTexts], abouts: Mapping[str, str]) -> int:
    num_clips = 0
    made_for_this: list[Path] = []
    with whole_file(source.folder / name) as beside, beside.open("wb") as file:
        for sample in source.fetched(clips):
            num_clips += 1
            if source.has_videos:
                video = Path(sample.media.location)
                _add_file(file, f"{sample.clip.name}{video.suffix.lower()}", video)
                if source.folder in video.parents:
                    made_for_this.append(video)
            for suffix, data in _members(source, sample, abouts[sample.clip.name]):
                _add(file, f"{sample.clip.name}.{suffix}", data)
        file.write(bytes(2 * BLOCK))
    for video in made_for_this:
        video.unlink(missing_ok=True)  # one clip may be there twice, with two captions
    return num_clips


def _members(source: Source, sample: Sample, about: str) -> Iterator[tuple[str, bytes]]:
    """The parts of a sample beside the video. All samples have the same ones, as the hub's reader demands."""
    for level in source.levels:
        caption = next(text for _, _, text, own in sample.clip.said if own == level)
        yield FIELDS.get(level, f"{level}_caption"), caption.encode()
    yield "txt", sample.clip.captions[0].encode()
    media = sample.media
    facts = (
        f', "num_frames": {media.num_frames}, "width": {media.width}, "height": {media.height}, "fps": {media.fps}}}'
    )
    yield "json", (about[:-2] + facts).encode()


def _about(clip: ClipTexts) -> str:
    about = {
        **clip.columns,
        "clip_id": clip.clip_id,
        "video_path": clip.video_path,
        "start_seconds": clip.start_seconds,
        "end_seconds": clip.end_seconds,
        "captions": [{"level": level, "text": text} for _, _, text, level in clip.said],
    }
    return json_line(about)


def _add(file: BinaryIO, name: str, data: bytes) -> None:
    file.write(_header(name, len(data)))
    file.write(data)
    file.write(bytes(-len(data) % BLOCK))


def _add_file(file: BinaryIO, name: str, path: Path) -> None:
    with path.open("rb") as video:
        size = path.stat().st_size
        file.write(_header(name, size))
        start = file.tell()
        shutil.copyfileobj(video, file, 1 << 20)
        if file.tell() - start != size:
            raise OSError(f"{path} was changed while it was being packed; run the same command again")
    file.write(bytes(-size % BLOCK))


def _header(name: str, size: int) -> bytes:
    """A ustar header. Names are short and plain here, so the library's care for others is not needed."""
    length = b"%011o\0" % size if size < 8**11 else b"\x80" + size.to_bytes(11, "big")
    header = name.encode().ljust(100, b"\0") + b"0000644\0" + 2 * b"0000000\0" + length + b"00000000000\0"
    rest = b"0" + bytes(100) + b"ustar\x0000" + bytes(247)
    checksum = sum(header) + sum(rest) + 8 * ord(" ")
    return header + b"%06o\0 " % checksum + rest


WEBDATASET = Format(
    name="webdataset",
    trainer="WebDataset readers, finetrainers",
    needs="nothing; with --levels short,detailed also NAME.short_caption and NAME.long_caption",
    task="caption",
    write=_write,
    suffixes=COMMON,
    takes_several=True,
    takes_columns=True,
    takes_all_levels=True,
    packs_videos=True,
    frame_multiple=8,  # LTX's rule, which meets the others' too
)
