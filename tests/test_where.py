"""`--where`: what is kept, what an error says, and that one row and a batch of rows get the same answer."""

from __future__ import annotations

import time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidlabel.errors import InputError
from vidlabel.where.batches import arrow_type, not_true
from vidlabel.where.binding import Kind, Where, bind
from vidlabel.where.parsing import MAX_DEPTH, parse
from vidlabel.where.rows import as_kind, value_of

KINDS: dict[str, Kind] = {
    "motion": "number",
    "text_coverage": "number",
    "letterboxed": "truth",
    "camera": "text",
    "caption": "text",
    "flags": "texts",
    "scores": "numbers",
    "a b.c": "number",
    "cell": "cell",
    "blob": "other",
}
ROW: dict[str, Any] = {
    "motion": 0.5,
    "text_coverage": 0.05,
    "letterboxed": False,
    "camera": "pan",
    "caption": "A Dog runs",
    "flags": ["short", "leak"],
    "scores": [1.0, None, 2.5],
    "a b.c": -2.0,
    "cell": None,
}


def bound(text: str) -> Where:
    return bind(parse(text), KINDS)


def answers(text: str, rows: list[dict[str, Any]]) -> list[bool]:
    """Whether each row is kept, asked row by row and all at once."""
    where = bound(text)
    one_by_one = [where.failed(row) is None for row in rows]
    columns = {name: pa.array([row[name] for row in rows], arrow_type(kind)) for name, kind in where.kinds.items()}
    dropped = [not_true(part.tree, columns, len(rows)) for part in where.parts]
    assert [not any(masks) for masks in zip(*dropped, strict=True)] == one_by_one
    return one_by_one


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("motion > 0.2 and text_coverage < 0.1 and not letterboxed", True),
        ("motion > 0.2 AND (text_coverage > 0.1 Or letterboxed)", False),
        ("0.1 < motion <= 0.5", True),
        ("0.1 < motion < 0.5", False),
        ("motion = .5 and motion == 5e-1 and motion <> 1 and motion != -1", True),
        ("motion + 0.5 - text_coverage * 2 / 4 > .9", True),
        ("-motion < 0 and --motion > 0 and abs(-motion) == motion", True),
        ("2 - 1 - 1 == 0 and 8 / 4 / 2 == 1 and 1 + 2 * 3 == 7 and motion > 0", True),
        ("motion / 0 > 1 or motion / 0 <= 1", False),  # nothing is known of it
        ("motion / 0 is null and 1e300 * 1e300 is null", True),
        ("camera in ('pan', \"zoom\")", True),
        ("camera not in ['static']", True),
        ("motion in (0.1, 0.5) and `a b.c` in (-2)", True),
        ('"short" in flags and "leaks" not in flags', True),
        ("2.5 in scores and 2 not in scores", True),
        ("'Dog' in caption and 'dog' in lower(caption)", True),
        ("camera in flags", False),
        ("length(caption) == 10 and length(flags) == 2 and length(scores) == 3", True),
        ("camera < 'paz' and camera >= 'pan'", True),
        ("letterboxed == false", True),
        ("(motion > 1) == letterboxed", True),
        ("not not letterboxed", False),
        ("`motion` > 0.2", True),
        ("cell is null and motion is not null", True),
        ("cell > 3", False),
        ("not cell > 3", False),  # not what is not known is not known
        ("cell > 3 or motion > 0.2", True),
        ("not (cell > 3 and motion > 9)", True),
        ("cell in (3) or cell not in (3)", False),
        ("(cell > 3) is null", True),
        ("true and 1 < 2 and motion > 0", True),
        ("'it\\'s' == \"it's\" and '\\\\n' != '\\n' and motion > 0", True),
    ],
)
def test_rows_are_kept_as_written(text: str, kept: bool) -> None:
    assert answers(text, [ROW]) == [kept]


@pytest.mark.parametrize("name", ["motion", "letterboxed", "camera", "flags"])
def test_a_row_with_nothing_in_a_column_is_kept_by_no_comparison_with_it(name: str) -> None:
    holds = {
        "motion": "motion > 0 or motion <= 0",
        "letterboxed": "letterboxed or not letterboxed",
        "camera": "camera == 'x' or camera != 'x'",
        "flags": "'x' in flags or 'x' not in flags",
    }[name]
    assert answers(holds, [ROW, ROW | {name: None}]) == [True, False]
    assert answers(f"{name} is null or {holds}", [ROW | {name: None}]) == [True]


def test_nan_is_a_missing_value() -> None:
    row = ROW | {"motion": as_kind(float("nan"), "number")}
    assert answers("motion > 0 or motion <= 0", [row]) == [False]
    column = {"motion": pa.array([float("nan"), float("inf"), 1.0])}
    (part,) = bound("motion > 0 or motion <= 0").parts
    assert not_true(part.tree, column, 3).tolist() == [True, True, False]


WRONG = [
    ("motoin > 0.2", r"no column motoin; did you mean motion\?, at 'motoin > 0.2' \(character 1\)"),
    ("motion > 0.2 and Camera == 'x'", r"did you mean camera\?, at \"Camera == 'x'\" \(character 18\)"),
    ("zzz", r"no column zzz; there are a b.c, blob, camera, caption"),
    ("motion > 'x'", r"this is a text, where a number should be, at \"'x'\""),
    ("camera > 3", r"this is a number, where a text should be, at '3'"),
    ("motion", r"motion is a number, not a condition; compare it"),
    ("camera and motion > 1", r"camera is a text, not a condition"),
    ("not flags", r"flags is a list, not a condition"),
    ("flags == 'x'", r"a list cannot be compared"),
    ("letterboxed > false", r"true and false have no order"),
    ("letterboxed + 1 > 2", r"letterboxed is true or false, where a number should be"),
    ("3 in flags", r"this is a number, where a text should be"),
    ("'x' in motion", r"motion is a number, where a text should be"),
    ("camera in caption", r"what is looked for in a text is itself a text in quotes"),
    ("camera in ('a', 3)", r"this is a number, where a text should be, at '3\)'"),
    ("camera in ()", r"an empty list, which nothing is in"),
    ("camera in (motion)", r"a list holds texts or numbers alone, at 'motion\)'"),
    ("motion == null", r"nothing is equal to a missing value; write is null"),
    ("motion is 3", r"null should be here, at '3'"),
    ("blob is null", r"blob is neither a number, nor a text"),
    ("length(motion) > 1", r"motion is a number, where a text should be"),
    ("cell > 3 and cell == 'x'", r"this is a text, where a number should be"),
    ("motion >", r"a column, a number or a text should be here, at its end"),
    ("1 < 2 and true", r"names no column, so that it is true of everything or of nothing, at '1 < 2 and true'"),
    ("motion > 1 camera", r"an operator should be here.*, at 'camera'"),
    ("(motion > 1", r"\) should be here, at its end"),
    ("motion > 1)", r"an operator should be here.*at '\)'"),
    ("", r"nothing is there; write a condition, for example"),
    ("  \n ", r"nothing is there"),
    ("motion > 1 && camera", r"write and, at '&& camera' \(character 12\)"),
    ("!letterboxed", r"write not"),
    ("a.b > 1", r"names with a dot in them are written in backticks"),
    ("motion > 1.2.3", r"not a number, at '1.2.3'"),
    ("motion > 12px", r"not a number, at '12px'"),
    ("motion > 1e999", r"a number too large"),
    ("camera == 'pan", r"a text without an end"),
    ("`motion > 1", r"a column's name without an end"),
    ("camera == '\\q'", r"means nothing in a text; a backslash is written twice"),
    ("camera == '\udcff'", r"bytes that are not UTF-8"),
    ("__import__('os') == 1", r"no function __import__; there are abs, length, lower"),
    ("motion.__class__ == 1", r"names with a dot in them are written in backticks"),
    ("lambda: 1", r"':' means nothing here"),
    ("motion > 1\x1b[31m", r"'\\x1b' means nothing here, at '\\x1b\[31m'"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_what_is_wrong_is_said_in_one_line_that_points_at_it(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^--where: .*{message}") as raised:
        bound(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5_000,
        "not " * 2_400 + "letterboxed",
        "-" * 9_000 + "motion > 0",
        "abs(" * 2_000 + "motion" + ")" * 1_999,
        "(" * MAX_DEPTH + "motion > 0" + ")" * MAX_DEPTH,
        " and ".join(["motion > 0"] * 700),
        " or ".join(["motion > 0"] * 700),
        "motion" + " + 1" * 2_400 + " > 0",
        "motion in (" + "1, " * 3_000 + "2)",
        "'" + "\\'" * 4_900,
        "9" * 9_999,
        "`" * 9_999,
        "x" * 10_001,
        "1" + "." * 9_000,
        "0 < " * 2_000 + "1",
    ],
)
def test_hostile_texts_cost_no_more_than_their_length(text: str) -> None:
    began = time.monotonic()
    try:
        answers(text, [ROW])
    except InputError as error:
        assert len(str(error)) < 300  # noqa: PT017  either way it is over soon, and in one line
    assert time.monotonic() - began < 2


def test_parts_are_those_that_and_joins_however_they_are_spaced() -> None:
    where = bound("motion>0.2   AND (camera=='pan' or abs( motion )<1) and flags is not null")
    assert [part.text for part in where.parts] == [
        "motion > 0.2",
        "(camera == 'pan' or abs(motion) < 1)",
        "flags is not null",
    ]
    assert where.text == " and ".join(part.text for part in where.parts)
    assert [len(bound(text).parts) for text in ("(motion > 1 and motion < 2)", "motion > 1 or motion < 2")] == [1, 1]
    assert [part.text for part in bound("motion in (1, 2) and (motion > 1 and motion < 2)").parts] == [
        "motion in (1, 2)",
        "(motion > 1 and motion < 2)",
    ]


def test_a_part_is_decided_as_soon_as_its_columns_are_known() -> None:
    where = bound("motion > 0.2 and camera == 'pan'")
    assert where.failed({}) is None
    assert where.failed({"camera": "pan"}) is None
    failed = where.failed({"camera": "tilt"})
    assert failed is not None
    assert failed.text == "camera == 'pan'"


# ---- any condition, any rows ---------------------------------------------------------------------------------------

NUMBERS = st.none() | st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 2.0]) | st.floats(allow_nan=False, width=32)
TEXTS = st.none() | st.text("abAB éΣİß", max_size=3)
ROWS = st.fixed_dictionaries(
    {
        "motion": NUMBERS,
        "text_coverage": NUMBERS,
        "letterboxed": st.none() | st.booleans(),
        "camera": TEXTS,
        "caption": TEXTS,
        "flags": st.none() | st.lists(TEXTS, max_size=3),
        "scores": st.none() | st.lists(NUMBERS, max_size=3),
    }
).map(lambda row: {name: as_kind(value, KINDS[name]) for name, value in row.items()})
LITERALS = st.sampled_from(["0", "0.5", "1", "2", "1e3"])
QUOTED = st.sampled_from(["''", "'a'", '"B"', "'é'", "'ab'", "'ß'"])


def _numbers(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner),
        st.builds("-{}".format, inner),
        st.builds("abs({})".format, inner),
    )


NUMERIC = st.recursive(
    LITERALS | st.sampled_from(["motion", "text_coverage", "length(caption)", "length(flags)", "length(scores)"]),
    _numbers,
    max_leaves=4,
)
TEXTUAL = QUOTED | st.sampled_from(["camera", "caption", "lower(camera)", "lower(caption)"])
SIGNS = st.sampled_from(["<", "<=", ">", ">=", "==", "!=", "=", "<>"])
SIMPLE = st.one_of(
    st.builds("{} {} {}".format, NUMERIC, SIGNS, NUMERIC),
    st.builds("{} {} {} {} {}".format, NUMERIC, SIGNS, NUMERIC, SIGNS, NUMERIC),
    st.builds("{} {} {}".format, TEXTUAL, SIGNS, TEXTUAL),
    st.builds("{} {}in ({}, {})".format, TEXTUAL, st.sampled_from(["", "not "]), QUOTED, QUOTED),
    st.builds("{} {}in ({}, -{})".format, NUMERIC, st.sampled_from(["", "not "]), LITERALS, LITERALS),
    st.builds("{} {}in {}".format, QUOTED, st.sampled_from(["", "not "]), TEXTUAL),
    st.builds("{} in flags".format, TEXTUAL),
    st.builds("{} in scores".format, NUMERIC),
    st.builds("{} is {}null".format, NUMERIC | TEXTUAL | st.just("flags"), st.sampled_from(["", "not "])),
    st.sampled_from(["letterboxed", "letterboxed == true", "true", "letterboxed != (motion > 0)"]),
)
CONDITIONS = st.recursive(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or"]), inner),
        st.builds("not ({})".format, inner),
        st.builds("({}) is null".format, inner),
    ),
    max_leaves=4,
)


@settings(max_examples=120, deadline=None)
@given(CONDITIONS, st.lists(ROWS, max_size=6))
def test_a_batch_gets_the_answers_of_its_rows(text: str, rows: list[dict[str, Any]]) -> None:
    answers(f"({text}) or camera == 'a'", rows)
    answers(f"{text} and motion is not null", rows)


@settings(max_examples=40, deadline=None)
@given(CONDITIONS, ROWS)
def test_a_condition_is_the_same_however_it_is_written_out(text: str, row: dict[str, Any]) -> None:
    where = bound(f"{text} and motion is not null")
    again = bound(where.text)
    assert again.text == where.text
    assert [part.text for part in again.parts] == [part.text for part in where.parts]
    assert [value_of(part.tree, row) for part in again.parts] == [value_of(part.tree, row) for part in where.parts]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60) | st.text("()[]andort <>=!+-*/'\"`\\.0123 motionflags,", max_size=60))
def test_any_text_is_a_condition_or_one_clear_error(text: str) -> None:
    try:
        where = bound(text)
    except InputError as error:
        assert str(error).startswith("--where: ")  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        where.failed(ROW)
