"""How often the shipped `shapes` model is right about 200 clips it has never seen: `python -m benchmarks.shapes`.

The clips are generated, written as mp4 files and read back like any video. Below 95% anywhere the exit code is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import vidlabel
from vidlabel.train.shapes_exam import examine

SHIPPED = Path(vidlabel.__file__).parent / "models" / "weights" / "shapes"
WANTED = 0.95


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=SHIPPED)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--mistakes", action="store_true", help="print every wrong answer")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        result = examine(options.weights, Path(scratch), num_scenes=options.clips)
    for asked, row in sorted(result.shares.items()):
        print(f"{asked:24}" + "  ".join(f"{name} {share:6.1%}" for name, share in row.items()))
    if options.mistakes:
        print(*result.mistakes, sep="\n")
    print(f"lowest {result.worst:.1%}, wanted {WANTED:.0%}, {options.clips} clips")
    return 0 if result.worst >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
