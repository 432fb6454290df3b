"""Of clips that are alike one stays, by the rule that is stated; nothing else goes, and no file is lost over it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.label_files import read_back, write_own
from tests.make_features import near, units, write_both, write_embeddings, write_labels
from tests.make_labels import label as made_label
from tests.make_videos import make_clip, write_video
from tests.runs import job, label
from vidlabel.captioner import EchoCaptioner
from vidlabel.cli import app
from vidlabel.config import FrameSettings, Limits
from vidlabel.dedup.hashes import ClipHashes
from vidlabel.frames import sample_frames
from vidlabel.outputs import parse_output
from vidlabel.signals.phash import hash_images

Image = npt.NDArray[np.uint8]


def dedup(*args: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["dedup", *map(str, args)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stderr


def kept(path: Path) -> list[str]:
    return [row["clip_id"] for row in read_back(path)]


def moving_blocks(seed: int, *, width: int = 192, height: int = 108, count: int = 36) -> list[Image]:
    """Coloured blocks, some of which wander."""
    rng = np.random.default_rng(seed)
    blocks = [(rng.integers(0, (width, height, width // 3, height // 3)), rng.integers(0, 256, 3)) for _ in range(40)]
    steps = rng.integers(-3, 4, (40, 2))
    images = []
    for at in range(count):
        image = np.zeros((height, width, 3), np.uint8)
        for (place, colour), (across, down) in zip(blocks, steps, strict=True):
            x, y = max(0, place[0] + across * at), max(0, place[1] + down * at)
            image[y : y + place[3] + 4, x : x + place[2] + 4] = colour
        images.append(image)
    return images


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips; of three of them a copy of the file, and one that was scaled and encoded anew with another codec."""
    import cv2

    folder = tmp_path_factory.mktemp("videos")
    for number in range(6):
        images = moving_blocks(number)
        path = write_video(folder / f"clip{number}.mp4", images)
        if number < 3:
            (folder / f"clip{number}-copy.mp4").write_bytes(path.read_bytes())
            small = [np.asarray(cv2.resize(one, (128, 72), interpolation=cv2.INTER_AREA), np.uint8) for one in images]
            write_video(folder / f"clip{number}-small.mp4", small, codec="mpeg4")
    return folder


@pytest.fixture(scope="module")
def labels(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of these clips, with embeddings."""
    out = tmp_path_factory.mktemp("labels") / "labels.parquet"
    limits = Limits(num_workers=1, flush_seconds=0.2, embeddings=True)
    label(videos, job(out, captioner=EchoCaptioner(embeddings=True), limits=limits))
    assert len(read_back(out)) == 12
    return out


@pytest.fixture(scope="module")
def hashes(videos: Path, labels: Path) -> Path:
    """The same clips' perceptual hashes, as another file."""
    settings = FrameSettings(8, 64, signals=("phash",))
    rows = [
        {
            "clip_id": row["clip_id"],
            "video_path": row["video_path"],
            "phash": sample_frames(make_clip(videos / row["video_path"]), settings).signals["phash"],
        }
        for row in read_back(labels)
    ]
    path = labels.with_name("hashes.parquet")
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("by", ["embedding", "phash", "any"])
def test_copies_and_what_was_encoded_anew_go_and_others_stay(
    labels: Path, hashes: Path, tmp_path: Path, by: str
) -> None:
    out, groups = tmp_path / "kept.parquet", tmp_path / "groups.parquet"
    code, said = dedup(labels, "--out", out, "--features", hashes, "--by", by, "--groups", groups)
    assert code == 0, said
    stayed = [row["video_path"] for row in read_back(out)]
    assert sorted(re.sub(r"(-copy|-small)?\.mp4", "", path) for path in stayed) == [f"clip{n}" for n in range(6)]
    assert not any("small" in path for path in stayed)  # the larger picture is the better one
    assert re.search(r"kept +6 +6\n3 groups of clips that are alike, the largest of 3", said)
    rows = read_back(groups)
    assert len(rows) == 9
    for row in rows:
        own = next(one for one in rows if one["clip_id"] == row["kept_clip_id"])
        assert own["kept"]
        assert re.sub(r"-\w+", "", own["video_path"]) == re.sub(r"-\w+", "", row["video_path"])
        assert row["reason"] == (None if row["kept"] else {"embedding": "embedding"}.get(by, "phash"))


def test_hashes_of_different_clips_differ_in_many_bits(hashes: Path) -> None:
    rows = read_back(hashes)
    known = ClipHashes(len(rows))
    known.add(np.arange(len(rows)), [row["phash"] for row in rows], 3.0)
    alike, other = [], []
    for one in range(len(rows)):
        for two in range(one):
            bits = float(known.bits(np.array([one]), np.array([two]))[0])
            same = rows[one]["video_path"][:5] == rows[two]["video_path"][:5]
            (alike if same else other).append(bits)
    assert max(alike) <= 2.0
    assert min(other) > 10.0


def test_flat_pictures_are_told_apart_by_light_and_tint() -> None:
    colours = [(0, 0, 0), (255, 255, 255), (120, 120, 120), (200, 30, 30), (30, 30, 200), (30, 160, 30)]
    found = [hash_images(np.full((1, 40, 60, 3), colour, np.uint8)) for colour in colours]
    assert len(set(found)) == len(colours)
    assert all(len(one) == 16 for one in found)
    noisy = np.random.default_rng(0).integers(118, 123, (1, 40, 60, 3)).astype(np.uint8)
    assert (int(hash_images(noisy), 16) ^ int(found[2], 16)).bit_count() <= 2


A, B = {"clip_id": "c0"}, {"clip_id": "c1"}
RULES: list[tuple[str, Mapping[str, Any], Mapping[str, Any]]] = [
    ("flags", {"flags": [], "grounding": 0.1}, {"flags": ["short"], "grounding": 0.9}),
    ("grounding", {"grounding": 0.9, "mean_logprob": -2.0}, {"grounding": 0.1, "mean_logprob": -1.0}),
    ("grounding that is there", {"grounding": -0.5}, {"grounding": None}),
    ("logprob", {"mean_logprob": -0.5, "width": 10, "height": 10}, {"mean_logprob": -0.6, "width": 20, "height": 20}),
    ("resolution", {"width": 20, "height": 20, "end_seconds": 1.0}, {"width": 39, "height": 10, "end_seconds": 9.0}),
    ("length", {"start_seconds": 1.0, "end_seconds": 4.0}, {"start_seconds": 5.0, "end_seconds": 7.9}),
]


@pytest.mark.parametrize(("better", "worse"), [rule[1:] for rule in RULES], ids=[rule[0] for rule in RULES])
def test_the_better_clip_stays_wherever_it_stands(
    tmp_path: Path, better: Mapping[str, Any], worse: Mapping[str, Any]
) -> None:
    (vector,) = units(1, 16)
    for first, second, stays in ((better, worse, "c0"), (worse, better, "c1")):
        rows = [
            A | {"start_seconds": 0.0, "end_seconds": 3.0} | first,
            B | {"start_seconds": 0.0, "end_seconds": 3.0} | second,
        ]
        path = write_both(tmp_path, [vector, vector], rows)
        assert dedup(path, "--out", tmp_path / "kept.parquet")[0] == 0
        assert kept(tmp_path / "kept.parquet") == [stays]


def test_keep_changes_the_order_of_the_rules(tmp_path: Path) -> None:
    (vector,) = units(1, 16)
    rows = [A | {"flags": ["short"], "width": 20, "height": 20}, B | {"flags": [], "width": 10, "height": 10}]
    path = write_both(tmp_path, [vector, vector], rows)
    for keep, stays in (("flags", "c1"), ("resolution,flags", "c0")):
        assert dedup(path, "--out", tmp_path / "kept.parquet", "--keep", keep)[0] == 0
        assert kept(tmp_path / "kept.parquet") == [stays]


def test_equals_are_settled_the_same_way_whatever_their_order(tmp_path: Path) -> None:
    vectors = np.repeat(units(1, 16), 5, axis=0)
    rows = [{"clip_id": f"c{number}"} for number in range(5)]
    found = set()
    for turned in (rows, rows[::-1]):
        path = write_both(tmp_path, vectors, turned)
        dedup(path, "--out", tmp_path / "kept.parquet")
        found.add(tuple(kept(tmp_path / "kept.parquet")))
    assert len(found) == 1
    assert len(next(iter(found))) == 1


def test_all_labels_of_a_clip_stay_or_go_together_over_several_files(tmp_path: Path) -> None:
    vectors = units(3, 16)
    vectors[1] = vectors[0]
    captions = [{"clip_id": f"c{n}", "flags": ["short"] if n == 1 else []} for n in (0, 0, 1, 1, 1, 2)]
    first = write_both(tmp_path, vectors, captions, name="captions")
    answers = [{"clip_id": f"c{n}", "question": "What?", "answer": "A dog."} for n in (2, 1, 0, 0)]
    second = write_labels(tmp_path / "qa.parquet", answers)
    out, groups = tmp_path / "kept.parquet", tmp_path / "groups.parquet"
    code, said = dedup(first, second, "--out", out, "--groups", groups)
    assert code == 0, said
    assert kept(out) == ["c0", "c0", "c2", "c2", "c0", "c0"]
    assert [row["answer"] for row in read_back(out)] == [None] * 3 + ["A dog."] * 3
    assert re.search(r"embedding\) +1 +4\nkept +2 +6", said)
    assert [(row["clip_id"], row["num_labels"], row["kept"]) for row in read_back(groups)] == [
        ("c0", 4, True),
        ("c1", 4, False),
    ]


@pytest.mark.parametrize(("best", "stay"), [(1, ["c1"]), (0, ["c0", "c2"])])
def test_a_chain_does_not_take_along_what_is_not_like_what_stays(tmp_path: Path, best: int, stay: list[str]) -> None:
    """c0 ~ c1 ~ c2, but c0 and c2 are not alike."""
    angles = np.radians([0.0, 10.0, 20.0])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    rows = [{"clip_id": f"c{n}", "grounding": 1.0 if n == best else 0.5 - n / 10} for n in range(3)]
    path = write_both(tmp_path, vectors, rows)
    assert dedup(path, "--out", tmp_path / "kept.parquet", "--min-similarity", 0.98)[0] == 0
    assert kept(tmp_path / "kept.parquet") == stay


def test_of_a_crowd_of_like_clips_one_stays(tmp_path: Path) -> None:
    """Each finds but a few of the others at a time."""
    crowd = near(np.repeat(units(1, 64), 300, axis=0), 0.9995)
    path = write_both(tmp_path, np.concatenate([crowd, units(20, 64, seed=5)]))
    assert dedup(path, "--out", tmp_path / "kept.parquet")[0] == 0
    assert len(kept(tmp_path / "kept.parquet")) == 21
    frames = [f"{7:016x}{number:016x}" for number in (0, 1, 3)] * 50
    rows = [{"clip_id": f"h{number}", "phash": text} for number, text in enumerate(frames)]
    assert dedup(write_labels(tmp_path / "hashed.parquet", rows), "--out", tmp_path / "kept.parquet")[0] == 0
    assert len(kept(tmp_path / "kept.parquet")) == 1


def test_planted_duplicates_are_found_among_many_and_near_misses_are_not(tmp_path: Path) -> None:
    """So many that they are searched by cells and by shorter vectors."""
    vectors = units(24_000, 384)
    vectors[12_000:12_240] = near(vectors[:240], 0.985)
    vectors[13_000:13_240] = near(vectors[300:540], 0.975)
    path, groups = write_both(tmp_path, vectors.astype(np.float32)), tmp_path / "groups.parquet"
    code, said = dedup(path, "--out", tmp_path / "kept.parquet", "--groups", groups, "--workers", 1)
    assert code == 0, said
    pairs = {frozenset((row["clip_id"], row["kept_clip_id"])) for row in read_back(groups) if not row["kept"]}
    planted = {frozenset((f"c{number}", f"c{12_000 + number}")) for number in range(240)}
    assert len(pairs & planted) >= 238
    assert pairs <= planted


@pytest.mark.parametrize("form", ["labels.parquet", "labels.jsonl", "labels"])
@pytest.mark.parametrize("to", ["kept.parquet", "kept.jsonl", "kept", "kept.csv"])
def test_labels_keep_their_columns_and_what_is_known_of_them(tmp_path: Path, form: str, to: str) -> None:
    path = write_own(tmp_path / form, [{}, {"flags": ["short"]}, {}])
    clip_ids = [made_label(number).clip_id for number in range(3)]
    vectors = units(3, 16)
    vectors[1] = vectors[0]
    features = write_embeddings(tmp_path / "features.parquet", clip_ids, vectors)
    out = tmp_path / to
    code, said = dedup(path, "--out", out, "--features", features)
    assert code == 0, said
    before, after = read_back(path), read_back(out)
    assert [row["label_id"] for row in after] == [before[0]["label_id"], before[2]["label_id"]]
    assert list(after[0]) == list(before[0])
    if to.endswith(".csv"):
        return
    if not form.endswith(".jsonl") or to.endswith(".jsonl"):
        assert after == ([before[0], before[2]] if form.endswith("l") == to.endswith("l") else after)
    output = parse_output(out)
    steps = (
        json.loads(pq.read_schema(out).metadata[b"vidlabel.steps"])
        if output.kind == "parquet"
        else json.loads(output.side_file.read_text())["steps"]
    )
    assert (steps[0]["command"], steps[0]["rows"], steps[0]["kept"]) == ("dedup", 3, 2)


def test_labels_of_different_settings_do_not_pretend_to_be_of_one_run(tmp_path: Path) -> None:
    first = write_own(tmp_path / "a.parquet", [{}, {"flags": ["short"]}])
    second = write_own(tmp_path / "b.parquet", [{}, {}])
    table = pq.read_table(second)
    settings = table.schema.metadata[b"vidlabel.settings"].replace(b'"seed": 7', b'"seed": 8')
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"vidlabel.settings": settings}), second)
    clip_ids = [made_label(number).clip_id for number in range(2)]
    features = write_embeddings(tmp_path / "features.parquet", clip_ids, units(2, 16))
    for other, is_there in ((first, True), (second, False)):
        source = other if other is second else write_own(tmp_path / "c.parquet", [{}, {}])
        assert dedup(first, source, "--out", tmp_path / "kept.parquet", "--features", features)[0] == 0
        metadata = pq.read_schema(tmp_path / "kept.parquet").metadata
        assert (b"vidlabel.settings" in metadata) == is_there
        assert b"vidlabel.steps" in metadata


def test_clips_of_which_nothing_is_known_stay(tmp_path: Path) -> None:
    path = write_labels(tmp_path / "labels.parquet", [{"clip_id": f"c{number}"} for number in range(4)])
    vectors = np.repeat(units(1, 16), 3, axis=0)
    vectors[2] = np.nan
    write_embeddings(tmp_path / "labels.embeddings.parquet", ["c0", "c1", "c2"], vectors)
    code, said = dedup(path, "--out", tmp_path / "kept.parquet")
    assert code == 0
    assert len(kept(tmp_path / "kept.parquet")) == 3
    assert "2 clips have no embedding and no hash, and stay" in said


def test_copies_of_very_different_length_are_not_the_same_by_their_hashes(tmp_path: Path) -> None:
    rows = [
        {"clip_id": f"c{n}", "phash": "0123456789abcdef", "start_seconds": 0.0, "end_seconds": e}
        for n, e in enumerate((4.0, 4.4, 9.0))
    ]
    path = write_labels(tmp_path / "labels.parquet", rows)
    assert dedup(path, "--out", tmp_path / "kept.parquet")[0] == 0
    assert kept(tmp_path / "kept.parquet") == ["c1", "c2"]


def wrong(folder: Path) -> dict[str, tuple[Sequence[object], str]]:
    """Command lines that cannot be meant, and what is said of each."""
    vectors = units(2, 16)
    labels = write_both(folder, vectors)
    rows = [{"clip_id": "c0"}, {"clip_id": "c1"}]
    plain = write_labels(folder / "plain.parquet", rows)
    narrow = write_embeddings(folder / "narrow.parquet", ["c0", "c1"], units(2, 8))
    other = write_embeddings(folder / "other.parquet", ["c0", "c1"], vectors, model="b")
    turned = write_embeddings(folder / "turned.parquet", ["c0", "c1"], vectors[::-1])
    lines = folder / "lines.jsonl"
    lines.write_text('{"clip_id": "c0", "embedding": [1.0, 2.0]}\n')
    broken = folder / "broken.parquet"
    broken.write_bytes(labels.read_bytes()[:-20])
    no_hash = write_labels(folder / "no-hash.parquet", [{"clip_id": "c0", "phash": "cat"}])
    nameless = write_labels(folder / "nameless.parquet", [{"clip_id": "c0"}, {"clip_id": None}])
    out = ("--out", folder / "kept.parquet")
    return {
        "no features": ((plain, *out), r"nothing is known of how these clips look: label with --embeddings, or"),
        "no clip_id": (
            (write_labels(folder / "x.parquet", [{"video": "a"}]), *out),
            r"x\.parquet has no column clip_id",
        ),
        "null clip_id": ((nameless, *out), r"nameless\.parquet: a row has no clip_id"),
        "no vectors": ((plain, *out, "--features", plain), r"--features .*: has neither a column embedding nor phash"),
        "other width": ((labels, *out, "--features", narrow), r"embeddings of 16 numbers, and others of 8"),
        "other model": ((labels, *out, "--features", other), r"hold embeddings of different models"),
        "other clips": ((labels, *out, "--features", turned), r"clip c\d looks different from the clip of that id"),
        "lines": ((labels, *out, "--features", lines), r"lines\.jsonl: embeddings are read from parquet files only"),
        "no hash": ((no_hash, *out), r"the column phash should hold hashes"),
        "damaged": ((labels, *out, "--features", broken), r"broken\.parquet: not whole parquet files"),
        "missing": ((folder / "none.parquet", *out), r"none\.parquet: there are no labels there"),
        "itself": ((labels, "--out", labels), r"--out .*: is the file that is read"),
        "groups": (
            (labels, *out, "--groups", folder / "g.csv"),
            r"--groups .*g\.csv: groups are written to a \.parquet",
        ),
        "groups on labels": ((labels, *out, "--groups", labels), r"--groups .*: is a file that is read or written"),
        "similarity": ((labels, *out, "--min-similarity", 1.5), r"--min-similarity 1\.5: a cosine above 0"),
        "bits": ((labels, *out, "--max-bits", 40), r"--max-bits 40\.0: of 64"),
        "keep": ((labels, *out, "--keep", "beauty"), r"--keep: no rule 'beauty'; there are flags, grounding"),
        "temp": ((labels, *out, "--temp", folder / "nowhere"), r"--temp .*nowhere: there is no such folder"),
    }


@pytest.mark.parametrize("case", [
    "no features", "no clip_id", "null clip_id", "no vectors", "other width", "other model", "other clips", "lines",
    "no hash", "damaged", "missing", "itself", "groups", "groups on labels", "similarity", "bits", "keep", "temp",
])  # fmt: skip
def test_wrong_input_gets_one_line_and_nothing_is_written(tmp_path: Path, case: str) -> None:
    args, expected = wrong(tmp_path)[case]
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    code, said = dedup(*args)
    assert code == 2
    assert re.search(expected, said), said
    assert len(said.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    path = write_both(tmp_path, units(3, 16))
    left = tmp_path / ".kept.parquet.vectors"
    left.mkdir()
    (left / "vectors.f16").write_bytes(b"half of something")
    assert dedup(path, "--out", tmp_path / "kept.parquet")[0] == 0
    assert not left.exists()
    assert len(kept(tmp_path / "kept.parquet")) == 3


def test_files_without_rows_are_no_error(tmp_path: Path) -> None:
    schema = pa.schema([("clip_id", pa.string()), ("caption", pa.string())])
    pq.write_table(schema.empty_table(), tmp_path / "labels.parquet")
    assert dedup(tmp_path / "labels.parquet", "--out", tmp_path / "kept.parquet")[0] == 0
    assert kept(tmp_path / "kept.parquet") == []
