"""Reading video files: the only place that knows a decoder library.

What comes out is in seconds of presentation time, as true as the file tells it; what goes in is one regular file,
and no other file or address is ever opened, whatever that file says.
"""

from vidlabel.decoders.pictures import Glance, stretched
from vidlabel.decoders.probing import probe, probe_start, reference_facts
from vidlabel.decoders.pyav import Damage, TimedFrame, decode_span, small_frames
from vidlabel.decoders.text import text_track

__all__ = [
    "Damage",
    "Glance",
    "TimedFrame",
    "decode_span",
    "probe",
    "probe_start",
    "reference_facts",
    "small_frames",
    "stretched",
    "text_track",
]
