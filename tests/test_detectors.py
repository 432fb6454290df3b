"""Transitions are found to the frame in streams of pictures, and what only looks like one is not."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vidlabel.detectors import DETECTORS, Image, check_detectors, find_transitions, join, judge_cuts
from vidlabel.errors import InputError
from vidlabel.transitions import Thumbs, Transition

FPS = 25.0
SUDDEN = [name for name, kind in DETECTORS.items() if kind.sudden]
EVERYTHING = ",".join(DETECTORS)
GOOD = ["adaptive,dissolve", "content,dissolve", EVERYTHING]


def scene(seed: int, count: int, *, speed: float = 1.0) -> list[Image]:
    """A camera moving over a coloured texture, coarse and fine; every seed has its own texture, tint and brightness."""
    rng = np.random.default_rng(seed)
    wide = np.zeros((90, 640, 3)) + rng.permutation([50, 120, 200]) * (0.6, 1.1)[seed % 2]
    for cell, strength in ((40, 60), (15, 30), (5, 15)):
        coarse = rng.uniform(-strength, strength, (90 // cell + 2, 640 // cell + 2, 1)) + rng.uniform(-5, 5, 3)
        wide += cv2.resize(coarse, (640, 90), interpolation=cv2.INTER_CUBIC)
    picture = np.clip(wide, 0, 255).astype(np.uint8)
    shifts = [round(speed * number) for number in range(count)]
    assert shifts[-1] <= 480
    return [np.ascontiguousarray(picture[:, shift : shift + 160]) for shift in shifts]


def mix(old: Sequence[Image], new: Sequence[Image]) -> list[Image]:
    shares = np.arange(1, len(old) + 1) / (len(old) + 1)
    return [(a * (1 - s) + b * s).astype(np.uint8) for a, b, s in zip(old, new, shares, strict=True)]


def black(count: int) -> list[Image]:
    return [np.zeros((90, 160, 3), np.uint8)] * count


@pytest.mark.parametrize("names", [*SUDDEN, *GOOD])
def test_hard_cuts_are_found_to_the_frame(names: str) -> None:
    images = scene(1, 50) + scene(2, 40) + scene(3, 61)

    assert find_transitions(images, names, FPS) == [Transition(50, 50), Transition(90, 90)]


@pytest.mark.parametrize("names", [*DETECTORS, *GOOD])
@pytest.mark.parametrize("speed", [0.5, 1, 3])
def test_a_moving_camera_is_no_transition(names: str, speed: float) -> None:
    assert find_transitions(scene(4, 150, speed=speed), names, FPS) == []


@pytest.mark.parametrize("names", [*SUDDEN, *GOOD])
@pytest.mark.parametrize("length", [1, 2, 4])
def test_a_flash_is_no_cut(names: str, length: int) -> None:
    images = scene(5, 100)
    images[50 : 50 + length] = [np.full_like(images[0], 255)] * length

    assert find_transitions(images, names, FPS) == []


@pytest.mark.parametrize("names", GOOD)
def test_flashes_one_after_the_other_are_no_cuts(names: str) -> None:
    images = scene(6, 200, speed=0.3)
    for start in range(50, 150, 5):
        images[start] = np.full_like(images[0], 255)

    assert find_transitions(images, names, FPS) == []


# adaptive compares with two frames on either side, so that it needs a little more distance
@pytest.mark.parametrize(("names", "flash"), [("content", 47), ("content", 52), ("adaptive", 44), ("adaptive", 55)])
def test_a_flash_beside_a_cut_does_not_move_the_cut(names: str, flash: int) -> None:
    images = scene(7, 50) + scene(8, 50)
    images[flash] = np.full_like(images[0], 255)

    assert find_transitions(images, names, FPS) == [Transition(50, 50)]


@pytest.mark.parametrize("names", ["dissolve", *GOOD])
@pytest.mark.parametrize("length", [8, 12, 25, 40])
def test_a_dissolve_is_found_and_its_mixed_frames_belong_to_neither_scene(names: str, length: int) -> None:
    old, new = scene(9, 60 + length, speed=0.3), scene(10, 60 + length, speed=0.3)
    images = old[:60] + mix(old[60:], new[:length]) + new[length:]

    (found,) = find_transitions(images, names, FPS)

    # a mixture that is nearly all one scene cannot be told from it
    slack = max(2, length // 8)
    assert abs(found.start - 60) <= slack
    assert abs(found.end - (60 + length)) <= slack


@pytest.mark.parametrize("hold", [0, 1, 10, 50])
@pytest.mark.parametrize("names", ["dissolve", "threshold", *GOOD])
def test_a_fade_through_black_is_one_transition(names: str, hold: int) -> None:
    old, new = scene(11, 75), scene(12, 75)
    images = old[:60] + mix(old[60:], black(15)) + black(hold) + mix(black(15), new[:15]) + new[15:]

    (found,) = find_transitions(images, names, FPS)

    assert 57 <= found.start < found.end + (names == "threshold") <= 94 + hold
    if names == "dissolve":
        assert found.start <= 67
        assert found.end >= 83 + hold


@pytest.mark.parametrize("names", ["dissolve", "adaptive,dissolve"])
def test_a_change_of_light_is_no_transition(names: str) -> None:
    images = scene(13, 120, speed=0.2)
    levels = np.concatenate([np.full(50, 1.0), np.linspace(1.0, 0.45, 20), np.full(50, 0.45)])

    darker = [(image * level).astype(np.uint8) for image, level in zip(images, levels, strict=True)]

    assert find_transitions(darker, names, FPS) == []


def test_an_object_that_crosses_the_picture_is_no_transition() -> None:
    images = scene(14, 100, speed=0)
    for number, image in enumerate(images):
        left = 2 * number
        image = images[number] = image.copy()
        image[20:80, max(0, left - 60) : left] = (20, 20, 200)

    assert find_transitions(images, "adaptive,dissolve", FPS) == []


def test_a_black_start_and_a_black_end_have_no_transition() -> None:
    images = scene(15, 80)
    faded = black(20) + mix(black(15), images[:15]) + images[15:65] + mix(images[65:], black(15)) + black(20)

    assert find_transitions(faded, EVERYTHING, FPS) == []


def test_plain_colours_are_scenes_like_any_other() -> None:
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    images = [np.full((90, 160, 3), colour, np.uint8) for colour in colours for _ in range(30)]

    assert find_transitions(images, "adaptive,dissolve", FPS) == [Transition(30, 30), Transition(60, 60)]


@pytest.mark.parametrize("fps", [0.0, 0.2, 1.0, 5.0, 60.0, 90000.0])
def test_whatever_frame_rate_the_file_claims_cuts_are_found_to_the_frame(fps: float) -> None:
    images = scene(16, 40) + scene(17, 40)

    assert find_transitions(images, "adaptive,dissolve", fps) == [Transition(40, 40)]


def test_slides_shown_for_one_frame_each_are_scenes_at_one_frame_a_second() -> None:
    images = [scene(seed, 1)[0] for seed in range(20, 26)]

    found = find_transitions(images, "content,histogram", 1.0)

    assert found == [Transition(number, number) for number in range(1, 6)]


def test_a_stream_that_changes_its_size_is_read_on() -> None:
    larger = [cv2.resize(image, (200, 120)) for image in scene(18, 40)]

    assert find_transitions([*scene(18, 40), *larger, *scene(19, 40)], EVERYTHING, FPS)[-1] == Transition(80, 80)


@pytest.mark.parametrize("images", [[], scene(20, 1), scene(20, 2)])
def test_the_shortest_streams_have_no_transition(images: list[Image]) -> None:
    assert find_transitions(images, EVERYTHING, FPS) == []


def test_pictures_are_not_kept() -> None:
    alive: set[int] = set()
    most = 0

    def stream() -> Iterator[Image]:
        nonlocal most
        for number, image in enumerate(itertools.islice(itertools.cycle(scene(21, 60) + scene(22, 60)), 400)):
            image = image.copy()
            alive.add(number)
            weakref.finalize(image, alive.discard, number)
            most = max(most, len(alive))
            yield image

    assert find_transitions(stream(), EVERYTHING, FPS)
    assert most <= 4


def test_known_detectors_are_taken_in_any_order_and_spacing() -> None:
    assert check_detectors(" dissolve, content") == ("dissolve", "content")


@pytest.mark.parametrize("names", ["contents", "content,", "", "content;dissolve", "content,content"])
def test_a_wrong_detector_list_is_one_clear_error(names: str) -> None:
    with pytest.raises(InputError, match=r"--detector: .*(known are content, adaptive|twice)"):
        check_detectors(names)


def test_a_jump_and_back_is_nothing_and_a_jump_and_on_is_a_cut() -> None:
    level = np.array([10, 10, 200, 200, 10, 10], np.float32)
    assert judge_cuts(np.repeat(level[:, None], 8, axis=1), [2, 4]) is None
    level[4:] = 90
    assert judge_cuts(np.repeat(level[:, None], 8, axis=1), [2, 4]) == (2, 4)


spans = st.tuples(st.integers(0, 200), st.integers(0, 12)).map(lambda pair: Transition(pair[0], sum(pair)))


@given(st.lists(spans, max_size=12), st.lists(spans, max_size=6), st.integers(0, 9))
@example([Transition(143, 143), Transition(144, 144)], [Transition(144, 144)], 1)
def test_joined_transitions_are_apart_and_keep_every_find(
    found: list[Transition], blanks: list[Transition], gap: int
) -> None:
    joined = join(found, blanks, gap=gap, num_frames=230)

    assert all(after.start - before.end > gap for before, after in itertools.pairwise(joined))
    assert all(any(find.start <= one.end and one.start <= find.end for find in found) for one in joined)
    reached = max((one.end for one in [*found, *blanks]), default=0)
    for find in found:
        inside = any(one.start <= find.start and find.end <= one.end for one in joined)
        assert inside or min((one.start for one in [*found, *blanks]), default=0) == 0 or reached >= 230


@given(st.integers(1, 20), st.integers(1, 200), st.data())
def test_remembered_pictures_are_the_right_ones(reach: int, count: int, data: st.DataObject) -> None:
    thumbs = Thumbs(reach, 3)
    for number in range(count):
        thumbs.take(np.full((1, 1, 3), number, np.uint8))
    first = data.draw(st.integers(max(0, count - reach), count - 1))
    last = data.draw(st.integers(first, count - 1))

    assert thumbs.between(first, last)[:, 0].tolist() == list(range(first, last + 1))
