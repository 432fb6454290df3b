"""A judge's verdicts are asked for, read, kept and counted, whatever the endpoint does meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chat_server import ChatServer, Reply, chat_server
from vidlabel.errors import InputError
from vidlabel.evaluation.answered import Answered
from vidlabel.evaluation.chat import ChatModel, NoReplyError
from vidlabel.evaluation.judgements import Judged, judge
from vidlabel.evaluation.verdicts import Kind, Verdict, prompt_for, read_verdict

KEY = "sk-very-secret"


def model(server: ChatServer, **changes: Any) -> ChatModel:
    options = {"first_wait_seconds": 0.01, "timeout_seconds": 5.0, "max_tries": 4, "key": KEY} | changes
    return ChatModel(server.url, "judge-1", **options)


def answers(count: int, group: str = "") -> list[Answered]:
    return [Answered(f"e{n}", "qa", f"Question {n}?", (f"Right {n}",), f"Said {n}", group=group) for n in range(count)]


def judged(server: ChatServer, given: Sequence[Answered], store: Path, **options: Any) -> Judged:
    return judge(given, model(server), store, **options)


@pytest.mark.parametrize(
    ("kind", "reply", "expected"),
    [
        ("match", '{"pred": "yes", "score": 5}', Verdict(5, True)),
        ("match", "{'pred': 'no', 'score': 1}", Verdict(1, False)),
        ("match", '```json\n{"pred": "Yes", "score": "4"}\n```', Verdict(4, True)),
        ("match", "pred: yes, score: 3.9", Verdict(3, True)),
        ("detail", "{''score': 4.8}", Verdict(4)),  # the example that Video-ChatGPT's own prompt gives
        ("detail", 'Here it is: {"score": 0}', Verdict(0)),
        ("match", '{"score": 5}', None),
        ("match", '{"pred": "maybe", "score": 5}', None),
        ("detail", '{"score": 9}', None),
        ("detail", '{"score": true}', None),
        ("detail", "I cannot say.", None),
        ("detail", "", None),
    ],
)
def test_replies_are_read_as_models_write_them(kind: Kind, reply: str, expected: Verdict | None) -> None:
    assert read_verdict(kind, reply) == expected


def test_the_judge_is_told_question_right_answer_and_answer(tmp_path: Path) -> None:
    with chat_server(lambda body, _: Reply(content='{"pred": "yes", "score": 4}')) as server:
        found = judged(server, answers(3), tmp_path / "j.jsonl")
    assert (found.parts["match"].num_judged, found.parts["match"].accuracy, found.parts["match"].mean_score) == (
        3,
        1,
        4,
    )
    user = next(body["messages"][1]["content"] for body in server.requests if "Question 2?" in str(body))
    assert "Right answer: Right 2\nGiven answer: Said 2\n" in user
    assert {body["model"] for body in server.requests} == {"judge-1"}
    assert set(server.keys) == {f"Bearer {KEY}"}


def test_five_aspects_and_two_questions_as_one_case(tmp_path: Path) -> None:
    twins = [Answered(f"t{n}", "qa", f"Q{n}?", ("R",), f"S{n}", group="consistency", pair="p") for n in (1, 2)]
    alone = Answered("t3", "qa", "Q?", ("R",), "S", group="consistency", pair="q")
    given = [*answers(1, "generic"), *answers(1, "temporal"), *twins, alone, Answered("c", "caption", "", ("R",), "S")]
    with chat_server(lambda body, _: Reply(content='{"score": 2}')) as server:
        found = judged(server, given, tmp_path / "j.jsonl")
    assert {kind: part.num_judged for kind, part in found.parts.items()} == dict.fromkeys(
        ["correctness", "detail", "context", "temporal", "consistency"], 1
    )
    assert all(part.accuracy is None for part in found.parts.values())
    assert found.num_unpaired == 1
    both = next(str(body) for body in server.requests if "Question 2: Q2?" in str(body))
    assert "Given answer to question 1: S1" in both
    assert "Given answer to question 2: S2" in both


def test_an_endpoint_that_misbehaves_is_asked_again(tmp_path: Path) -> None:
    """Each question meets another trouble first: too many requests, an error, a page, silence, a broken completion."""
    troubles = [
        Reply(429, body="slow down", headers={"Retry-After": "0"}),
        Reply(500, body="oops"),
        Reply(200, body="<html>"),
        Reply(200, content=" "),
        Reply(200, content="{}", wait_seconds=1.5),
        Reply(200, content="no idea"),
    ]

    def answer(body: dict[str, Any], num_before: int) -> Reply:
        number = int(body["messages"][1]["content"].split("Said ")[1].split("\n")[0])
        return Reply(content='{"pred": "no", "score": 1}') if num_before else troubles[number]

    with chat_server(answer) as server:
        found = judge(answers(6), model(server, timeout_seconds=0.7), tmp_path / "j.jsonl", concurrency=3)
    assert (found.parts["match"].num_judged, found.num_bad_replies, found.num_failed) == (6, 0, 0)
    assert len(server.requests) == 12
    assert server.most_busy <= 3 + 1  # the one that was given up on may still be busy


def test_what_cannot_be_judged_is_counted_and_asked_again_by_the_next_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(body: dict[str, Any], _: int) -> Reply:
        text = body["messages"][1]["content"]
        if "Said 0" in text:
            return Reply(503, body=f"down, {KEY}")
        return Reply(400, body="too long") if "Said 1" in text else Reply(content="no idea")

    store = tmp_path / "j.jsonl"
    with chat_server(answer) as server:
        found = judged(server, answers(3), store)
    assert (found.parts, found.num_bad_replies, found.num_failed) == ({}, 1, 2)
    assert found.reasons == {"503 down, ***, 4 times": 1, "400 too long": 1}
    assert KEY not in caplog.text + store.read_text()
    with chat_server(lambda body, _: Reply(content='{"pred": "yes", "score": 5}')) as server:
        assert judged(server, answers(3), store).parts["match"].num_judged == 3
    assert len(server.requests) == 3


def test_kept_judgements_are_not_asked_for_again(tmp_path: Path) -> None:
    store = tmp_path / "j.jsonl"
    with chat_server(lambda body, _: Reply(content='{"pred": "yes", "score": 5}')) as server:
        judged(server, answers(4), store)
        lines = store.read_text().splitlines()
        store.write_text("\n".join(lines[:2]) + "\n" + lines[2][:20])  # a run killed while it wrote
        server.requests.clear()
        assert judged(server, answers(4), store).parts["match"].num_judged == 4
        assert len(server.requests) == 2
        changed = [*answers(3), Answered("e3", "qa", "Question 3?", ("Right 3",), "Something else")]
        assert judged(server, changed, store).parts["match"].num_judged == 4
        assert len(server.requests) == 3
    assert all(json.loads(line)["score"] == 5 for line in store.read_text().splitlines())


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_of_us_stops_and_does_not_tell_the_key(tmp_path: Path, status: int) -> None:
    with (
        chat_server(lambda body, _: Reply(status, body=f"bad key {KEY}")) as server,
        pytest.raises(InputError, match=rf"--judge {server.url}: {status} bad key \*\*\*") as caught,
    ):
        judged(server, answers(20), tmp_path / "j.jsonl")
    assert KEY not in str(caught.value)
    assert KEY not in repr(model(server))
    assert len(server.requests) < 20


def test_a_refusal_does_not_wait_for_the_others_next_tries(tmp_path: Path) -> None:
    def answer(body: dict[str, Any], _: int) -> Reply:
        refuses = "Said 1" in body["messages"][1]["content"]
        return Reply(401, wait_seconds=0.3) if refuses else Reply(429, headers={"Retry-After": "50"})

    started = time.monotonic()
    with chat_server(answer) as server, pytest.raises(InputError, match="401"):
        judged(server, answers(2), tmp_path / "j.jsonl")
    assert time.monotonic() - started < 20


def test_redirects_are_not_followed_with_the_key(tmp_path: Path) -> None:
    with chat_server(lambda body, _: Reply(content="{}")) as elsewhere:
        moved = Reply(307, headers={"Location": f"{elsewhere.url}/chat/completions"})
        with chat_server(lambda body, _: moved) as server, pytest.raises(InputError, match="307"):
            judged(server, answers(1), tmp_path / "j.jsonl")
    assert elsewhere.requests == []


def test_a_model_that_takes_no_temperature_is_asked_without(tmp_path: Path) -> None:
    def answer(body: dict[str, Any], _: int) -> Reply:
        if "temperature" in body:
            return Reply(400, body="Unsupported value: 'temperature'")
        return Reply(content='{"pred": "yes", "score": 5}')

    with chat_server(answer) as server:
        assert judged(server, answers(1), tmp_path / "j.jsonl").parts["match"].num_judged == 1


def test_nobody_there_is_no_reply() -> None:
    with chat_server(lambda body, _: Reply()) as server:
        pass
    with pytest.raises(NoReplyError, match=r"no reply: .*refused.*, 2 times"):
        model(server, max_tries=2).ask("a", "b")


@pytest.mark.parametrize("url", ["api.openai.com/v1", "file:///etc/passwd", "https://"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(InputError, match="--judge"):
        ChatModel(url, "m", key=None)


def test_the_prompts_of_the_kinds_differ() -> None:
    kinds: tuple[Kind, ...] = ("match", "correctness", "detail", "context", "temporal", "consistency")
    assert len({prompt_for(kind, answers(1))[0] for kind in kinds}) == 6
