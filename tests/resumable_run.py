"""A run in a process of its own, to be killed: `python -m tests.resumable_run FOLDER OUT`."""

import sys
from pathlib import Path

from tests.runs import job, label
from vidlabel.config import Limits

if __name__ == "__main__":
    limits = Limits(num_workers=2, batch_size=1, flush_seconds=0.05)
    sys.exit(label(Path(sys.argv[1]), job(Path(sys.argv[2]), limits=limits)).exit_code)
