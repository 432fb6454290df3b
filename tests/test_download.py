from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.file_server import FileServer, file_server
from vidlabel.errors import InputError, LockedError
from vidlabel.lock import locked
from vidlabel.models.download import CHECKSUMS, damaged_files, pull, pull_preset
from vidlabel.models.fetching import Request, fetch
from vidlabel.models.preset import HubFiles, Preset, UrlFile
from vidlabel.models.presets import SOURCES

DATA = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


def get(server: FileServer, target: Path, *, path: str = "/f.bin", sha256: str | None = None) -> str:
    return fetch(Request(server.url + path, sha256=sha256), target, pause_seconds=0.001)


# ---- one file


def test_a_file_is_fetched_and_its_checksum_given(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = DATA
    assert get(server, tmp_path / "f.bin") == SHA256
    assert (tmp_path / "f.bin").read_bytes() == DATA
    assert [entry.name for entry in tmp_path.iterdir()] == ["f.bin"]


def test_a_connection_that_breaks_is_gone_on_with(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = DATA
    server.cut_after["/f.bin"] = [1_000_000, 0, 500_000, 7]
    assert get(server, tmp_path / "f.bin") == SHA256
    ranges = [headers.get("Range") for headers in server.asked("/f.bin")]
    assert ranges == [None, "bytes=1000000-", "bytes=1000000-", "bytes=1500000-", "bytes=1500007-"]


def test_an_interrupted_run_is_gone_on_with_by_the_next(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = DATA
    server.cut_after["/f.bin"] = [1_234_567] + [0] * 6
    with pytest.raises(InputError, match="ended after"):
        get(server, tmp_path / "f.bin")
    assert not (tmp_path / "f.bin").exists()
    server.seen.clear()
    assert get(server, tmp_path / "f.bin") == SHA256
    assert server.seen[0][1]["Range"] == "bytes=1234567-"


@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_never_gets_on_is_given_up_and_what_came_is_kept(
    server: FileServer, tmp_path: Path, known: bool
) -> None:
    server.files["/f.bin"] = DATA
    server.cut_after["/f.bin"] = [10] + [0] * 100
    with pytest.raises(InputError, match="run the same command again"):
        get(server, tmp_path / "f.bin", sha256=SHA256 if known else None)
    assert (tmp_path / "f.bin.part").stat().st_size == 10
    assert len(server.seen) == 7


def test_a_file_that_changed_on_the_server_is_fetched_from_the_start(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = b"x" * 1000
    server.cut_after["/f.bin"] = [500] + [0] * 6
    with pytest.raises(InputError):
        get(server, tmp_path / "f.bin")
    server.files["/f.bin"] = DATA
    assert get(server, tmp_path / "f.bin") == SHA256


def test_without_a_tag_only_a_known_checksum_lets_it_go_on(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = DATA
    server.with_etag = False
    for sha256, expected in ((SHA256, "bytes=9-"), (None, None)):
        server.cut_after["/f.bin"] = [9]
        server.seen.clear()
        assert get(server, tmp_path / "f.bin", sha256=sha256) == SHA256
        assert server.seen[1][1].get("Range") == expected


def test_a_server_without_ranges_still_serves(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = DATA
    server.with_ranges = False
    server.cut_after["/f.bin"] = [1_000_000]
    assert get(server, tmp_path / "f.bin") == SHA256


def test_a_whole_part_is_only_checked(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = DATA
    (tmp_path / "f.bin.part").write_bytes(DATA)
    assert get(server, tmp_path / "f.bin", sha256=SHA256) == SHA256


def test_a_part_longer_than_the_file_is_started_over(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = DATA
    (tmp_path / "f.bin.part").write_bytes(DATA + b"more")
    assert get(server, tmp_path / "f.bin", sha256=SHA256) == SHA256


def test_a_wrong_checksum_is_reported_and_the_file_deleted(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = DATA
    with pytest.raises(InputError, match=rf"{SHA256} instead of {'0' * 64}; it was deleted"):
        get(server, tmp_path / "f.bin", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "request_of", [{"size": 2_999_999}, {"git_oid": "0" * 40}], ids=["another size", "another git object"]
)
def test_another_file_than_expected_is_reported_and_deleted(
    server: FileServer, tmp_path: Path, request_of: dict[str, Any]
) -> None:
    server.files["/f.bin"] = DATA
    request = Request(f"{server.url}/f.bin", **request_of)
    with pytest.raises(InputError, match="instead of"):
        fetch(request, tmp_path / "f.bin")
    assert list(tmp_path.iterdir()) == []


def test_the_checksum_that_a_hub_names_with_its_redirect_is_checked(server: FileServer, tmp_path: Path) -> None:
    server.files["/cdn.bin"] = DATA
    server.redirects["/f.bin"] = "/cdn.bin"
    server.linked["/f.bin"] = "1" * 64
    with pytest.raises(InputError, match="instead of 1111"):
        get(server, tmp_path / "f.bin")
    server.linked["/f.bin"] = SHA256
    assert get(server, tmp_path / "f.bin") == SHA256


def test_a_token_goes_to_its_host_and_not_where_that_redirects(server: FileServer, tmp_path: Path) -> None:
    with file_server() as cdn:
        cdn.files["/blob"] = DATA
        server.redirects |= {"/f.bin": f"{server.url}/moved", "/moved": f"{cdn.url}/blob"}
        fetch(Request(f"{server.url}/f.bin", token="secret"), tmp_path / "f.bin")
        assert [headers.get("Authorization") for _, headers in server.seen] == ["Bearer secret"] * 2
        assert [headers.get("Authorization") for _, headers in cdn.seen] == [None]


def test_a_busy_server_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = DATA
    server.statuses["/f.bin"] = [503, 429, 500]
    assert get(server, tmp_path / "f.bin") == SHA256


def test_a_server_that_stays_busy_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.statuses["/f.bin"] = [503] * 100
    with pytest.raises(InputError, match="the server says 503"):
        get(server, tmp_path / "f.bin")
    assert len(server.seen) == 6


def test_the_pause_a_server_asks_for_is_kept(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = b"x"
    server.statuses["/f.bin"], server.headers["Retry-After"] = [429], "0"
    started = time.monotonic()
    fetch(Request(f"{server.url}/f.bin"), tmp_path / "f.bin", pause_seconds=30)
    assert time.monotonic() - started < 20


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "accept the licence"), (403, "accept the licence"), (404, "is the address"), (410, "410")],
)
def test_what_cannot_pass_is_one_clear_line_at_once(server: FileServer, tmp_path: Path, status: int, says: str) -> None:
    server.statuses["/f.bin"] = [status]
    with pytest.raises(InputError, match=says):
        fetch(Request(f"{server.url}/f.bin", when_denied="accept the licence"), tmp_path / "f.bin")
    assert len(server.seen) == 1


def test_endless_redirects_and_other_protocols_are_refused(server: FileServer, tmp_path: Path) -> None:
    server.redirects |= {"/f.bin": "/f.bin", "/g.bin": "file:///etc/hostname"}
    with pytest.raises(InputError, match="redirected too often"):
        get(server, tmp_path / "f.bin")
    with pytest.raises(InputError, match="neither http nor https"):
        get(server, tmp_path / "g.bin", path="/g.bin")


def test_a_host_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with file_server() as gone:
        url = gone.url
    with pytest.raises(InputError, match="cannot be reached"):
        fetch(Request(f"{url}/f.bin"), tmp_path / "f.bin", pause_seconds=0.001)


def test_progress_is_reported_from_where_it_went_on(server: FileServer, tmp_path: Path) -> None:
    server.files["/f.bin"] = DATA
    (tmp_path / "f.bin.part").write_bytes(DATA[:2_900_000])
    reports: list[tuple[int, int | None]] = []
    request = Request(f"{server.url}/f.bin", sha256=SHA256)
    fetch(request, tmp_path / "f.bin", report=lambda here, total: reports.append((here, total)))
    assert reports == [(3_000_000, 3_000_000)]


# ---- a model

LANGUAGE_MODEL = {
    "config.json": b"{}",
    "tokenizer.model": b"t" * 200,
    "tokenizer_config.json": b"{ }",
    "model.safetensors.index.json": b"i" * 150,
    "model-00001-of-00001.safetensors": DATA,
}
NOT_WANTED = {
    "README.md": b"readme",
    "pytorch_model-00001.bin": DATA,
    "consolidated.safetensors": DATA,
    "original/model.safetensors": DATA,
    ".gitattributes": b"x",
}


def preset_at(server: FileServer) -> Preset:
    """A preset like the released ones, with everything it needs on the server."""
    vision, checkpoint = b"v" * 5000, b"c" * 4000
    server.add_repository("org/llm", "abc", LANGUAGE_MODEL | NOT_WANTED)
    server.files |= {"/store/eva_vit_g.pth": vision, "/org/video/resolve/def/checkpoints/last%20one.pth": checkpoint}
    checkpoint_sha256 = hashlib.sha256(checkpoint).hexdigest()
    return Preset(
        "tiny",
        "for tests",
        num_frames=9,
        image_size=28,
        files=(
            HubFiles("org/llm", "abc", "language_model", 0.003, gated=True),
            HubFiles("org/video", "def", "video_checkpoint.pth", 0.0, "checkpoints/last one.pth", checkpoint_sha256),
            UrlFile(f"{server.url}/store/eva_vit_g.pth", "eva_vit_g.pth", 5000, hashlib.sha256(vision).hexdigest()),
        ),
    )


def pulled(preset: Preset, server: FileServer, home: Path) -> Path:
    return pull_preset(preset, home, mirror=server.url, progress=False, pause_seconds=0.001)


def test_a_pulled_folder_holds_what_is_needed_and_no_more(server: FileServer, tmp_path: Path) -> None:
    folder = pulled(preset_at(server), server, tmp_path)
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        "eva_vit_g.pth",
        "video_checkpoint.pth",
        "sources.json",
        "checksums.json",
        *(f"language_model/{name}" for name in LANGUAGE_MODEL),
    }
    assert (folder / "language_model" / "model-00001-of-00001.safetensors").read_bytes() == DATA
    sources = json.loads((folder / SOURCES).read_text())
    assert (sources["num_frames"], sources["image_size"]) == (9, 28)
    assert damaged_files(folder) == []


def test_the_mirror_is_asked_for_the_vision_tower_first(
    server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    preset = preset_at(server)
    with caplog.at_level(logging.WARNING):
        pulled(preset, server, tmp_path / "without")
    assert "trying" in caplog.text
    server.files["/eva_vit_g.pth"] = server.files.pop("/store/eva_vit_g.pth")
    assert (pulled(preset, server, tmp_path / "with") / "eva_vit_g.pth").exists()


PULL = """
import pickle, sys
from pathlib import Path
from vidlabel.models.download import pull_preset
pull_preset(pickle.loads(bytes.fromhex(sys.argv[1])), Path(sys.argv[2]), progress=False)
"""


def test_hub_and_token_can_come_from_the_environment(server: FileServer, tmp_path: Path) -> None:
    environment = os.environ | {"HF_ENDPOINT": server.url + "/", "HF_TOKEN": "secret"}
    preset = pickle.dumps(preset_at(server)).hex()
    subprocess.run([sys.executable, "-c", PULL, preset, str(tmp_path)], check=True, env=environment)
    listing = server.asked("/api/models/org/llm/tree/abc?recursive=true")
    assert [headers["Authorization"] for headers in listing] == ["Bearer secret"]
    assert "Authorization" not in server.asked("/store/eva_vit_g.pth")[0]


def test_a_second_pull_fetches_nothing_again(server: FileServer, tmp_path: Path) -> None:
    preset = preset_at(server)
    pulled(preset, server, tmp_path)
    server.seen.clear()
    pulled(preset, server, tmp_path)
    assert [path for path, _ in server.seen] == ["/api/models/org/llm/tree/abc?recursive=true"]


def test_an_interrupted_pull_goes_on_and_is_no_model_before_its_end(server: FileServer, tmp_path: Path) -> None:
    preset = preset_at(server)
    big = "/org/llm/resolve/abc/model-00001-of-00001.safetensors"
    server.cut_after[big] = [1_000_000] + [0] * 6
    with pytest.raises(InputError):
        pulled(preset, server, tmp_path)
    assert not (tmp_path / "tiny" / SOURCES).exists()
    server.seen.clear()
    folder = pulled(preset, server, tmp_path)
    assert server.asked(big)[0]["Range"] == "bytes=1000000-"
    assert server.asked("/org/llm/resolve/abc/config.json") == []
    assert damaged_files(folder) == []


def test_a_new_commit_fetches_only_what_changed(server: FileServer, tmp_path: Path) -> None:
    preset = preset_at(server)
    pulled(preset, server, tmp_path)
    server.add_repository("org/llm", "new", LANGUAGE_MODEL | {"config.json": b"[]", "tokenizer.model": b"u" * 200})
    language_model = preset.files[0]
    assert isinstance(language_model, HubFiles)
    changed = replace(preset, files=(replace(language_model, revision="new"), *preset.files[1:]))
    server.seen.clear()
    folder = pulled(changed, server, tmp_path)
    fetched = {path.rpartition("/")[2] for path, _ in server.seen if "/resolve/" in path}
    assert fetched == {"config.json", "tokenizer.model"}
    assert (folder / "language_model" / "config.json").read_bytes() == b"[]"


def test_a_damaged_file_of_the_hub_is_found_out(server: FileServer, tmp_path: Path) -> None:
    preset = preset_at(server)
    server.files["/org/llm/resolve/abc/config.json"] = b"!!"
    with pytest.raises(InputError, match=r"config\.json: got git object"):
        pulled(preset, server, tmp_path)
    server.files["/org/llm/resolve/abc/config.json"] = b"{}"
    folder = pulled(preset, server, tmp_path)
    (folder / "eva_vit_g.pth").write_bytes(b"w" * 5000)
    assert damaged_files(folder) == ["eva_vit_g.pth"]


def test_a_file_without_a_published_checksum_has_to_be_the_one_that_came_first(
    server: FileServer, tmp_path: Path
) -> None:
    preset = preset_at(server)
    checkpoint = preset.files[1]
    assert isinstance(checkpoint, HubFiles)
    preset = replace(preset, files=(preset.files[0], replace(checkpoint, sha256=None), preset.files[2]))
    folder = pulled(preset, server, tmp_path)
    (folder / "video_checkpoint.pth").unlink()
    server.files["/org/video/resolve/def/checkpoints/last%20one.pth"] = b"d" * 4000
    with pytest.raises(InputError, match="SHA-256"):
        pulled(preset, server, tmp_path)


def test_two_models_share_a_vision_tower(server: FileServer, tmp_path: Path) -> None:
    preset = preset_at(server)
    first = pulled(preset, server, tmp_path)
    server.seen.clear()
    second = pulled(replace(preset, name="tiny2"), server, tmp_path)
    assert server.asked("/store/eva_vit_g.pth") == []
    assert (second / "eva_vit_g.pth").samefile(first / "eva_vit_g.pth")


def test_a_gated_model_says_what_to_do_before_anything_big_is_fetched(server: FileServer, tmp_path: Path) -> None:
    preset = preset_at(server)
    server.statuses["/api/models/org/llm/tree/abc?recursive=true"] = [401]
    with pytest.raises(InputError, match=r"accept the licence on https://huggingface\.co/org/llm and set HF_TOKEN"):
        pulled(preset, server, tmp_path)
    assert len(server.seen) == 1


def test_too_little_disk_is_said_before_anything_is_fetched(server: FileServer, tmp_path: Path) -> None:
    preset = preset_at(server)
    huge = UrlFile(f"{server.url}/store/eva_vit_g.pth", "eva_vit_g.pth", 10**18, "0" * 64)
    with pytest.raises(InputError, match=r"GB free and 1000000000\.0 GB are to come.*VIDLABEL_HOME"):
        pulled(replace(preset, files=(*preset.files[:2], huge)), server, tmp_path)
    assert [path for path, _ in server.seen] == ["/api/models/org/llm/tree/abc?recursive=true"]


def test_two_pulls_of_a_model_do_not_mix(server: FileServer, tmp_path: Path) -> None:
    with locked(tmp_path / "tiny" / ".pull"), pytest.raises(LockedError):
        pulled(preset_at(server), server, tmp_path)


@pytest.mark.parametrize("listing", [b"<html>", b"{}", b'[{"path": 1}]', b"[]"])
def test_a_mirror_that_is_no_hub_is_one_clear_line(server: FileServer, tmp_path: Path, listing: bytes) -> None:
    preset = preset_at(server)
    server.files["/api/models/org/llm/tree/abc?recursive=true"] = listing
    with pytest.raises(InputError, match=r"not the listing|no safetensors"):
        pulled(preset, server, tmp_path)


@pytest.mark.parametrize("mirror", ["mirror.example", "ftp://mirror.example", "/srv/mirror"])
def test_a_mirror_that_is_no_address_is_refused(tmp_path: Path, mirror: str, server: FileServer) -> None:
    with pytest.raises(InputError, match="begins with https://"):
        pull_preset(preset_at(server), tmp_path, mirror=mirror, progress=False)


def test_what_ships_needs_no_pull_and_other_names_are_refused() -> None:
    assert pull("shapes") is None
    with pytest.raises(InputError, match="mistral, llama2"):
        pull("gpt")


def test_checksums_of_others_are_not_overwritten(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / CHECKSUMS).write_text("[]")
    with pytest.raises(InputError, match=r"checksums\.json"):
        pulled(preset_at(server), server, tmp_path)
