"""What measures each signal: functions of what was seen of a clip."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from vidlabel.signals import bars, camera, changes, flow, light, overlay, phash, text
from vidlabel.signals.seen import Seen
from vidlabel.signals.table import Value

MEASURES: Mapping[str, Callable[[Seen], Value]] = {
    "motion": flow.motion,
    "camera_motion": camera.camera_motion,
    "static_share": changes.static_share,
    "flash": changes.flash,
    "strobe": changes.strobe,
    "cut_inside": changes.cut_inside,
    "black_share": changes.black_share,
    "white_share": changes.white_share,
    "brightness": light.brightness,
    "contrast": light.contrast,
    "saturation": light.saturation,
    "blur": light.blur,
    "letterboxed": bars.letterboxed,
    "pillarboxed": bars.pillarboxed,
    "content_box": bars.content_box,
    "overlay_share": overlay.overlay_share,
    "text_coverage": text.text_coverage,
    "phash": phash.phash,
}

# what is looked at beside thumbnails, and for which signals
PAIRED = frozenset({"motion", "camera_motion"})
GLANCED = frozenset({"static_share", "flash", "strobe", "cut_inside", "black_share", "white_share"})
PAGED = frozenset({"text_coverage"})


def measure(names: Iterable[str], seen: Seen) -> dict[str, Value]:
    """The signals by name, in the order asked for."""
    return {name: MEASURES[name](seen) for name in names}
