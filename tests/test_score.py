"""`vidlabel score`: the numbers of the models themselves, of the right clips, in any file of labels; what fails."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tests.file_server import file_server
from tests.label_files import read_back, write_foreign, write_own
from tests.make_scorers import WIDTH, pulled, tiny_clip, tiny_head, tiny_nsfw
from tests.make_videos import noise_scene, write_video
from vidlabel.cli import app
from vidlabel.config import Limits
from vidlabel.decoders import Damage, decode_span
from vidlabel.errors import InputError
from vidlabel.models.download import pull_preset
from vidlabel.models.preset import HubFiles, UrlFile
from vidlabel.models.presets import AESTHETIC_HEAD, CLIP_FOLDER, NSFW_FOLDER, PRESETS
from vidlabel.models.scorers import resolve_scorers
from vidlabel.scores.scoring import ScoreJob, score_labels

RED, BLUE = "a red ball", "blue water"
FRAMES = 3


def run(*words: object, home: Path | None = None) -> tuple[int, str, str]:
    env = None if home is None else {"VIDLABEL_HOME": str(home)}
    result = CliRunner().invoke(app, [str(word) for word in words], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pulled(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def models(home: Path) -> Path:
    """All three in one folder."""
    folder = home / "together"
    for part, name in ((CLIP_FOLDER, "aesthetic"), (NSFW_FOLDER, "nsfw")):
        shutil.copytree(home / "models" / name / part, folder / part)
    shutil.copyfile(home / "models" / "aesthetic" / AESTHETIC_HEAD, folder / AESTHETIC_HEAD)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    for name, colour, (width, height) in (("red", (200, 60, 40), (96, 48)), ("blue", (30, 80, 210), (48, 80))):
        write_video(folder / f"{name}.mp4", noise_scene(30, colour, width=width, height=height))
    return folder


def rows_of(*said: tuple[str, str | None]) -> list[dict[str, Any]]:
    return [
        {"clip_id": f"{name}-{at}", "video_path": f"{name}.mp4", "start_seconds": 0.0, "end_seconds": 1.2,
         "task": "caption", "caption": text}
        for at, (name, text) in enumerate(said)
    ]  # fmt: skip


def frames_of(video: Path) -> list[Any]:
    """The frames at the middles of thirds of 1.2 s at 25 frames a second, as the model's makers would have them."""
    shown = {round(frame.seconds * 25): frame.rgb() for frame in
             decode_span(str(video), start_seconds=0.0, end_seconds=1.2, damage=Damage())}  # fmt: skip
    return [shown[number] for number in (5, 15, 25)]


def plain(models: Path, video: Path, text: str) -> dict[str, float]:
    """By transformers alone."""
    import torch
    from PIL import Image
    from transformers import AutoModelForImageClassification, AutoTokenizer, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    pictures = [Image.fromarray(frame) for frame in frames_of(video)]
    clip: Any = CLIPModel.from_pretrained(models / CLIP_FOLDER).eval()
    judge: Any = AutoModelForImageClassification.from_pretrained(models / NSFW_FOLDER).eval()
    tokens = AutoTokenizer.from_pretrained(models / CLIP_FOLDER)([text], return_tensors="pt")
    pixels = CLIPImageProcessorPil.from_pretrained(models / CLIP_FOLDER)(pictures, return_tensors="pt")
    squeezed = ViTImageProcessorPil.from_pretrained(models / NSFW_FOLDER)(pictures, return_tensors="pt")
    head = torch.load(models / AESTHETIC_HEAD, weights_only=True)
    layers = []
    for number in (0, 2, 4, 6, 7):
        weight = head[f"layers.{number}.weight"]
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        layer.load_state_dict({"weight": weight, "bias": head[f"layers.{number}.bias"]})
        layers += [layer, torch.nn.Dropout(0.2)]
    with torch.no_grad():
        found = clip(**tokens, **pixels)
        chances = judge(**squeezed).logits.softmax(-1)
        cosines = found.logits_per_text / clip.logit_scale.exp()
        aesthetic = torch.nn.Sequential(*layers).eval()(found.image_embeds).mean()
    return {"aesthetic": float(aesthetic), "nsfw": float(chances[:, 1].max()), "clip_score": float(cosines.mean())}


def see_colours(models: Path, videos: Path, target: Path) -> Path:
    """CLIP's projections set by hand: red frames and one caption go to one direction, blue and the other to another."""
    import torch
    from PIL import Image
    from transformers import AutoTokenizer, CLIPModel
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    shutil.copytree(models / CLIP_FOLDER, target)
    clip: Any = CLIPModel.from_pretrained(target).eval()
    processor, tokenizer = CLIPImageProcessorPil.from_pretrained(target), AutoTokenizer.from_pretrained(target)
    with torch.no_grad():
        seen, said = [], []
        for name, text in (("red", RED), ("blue", BLUE)):
            picture = Image.fromarray(frames_of(videos / f"{name}.mp4")[1])
            seen.append(clip.vision_model(**processor(picture, return_tensors="pt")).pooler_output[0])
            said.append(clip.text_model(**tokenizer([text], return_tensors="pt")).pooler_output[0])
        directions = torch.eye(WIDTH)[:, :2]  # (WIDTH, 2)
        clip.visual_projection.weight.copy_(directions @ torch.linalg.pinv(torch.stack(seen, dim=1)))
        clip.text_projection.weight.copy_(directions @ torch.linalg.pinv(torch.stack(said, dim=1)))
    clip.save_pretrained(target)
    return target


# ---- what the numbers are


def test_the_numbers_are_those_of_plain_transformers(models: Path, videos: Path, tmp_path: Path) -> None:
    labels = write_foreign(tmp_path / "labels.jsonl", rows_of(("red", RED), ("blue", BLUE), ("blue", None)))
    out = tmp_path / "scored.parquet"
    names = "nsfw,aesthetic,clip"

    code, _, err = run("score", labels, "--out", out, "--root", videos, "--model", names, "--model-folder", models,
                       "--frames", FRAMES, "--workers", 1, "--device", "cpu")  # fmt: skip

    assert code == 0, err
    red, blue, silent = read_back(out)
    for row, name, text in ((red, "red", RED), (blue, "blue", BLUE)):
        expected = plain(models, videos / f"{name}.mp4", text)
        assert {column: row[column] for column in expected} == pytest.approx(expected, abs=1e-4)
    assert abs(red["nsfw"] - blue["nsfw"]) > 1e-3
    assert silent == blue | {"clip_id": "blue-2", "caption": None, "clip_score": None}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.jsonl", "scored.parquet"]


def test_a_caption_of_another_clip_scores_lower(models: Path, videos: Path, tmp_path: Path) -> None:
    clip = see_colours(models, videos, tmp_path / "clip-of-colours")
    labels = write_foreign(
        tmp_path / "labels.parquet", rows_of(("red", RED), ("blue", BLUE), ("red", BLUE), ("blue", RED))
    )
    run("score", labels, "--out", tmp_path / "out.jsonl", "--root", videos, "--model", "clip", "--model-folder", clip,
        "--frames", FRAMES, "--workers", 1)  # fmt: skip

    scores = [row["clip_score"] for row in read_back(tmp_path / "out.jsonl")]
    assert min(scores[:2]) > 0.9
    assert max(scores[2:]) < 0.5


def test_filter_and_stats_know_the_columns_at_once(home: Path, videos: Path, tmp_path: Path) -> None:
    labels = write_foreign(tmp_path / "labels.jsonl", rows_of(("red", RED), ("blue", BLUE)))
    scored, kept = tmp_path / "scored.jsonl", tmp_path / "kept.jsonl"
    code, _, err = run("score", labels, "--out", scored, "--root", videos, "--model", "aesthetic", home=home)
    assert code == 0, err
    scores = {row["clip_id"]: row["aesthetic"] for row in read_back(scored)}
    between = sum(scores.values()) / 2

    assert run("filter", scored, "--out", kept, "--where", f"aesthetic > {between}")[0] == 0

    assert [row["clip_id"] for row in read_back(kept)] == [max(scores, key=lambda name: scores[name])]
    assert "aesthetic" in run("stats", scored)[1]


def test_signals_become_scored_signals_that_caption_chooses_by(home: Path, videos: Path, tmp_path: Path) -> None:
    signals, scored, labels = (tmp_path / f"{name}.parquet" for name in ("signals", "scored", "labels"))
    assert run("signals", videos, "--out", signals, "--signals", "brightness", "--split", "none")[0] == 0
    code, _, err = run("score", signals, "--out", scored, "--model", "nsfw", home=home)
    assert code == 0, err
    least = min(read_back(scored), key=lambda row: row["nsfw"])

    condition = f"nsfw < {least['nsfw'] + 1e-9!r}"
    assert run("caption", scored, "--out", labels, "--model", "echo", "--where", condition)[0] == 0

    assert {row["clip_id"] for row in read_back(labels)} == {least["clip_id"]}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ""])
def test_rows_stay_what_they_were_and_the_file_says_what_was_done(
    models: Path, videos: Path, tmp_path: Path, suffix: str
) -> None:
    changes = [{"video_path": "red.mp4", "start_seconds": 0.0, "end_seconds": 1.2, "caption": RED}] * 3
    labels = write_own(tmp_path / f"labels{suffix}", changes)
    out = tmp_path / f"scored{suffix}"

    code, _, err = run("score", labels, "--out", out, "--root", videos, "--model", "nsfw", "--model-folder", models)

    assert code == 0, err
    without = [{name: value for name, value in row.items() if name != "nsfw"} for row in read_back(out)]
    assert without == read_back(labels)
    side = out / "_vidlabel.json" if suffix == "" else tmp_path / "scored.jsonl.meta.json"
    if suffix == ".parquet":
        before, after = (pq.read_schema(path) for path in (labels, out))
        assert after.names == [*before.names, "nsfw"]
        assert after.field("nsfw").type == pa.float64()
        steps = json.loads(after.metadata[b"vidlabel.steps"])
        assert {key: after.metadata[key] for key in before.metadata} == before.metadata
        assert (steps[0]["command"], steps[0]["models"]) == ("score", ["nsfw"])
    elif side.exists():
        assert json.loads(side.read_text())["steps"][0]["command"] == "score"


# ---- what goes wrong with videos, and runs


def test_a_bad_video_costs_its_own_clips_and_the_same_command_tries_it_alone(
    models: Path, videos: Path, tmp_path: Path
) -> None:
    root = tmp_path / "videos"
    shutil.copytree(videos, root)
    (root / "bad.mp4").write_bytes(b"no video" * 99)
    labels = write_foreign(
        tmp_path / "labels.jsonl", rows_of(("bad", RED), ("red", RED), ("gone", RED), ("blue", BLUE), ("bad", BLUE))
    )
    out = tmp_path / "scored.jsonl"
    words = ("score", labels, "--out", out, "--root", root, "--model", "clip", "--model-folder", models / CLIP_FOLDER)

    code, _, err = run(*words)

    assert code == 3
    assert "2 clips failed" in err
    scores = [row["clip_score"] for row in read_back(out)]
    assert [score is None for score in scores] == [True, False, True, False, True]
    failures = [json.loads(line) for line in (tmp_path / "scored.failures.jsonl").read_text().splitlines()]
    assert [failure["path"] for failure in failures] == ["bad.mp4", "gone.mp4"]

    for name in ("bad", "gone"):
        shutil.copyfile(videos / "red.mp4", root / f"{name}.mp4")
    code, _, err = run(*words)
    assert code == 0
    assert "4 clips scored (2 of them by an earlier run)" in err
    again = [row["clip_score"] for row in read_back(out)]
    assert again == pytest.approx([scores[1], scores[1], scores[1], scores[3], again[4]], abs=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.jsonl", "scored.jsonl", "videos"]


def test_a_run_that_broke_off_goes_on_where_it_was(models: Path, videos: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels"
    labels.mkdir()
    write_foreign(labels / "part-000000.parquet", rows_of(("red", RED)))
    second = write_foreign(labels / "part-000001.parquet", rows_of(("blue", BLUE)))
    whole = second.read_bytes()
    out = tmp_path / "scored.parquet"
    job = ScoreJob(labels=labels, out=out, models=resolve_scorers("nsfw", models), root=videos, num_frames=FRAMES,
                   limits=Limits(num_workers=1, flush_seconds=0.0))  # fmt: skip
    second.write_bytes(whole[:4] + bytes(40) + whole[44:])  # its rows cannot be read, which shows when it is their turn
    with pytest.raises(InputError, match="part-000001"):
        score_labels(job)
    assert not out.exists()
    second.write_bytes(whole)

    report = score_labels(job)

    assert (report.num_rows, report.num_clips, report.num_kept) == (2, 2, 1)
    fresh = score_labels(replace(job, out=tmp_path / "fresh.parquet"))
    assert fresh.num_kept == 0
    assert [row["nsfw"] for row in read_back(out)] == pytest.approx(
        [row["nsfw"] for row in read_back(tmp_path / "fresh.parquet")], abs=1e-6
    )


# ---- weights


def test_the_three_are_pulled_checked_and_used_like_other_models(home: Path, videos: Path, tmp_path: Path) -> None:
    labels = write_foreign(tmp_path / "labels.jsonl", rows_of(("red", RED)))
    with file_server() as server:
        for name in ("clip", "nsfw"):
            source = PRESETS[name].files[0]
            assert isinstance(source, HubFiles)
            folder = home / "models" / name / source.target
            contents = {path.name: path.read_bytes() for path in folder.iterdir()}
            server.add_repository(source.repo, source.revision, contents | {"tf_model.h5": b"0" * 200})
            code, _, err = run("models", "pull", name, "--mirror", server.url, home=tmp_path)
            assert code == 0, err
            assert sorted(path.name for path in (tmp_path / "models" / name / source.target).iterdir()) == sorted(
                contents
            )
    code, _, err = run("score", labels, "--out", tmp_path / "out.jsonl", "--root", videos, "--model", "clip,nsfw",
                       home=tmp_path)  # fmt: skip
    assert code == 0, err
    assert run("models", "check", "clip", home=tmp_path)[0] == 0
    (tmp_path / "models" / "clip" / "clip" / "model.safetensors").write_bytes(b"damaged")
    assert run("models", "check", "clip", home=tmp_path)[0] == 1


def test_the_aesthetic_predictor_takes_clip_from_where_it_is_already(home: Path, videos: Path, tmp_path: Path) -> None:
    labels = write_foreign(tmp_path / "labels.jsonl", rows_of(("red", RED)))
    clip, released = PRESETS["aesthetic"].files
    assert isinstance(clip, HubFiles)
    assert isinstance(released, UrlFile)
    head = (home / "models" / "aesthetic" / AESTHETIC_HEAD).read_bytes()
    tiny = replace(released, url="http://nowhere.invalid/", size=len(head), sha256=hashlib.sha256(head).hexdigest())
    preset = replace(PRESETS["aesthetic"], files=(clip, tiny))
    folder = home / "models" / "clip" / CLIP_FOLDER
    with file_server() as server:
        server.files[f"/{AESTHETIC_HEAD}"] = head
        server.add_repository(clip.repo, clip.revision, {path.name: path.read_bytes() for path in folder.iterdir()})
        for each in (PRESETS["clip"], preset):
            pull_preset(each, tmp_path / "models", mirror=server.url, progress=False)
        weights = f"/{clip.repo}/resolve/{clip.revision}/model.safetensors"
        assert len(server.asked(weights)) == 1

    code, _, err = run("score", labels, "--out", tmp_path / "out.jsonl", "--root", videos, "--model", "aesthetic",
                       home=tmp_path)  # fmt: skip
    assert code == 0, err
    assert run("models", "check", "aesthetic", home=tmp_path)[0] == 0


def test_the_released_head_is_known_by_size_and_checksum() -> None:
    clip, head = PRESETS["aesthetic"].files
    assert clip == PRESETS["clip"].files[0]
    assert isinstance(head, UrlFile)
    assert (head.target, head.size, len(head.sha256)) == ("sac+logos+ava1-l14-linearMSE.pth", 3_714_759, 64)


def broken(models: Path, folder: Path, what: str) -> Path:
    shutil.copytree(models, folder)
    clip, nsfw, head = folder / CLIP_FOLDER, folder / NSFW_FOLDER, folder / AESTHETIC_HEAD
    if what == "no head":
        head.unlink()
    elif what == "wrong width":
        tiny_head(head, width=WIDTH + 4)
    elif what == "another net":
        import torch

        torch.save({"fc.weight": torch.zeros(1, WIDTH)}, head)
    elif what == "no weights":
        head.write_bytes(b"a web page")
    elif what == "not a clip":
        shutil.rmtree(clip)
        tiny_nsfw(clip)
    elif what == "lacks weights":
        from safetensors.torch import load_file, save_file

        kept = {
            name: tensor for name, tensor in load_file(clip / "model.safetensors").items() if "visual_proj" not in name
        }
        save_file(kept, clip / "model.safetensors", {"format": "pt"})
    elif what == "no tokenizer":
        (clip / "tokenizer_config.json").unlink()
    elif what == "not a classifier":
        shutil.rmtree(nsfw)
        tiny_clip(nsfw)
    elif what == "other classes":
        shutil.rmtree(nsfw)
        tiny_nsfw(nsfw, ("cat", "dog"))
    elif what == "other preparation":
        (nsfw / "preprocessor_config.json").write_text(json.dumps({"size": {"shortest_edge": 9}, "resample": 2}))
    return folder


@pytest.mark.parametrize(
    ("what", "name", "says"),
    [
        ("no head", "aesthetic", "linearMSE.pth is missing; `vidlabel models pull aesthetic`"),
        ("wrong width", "aesthetic", "where 8 numbers come in"),
        ("another net", "aesthetic", "not the aesthetic predictor"),
        ("no weights", "aesthetic", "not a file of weights"),
        ("not a clip", "clip", "a model of type vit, not clip"),
        ("lacks weights", "clip", "lack 1 of the model's weights, visual_projection.weight"),
        ("no tokenizer", "clip", "has no tokenizer*.json"),
        ("not a classifier", "nsfw", "CLIPModel is no classifier of pictures"),
        ("other classes", "nsfw", "its classes are cat, dog; one has to be called nsfw"),
        ("other preparation", "nsfw", "not a preparation of pictures that vidlabel knows"),
    ],
)
def test_weights_that_will_not_do_are_one_clear_line(
    models: Path, videos: Path, tmp_path: Path, what: str, name: str, says: str
) -> None:
    folder = broken(models, tmp_path / "models", what)
    labels = write_foreign(tmp_path / "labels.jsonl", rows_of(("red", RED)))

    code, _, err = run("score", labels, "--out", tmp_path / "o.jsonl", "--root", videos, "--model", name,
                       "--model-folder", folder)  # fmt: skip

    assert code == 2
    assert says in err
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--model", "beauty"], "beauty is none of aesthetic, nsfw, clip"),
        (["--model", "nsfw"], "`vidlabel models pull nsfw` fetches them (about 0.3 GB)"),
        (["--model", "aesthetic"], "`vidlabel models pull aesthetic` fetches them (about 1.7 GB)"),
        (["--model", "clip"], "`vidlabel models pull clip` fetches them (about 1.7 GB)"),
        (["--model", "nsfw", "--model-folder", "nowhere"], "--model-folder nowhere: no such folder"),
    ],
)
def test_what_is_asked_for_and_not_here_is_one_clear_line(tmp_path: Path, words: Sequence[str], says: str) -> None:
    labels = write_foreign(tmp_path / "labels.jsonl", rows_of(("red", RED)))
    code, _, err = run("score", labels, "--out", tmp_path / "out.jsonl", *words, home=tmp_path)
    assert code == 2
    assert says in err


def test_clips_without_captions_cannot_be_compared_with_them(models: Path, tmp_path: Path) -> None:
    labels = write_foreign(tmp_path / "signals.jsonl", [{"clip_id": "a", "video_path": "a.mp4", "motion": 0.5}])
    code, _, err = run("score", labels, "--out", tmp_path / "out.jsonl", "--model", "clip", "--model-folder", models)
    assert code == 2
    assert "--model clip compares captions" in err


def test_pictures_are_prepared_as_their_makers_do(models: Path) -> None:
    """At odd sizes too, to the last bit."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    from vidlabel.scores.pictures import prepared, read_form

    form = read_form(models / CLIP_FOLDER)
    processor = CLIPImageProcessorPil.from_pretrained(models / CLIP_FOLDER, do_normalize=False, do_rescale=False)
    for height, width in ((33, 57), (101, 64), (32, 32), (20, 31)):
        image = np.random.default_rng(height).integers(0, 256, (height, width, 3), dtype=np.uint8)
        theirs = processor(image, return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)
        np.testing.assert_array_equal(prepared(image, form), theirs.astype(np.uint8))
