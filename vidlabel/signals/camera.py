"""What the camera does: the one move of the whole picture that most of its flow agrees with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vidlabel.signals.flow import Flow
from vidlabel.signals.seen import Seen

if TYPE_CHECKING:
    import numpy.typing as npt

    Reals = npt.NDArray[np.float64]

STILL = 0.01  # of the diagonal a second: slower than that is not moving
SHAKE = 0.03  # likewise, how much a shaking camera's speed changes within `NEAR_SECONDS`
NEAR_SECONDS = 0.2
MIDDLE = 0.27  # mean distance from the middle of a 16:9 picture, in diagonals: what a zoom or roll moves is so far out
AGREES = 0.4  # of what can be followed must move with the camera
_ROUNDS = 5
_SETTLED = 1e-4  # diagonals a second: a hundredth of what counts as a move
_ROUND = 1e-9  # keeps what lies in one place from being divided by nothing


@dataclass(frozen=True, slots=True)
class Move:
    """Of the picture, a second: what the camera does is the opposite."""

    right: float
    down: float
    grows: float  # 0.1: by a tenth
    turns: float  # radians, clockwise
    agrees: float  # share of the flow that follows

    @property
    def as_speeds(self) -> tuple[float, float, float, float]:
        """In shares of the diagonal a second, comparable."""
        return self.right, self.down, self.grows * MIDDLE, self.turns * MIDDLE


def move_of(flow: Flow) -> Move:
    """A similarity, by least squares in which what does not agree loses its weight, round by round.

    Of complex numbers it is a straight line: speed = shift + swell * place, where to grow is the real part of `swell`
    and to turn the imaginary one."""
    places, speeds = flow.places, flow.speeds
    shift, swell = complex(_middle(speeds.real), _middle(speeds.imag)), 0j
    off = speeds - shift
    for _ in range(_ROUNDS):
        squares = off.real**2 + off.imag**2
        width = max(0.003**2, 1.5**2 * _middle(squares))
        weights = 1 / (1 + squares / width)
        weights /= weights.sum()
        place, speed = complex(weights @ places), complex(weights @ speeds)
        around = places - place
        pulled = weights * around.conj()
        before, swell = swell, complex(pulled @ (speeds - speed)) / (float((pulled @ around).real) + _ROUND)
        moved, shift = shift, speed - swell * place
        off = speeds - shift - swell * places
        if max(abs(shift - moved), abs(swell - before)) < _SETTLED:
            break
    agrees = np.abs(off) < np.maximum(STILL, 0.25 * np.abs(speeds - off))
    return Move(shift.real, shift.imag, swell.real, swell.imag, float(agrees.mean()))


def _middle(values: Reals) -> float:
    return float(np.partition(values, len(values) // 2)[len(values) // 2])


def camera_motion(seen: Seen) -> str | None:
    """One of the names that the table of signals has; None where no two moments could be compared."""
    moves = [(flow.at_seconds, move_of(flow)) for flow in seen.flows]
    if not moves:
        return None
    clear = [(at, move.as_speeds) for at, move in moves if move.agrees >= AGREES]
    if 2 * len(clear) < len(moves):
        return "unclear"
    return _name(np.array([at for at, _ in clear]), np.array([speeds for _, speeds in clear]))


def _name(at_seconds: Reals, speeds: Reals) -> str:
    """`speeds` (P, 4): right, down, grows, turns, at P moments."""
    mean = speeds.mean(axis=0)
    largest = int(np.abs(mean).argmax())
    steady = float(np.abs(mean[largest]))
    tremble = _tremble(at_seconds, speeds[:, :2])
    if tremble >= SHAKE and tremble > steady / 2:
        return "shake"
    if steady < STILL:
        return "static" if float(np.abs(speeds - mean).max()) < 2 * SHAKE else "unclear"
    forward = mean[largest] > 0
    # the picture goes left as the camera pans right, and up as it tilts down
    names = (("pan_left", "pan_right"), ("tilt_up", "tilt_down"), ("zoom_in", "zoom_out"), ("roll", "roll"))
    return names[largest][0 if forward else 1]


def _tremble(at_seconds: Reals, speeds: Reals) -> float:
    """How much speed differs between moments that are so near that a steady camera goes on in the same way."""
    near = np.diff(at_seconds) <= NEAR_SECONDS
    changes = np.diff(speeds, axis=0)[near]
    return float(np.sqrt((changes**2).sum(axis=1).mean() / 2)) if len(changes) else 0.0
