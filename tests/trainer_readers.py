"""How each trainer reads its data set, by what is known of the formats: (video file, what is said of it)."""

from __future__ import annotations

import csv
import json
import os
import tomllib
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")

Pairs = list[tuple[Path, Any]]


def _videofolder(folder: Path, column: str) -> Pairs:
    import datasets

    cache = folder.parent / "hub"
    rows = datasets.load_dataset("videofolder", data_dir=str(folder), split="train", cache_dir=str(cache))
    rows = rows.cast_column("video", datasets.Video(decode=False))
    return [(Path(row["video"]["path"]), row[column]) for row in rows]


def finetrainers(folder: Path) -> Pairs:
    names = {path.name for path in folder.rglob("*")}
    assert names & {"metadata.json", "metadata.jsonl", "metadata.csv"}
    return _videofolder(folder, "caption")


def hf_videofolder(folder: Path) -> Pairs:
    return _videofolder(folder, "text")


def musubi(folder: Path) -> Pairs:
    settings = tomllib.loads((folder / "dataset.toml").read_text())
    [dataset] = settings["datasets"]
    assert dataset["cache_directory"]
    with Path(dataset["video_jsonl_file"]).open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    stems = [Path(row["video_path"]).stem for row in rows]
    assert len(set(stems)) == len(stems), "caches are named by the base name"
    return [(Path(row["video_path"]), row["caption"]) for row in rows]


def diffusion_pipe(folder: Path) -> Pairs:
    [directory] = tomllib.loads((folder / "dataset.toml").read_text())["directory"]
    path = Path(directory["path"])
    captions = json.loads((path / "captions.json").read_text(encoding="utf-8"))
    videos = sorted(file for file in path.glob("*") if file.suffix != ".json")
    assert all(isinstance(value, list) for value in captions.values())
    return [(file, captions[file.name]) for file in videos]


def cogvideox(folder: Path) -> Pairs:
    both = []
    for name in ("prompts.txt", "videos.txt"):
        with (folder / name).open(encoding="utf-8") as file:
            lines = [line.strip() for line in file.readlines() if len(line.strip()) > 0]
        assert lines == (folder / name).read_text(encoding="utf-8").strip().splitlines(), "finetrainers splits so"
        both.append(lines)
    return [(folder / video, prompt) for prompt, video in zip(*both, strict=True)]


def cogvideox_sat(folder: Path) -> Pairs:
    found: Pairs = []
    for root, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".mp4"):
                video = f"{root}/{name}"
                label = video.replace(".mp4", ".txt").replace("videos", "labels")
                with Path(label).open(encoding="utf-8") as file:
                    found.append((Path(video), file.read().splitlines()[0]))
    return found


def open_sora(folder: Path) -> Pairs:
    import pandas as pd

    table = pd.read_csv(folder / "videos.csv")
    assert (table["resolution"] == table["height"] * table["width"]).all()
    assert (table["num_frames"] > 0).all()
    assert not table.isna().any().any()
    return [(Path(row["path"]), row["text"]) for row in table.to_dict("records")]


def open_sora_plan(folder: Path) -> Pairs:
    found: Pairs = []
    for line in (folder / "data.txt").read_text().splitlines():
        root, annotations = line.strip().split(",")
        for row in json.loads(Path(annotations).read_text(encoding="utf-8")):
            left, right, top, bottom = row["crop"]
            assert (right - left, bottom - top) == (row["resolution"]["width"], row["resolution"]["height"])
            assert row["num_frames"] > 0
            assert row["path"].endswith(".mp4")
            found.append((Path(root) / row["path"], row["cap"]))
    return found


def fastvideo(folder: Path) -> Pairs:
    root, annotations = (folder / "merge.txt").read_text().strip().split(",")
    rows = json.loads(Path(annotations).read_text(encoding="utf-8"))
    assert all(row["num_frames"] > 0 and row["size"] > 0 and row["resolution"]["width"] for row in rows)
    return [(Path(root) / row["path"], row["cap"]) for row in rows]


def diffsynth(folder: Path) -> Pairs:
    import pandas as pd

    rows = pd.read_csv(folder / "metadata.csv").to_dict("records")
    return [(folder / row["video"], row["prompt"]) for row in rows]


def videox_fun(folder: Path) -> Pairs:
    rows = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    assert all(row["type"] == "video" for row in rows)
    return [(folder / row["file_path"], row["text"]) for row in rows]


def ltx(folder: Path) -> Pairs:
    with (folder / "dataset.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return [(folder / row["media_path"], row["caption"]) for row in rows]


def cosmos(folder: Path) -> Pairs:
    videos = sorted((folder / "videos").glob("*.mp4"))
    metas = {path.stem: path.read_text(encoding="utf-8").strip() for path in (folder / "metas").glob("*.txt")}
    assert set(metas) == {video.stem for video in videos}
    return [(video, metas[video.stem]) for video in videos]


def webdataset(folder: Path) -> Pairs:
    import webdataset as wds

    found: Pairs = []
    for shard in sorted(folder.glob("*.tar")):
        for sample in wds.WebDataset(str(shard), shardshuffle=False):
            video = folder.parent / f"{sample['__key__']}.mp4"
            video.write_bytes(sample["mp4"])
            about = json.loads(sample["json"])
            assert about["captions"][0]["text"] == sample["txt"].decode()
            found.append((video, sample["txt"].decode()))
    return found


def _turned(conversation: list[dict[str, str]], opening: str) -> list[tuple[str, str]]:
    assert [turn["from"] for turn in conversation] == ["human", "gpt"] * (len(conversation) // 2)
    texts = [turn["value"] for turn in conversation]
    assert texts[0].startswith(opening)
    assert sum(text.count(opening.strip()) for text in texts) == 1
    texts[0] = texts[0].removeprefix(opening)
    return list(zip(texts[::2], texts[1::2], strict=True))


def llava_video(folder: Path) -> Pairs:
    line = (folder / "data.yaml").read_text().splitlines()[1]
    rows = json.loads(Path(json.loads(line.split("json_path: ")[1])).read_text(encoding="utf-8"))
    return [(folder / row["video"], _turned(row["conversations"], "<image>\n")) for row in rows]


def videochatgpt(folder: Path) -> Pairs:
    pairs: dict[str, list[tuple[str, str]]] = {}
    for row in json.loads((folder / "instructions.json").read_text(encoding="utf-8")):
        pairs.setdefault(row["video_id"], []).append((row["q"], row["a"]))
    rows = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    found = {row["video"].removesuffix(".pkl"): _turned(row["conversations"], "<video>\n") for row in rows}
    assert found == pairs
    return [(folder / "videos" / f"{name}.mp4", said) for name, said in found.items()]


def qwen_vl(folder: Path) -> Pairs:
    rows = json.loads((folder / "qa.json").read_text(encoding="utf-8"))
    return [(folder / row["video"], _turned(row["conversations"], "<video>\n")) for row in rows]


def llama_factory(folder: Path) -> Pairs:
    info = json.loads((folder / "dataset_info.json").read_text())["vidlabel"]
    tags, columns = info["tags"], info["columns"]
    found: Pairs = []
    for row in json.loads((folder / info["file_name"]).read_text(encoding="utf-8")):
        messages = row[columns["messages"]]
        roles = [message[tags["role_tag"]] for message in messages]
        assert roles == [tags["user_tag"], tags["assistant_tag"]] * (len(messages) // 2)
        texts = [message[tags["content_tag"]] for message in messages]
        assert sum(text.count("<video>") for text in texts) == len(row[columns["videos"]]) == 1
        texts[0] = texts[0].removeprefix("<video>")
        found.append((Path(row["videos"][0]), list(zip(texts[::2], texts[1::2], strict=True))))
    return found


def minigpt4_video(folder: Path) -> Pairs:
    found: dict[Path, list[tuple[str, str]]] = {}
    for row in json.loads((folder / "qa.json").read_text(encoding="utf-8")):
        assert "." not in row["video_id"]
        found.setdefault(folder / "videos" / f"{row['video_id']}.mp4", []).append((row["q"], row["a"]))
    return list(found.items())


def conversations(folder: Path) -> Pairs:
    lines = (folder / "conversations.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [(Path(row["video"]), [(one["question"], one["answer"]) for one in row["conversation"]]) for row in rows]


def label_studio(folder: Path) -> Pairs:
    config = ElementTree.fromstring((folder / "config.xml").read_text())
    tags = {tag.get("name"): tag for tag in config}
    found: Pairs = []
    for task in json.loads((folder / "tasks.json").read_text(encoding="utf-8")):
        for tag in config:
            if (value := tag.get("value")) is not None:
                assert value.removeprefix("$") in task["data"]
        [result] = task["predictions"][0]["result"]
        control = tags[result["from_name"]]
        assert (control.tag.lower(), control.get("toName")) == (result["type"], result["to_name"])
        assert tags[result["to_name"]].tag == "Video"
        [place] = parse_qs(urlsplit(task["data"]["video"]).query)["d"]
        found.append((folder / place, result["value"]["text"][0]))
    return found


def fiftyone(folder: Path) -> Pairs:
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [(folder / row["filepath"], row["text"]) for row in rows]


CAPTIONS: dict[str, Callable[[Path], Pairs]] = {
    "finetrainers": finetrainers,
    "musubi-tuner": musubi,
    "diffusion-pipe": diffusion_pipe,
    "cogvideox": cogvideox,
    "cogvideox-sat": cogvideox_sat,
    "open-sora": open_sora,
    "open-sora-plan": open_sora_plan,
    "fastvideo": fastvideo,
    "diffsynth": diffsynth,
    "videox-fun": videox_fun,
    "ltx": ltx,
    "cosmos-predict2": cosmos,
    "hf-videofolder": hf_videofolder,
    "webdataset": webdataset,
    "label-studio": label_studio,
    "fiftyone": fiftyone,
}
QUESTIONS: dict[str, Callable[[Path], Pairs]] = {
    "llava-video": llava_video,
    "videochatgpt": videochatgpt,
    "qwen-vl": qwen_vl,
    "llama-factory": llama_factory,
    "minigpt4-video": minigpt4_video,
    "conversations": conversations,
}
