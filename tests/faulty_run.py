"""A run with stages that misbehave, in a process of its own: `python -m tests.faulty_run FOLDER OUT TIMEOUT`."""

import sys
from pathlib import Path

from tests import faults
from tests.runs import job, label
from vidlabel.config import Limits

if __name__ == "__main__":
    limits = Limits(num_workers=2, batch_size=1, flush_seconds=0.05, seconds_per_video=float(sys.argv[3]))
    made = job(Path(sys.argv[2]), limits=limits, stages=faults.STAGES)
    sys.exit(label(Path(sys.argv[1]), made).exit_code)
