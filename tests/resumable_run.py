"""A run in a process of its own, to be killed: `python -m tests.resumable_run FOLDER OUT [SHARD]`."""

import sys
from dataclasses import replace
from pathlib import Path

from tests.mortal_captioners import SlowEcho
from tests.runs import job, label
from vidlabel.config import Limits
from vidlabel.outputs import parse_output
from vidlabel.shard import parse_shard
from vidlabel.store_lock import LockTimes

if __name__ == "__main__":
    limits = Limits(num_workers=2, batch_size=1, flush_seconds=0.05)
    made = job(Path("unused"), limits=limits)
    quick = LockTimes(beat_seconds=0.3, stale_seconds=1.5, patience_seconds=1.0, push_seconds=0.05)
    made = replace(made, output=parse_output(sys.argv[2]), store_times=quick)
    if made.output.url is not None:  # whoever is to kill it sees its parts later there
        made = replace(made, load_captioner=SlowEcho)
    if len(sys.argv) > 3:
        made = replace(made, output=replace(made.output, shard=parse_shard(sys.argv[3])))
    sys.exit(label(Path(sys.argv[1]), made).exit_code)
