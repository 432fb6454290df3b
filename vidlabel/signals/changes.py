"""Signals of time, from a glance at every frame: what stands still, flashes, is cut, is black or white."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vidlabel.signals.seen import Pixels, Seconds, Seen

if TYPE_CHECKING:
    import numpy.typing as npt

    Reals = npt.NDArray[np.float64]

BLACK, WHITE = 0.10 * 255, 0.90 * 255  # luma, as ffmpeg's blackdetect has it
ALL_OF_IT = 0.98  # of the pixels, likewise
LATER_SECONDS = 0.5  # what has not changed after so long stands still
CHANGED, FEW = 8, 0.005  # grey levels; share of pixels that may change by as much in a picture that stands still
FLASH = 0.10  # of full luma, up and down again: as in WCAG 2, "general flash"
SWING_SECONDS, FLASH_SECONDS = 0.2, 0.5  # one way; there and back
STROBE = 3  # flashes within a second; WCAG 2 allows no more
CUT, CUT_RATIO = 14.0, 3.0  # grey levels between two frames; over what is usual around them
CUT_SECONDS, STAYS = 0.15, 0.6  # so much of a cut's step is left after so long; a flash is gone, but what moved is not
AROUND_SECONDS = 0.4


def black_share(seen: Seen) -> float:
    return _share_of(seen, (seen.glances <= BLACK).mean(axis=(1, 2)) >= ALL_OF_IT)


def white_share(seen: Seen) -> float:
    return _share_of(seen, (seen.glances >= WHITE).mean(axis=(1, 2)) >= ALL_OF_IT)


def _share_of(seen: Seen, frames: npt.NDArray[np.bool_]) -> float:
    return float(np.clip(seen.shares[frames].sum(), 0, 1))


def static_share(seen: Seen) -> float | None:
    seconds = seen.glance_seconds
    later = np.searchsorted(seconds, seconds + LATER_SECONDS - 1e-6)
    firsts = np.flatnonzero(later < len(seconds))
    if not len(firsts):
        return None
    changes = np.abs(seen.glances[later[firsts]].astype(np.int16) - seen.glances[firsts])
    still = (changes > CHANGED).mean(axis=(1, 2)) < FEW
    shares = seen.shares[firsts]
    return float(shares[still].sum() / shares.sum())


def flashes_of(glances: Pixels, glance_seconds: Seconds) -> Seconds:
    """When each flash begins: the whole picture's luma swings one way and back."""
    swings = _swings(glances.mean(axis=(1, 2)) / 255, glance_seconds)
    begun = []
    index = 0
    while index + 1 < len(swings):
        (began, up), (ended, back_up) = swings[index : index + 2]
        is_flash = up != back_up and ended - began <= FLASH_SECONDS
        if is_flash:
            begun.append(began)
        index += 2 if is_flash else 1  # the way back of one flash begins no other
    return np.array(begun, np.float64)


def _swings(levels: Reals, seconds: Seconds) -> list[tuple[float, bool]]:
    """When luma rose (True) or fell by a flash's height at once, and which it was."""
    swings: list[tuple[float, bool]] = []
    start = 0
    for end in range(1, len(levels)):
        while start < end - 1 and seconds[end] - seconds[start] > SWING_SECONDS:
            start += 1
        change = levels[end] - levels[start : end + 1]
        steepest = int(np.abs(change).argmax())
        if abs(change[steepest]) >= FLASH:
            up = bool(change[steepest] > 0)
            if not swings or swings[-1][1] != up or seconds[start + steepest] >= swings[-1][0] + FLASH_SECONDS:
                swings.append((float(seconds[end]), up))
            start = end
    return swings


def flash(seen: Seen) -> bool:
    return len(seen.flashes) > 0


def strobe(seen: Seen) -> bool:
    begun = seen.flashes
    return any(begun[index + STROBE] - begun[index] <= 1.0 for index in range(len(begun) - STROBE))


def cut_inside(seen: Seen) -> bool:
    """A hard cut: two frames differ far more than those around do, and what is before and after stays different."""
    glances, seconds = seen.glances.astype(np.int16), seen.glance_seconds
    steps = np.abs(np.diff(glances, axis=0)).mean(axis=(1, 2))  # (N - 1,)
    for index in np.flatnonzero(steps >= CUT):
        near = np.abs(seconds[1:] - seconds[index + 1]) <= AROUND_SECONDS
        near[index] = False
        usual = float(np.median(steps[near])) if near.any() else 0.0
        step = float(steps[index])
        if step >= CUT_RATIO * max(usual, 1.0) and _stays(glances, seconds, int(index)) >= STAYS * step:
            return True
    return False


def _stays(glances: npt.NDArray[np.int16], seconds: Seconds, index: int) -> float:
    """How unlike the frames shortly before the change at `index` are to those shortly after, at least."""
    before = glances[(seconds <= seconds[index]) & (seconds > seconds[index] - CUT_SECONDS)]
    after = glances[(seconds >= seconds[index + 1]) & (seconds < seconds[index + 1] + CUT_SECONDS)]
    return min(float(np.abs(one - other).mean()) for one in before for other in after)
