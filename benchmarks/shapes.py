"""How often the shipped `shapes` model is right about 200 clips it has never seen: `python -m benchmarks.shapes`.

The clips are generated, written as mp4 files and read back like any video. Below 95% anywhere, or below 90% for any one
kind of question, the exit code is 1.
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
WANTED_OF_A_KIND = 0.9  # of which there are far fewer


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
    print("\nkind of question     right     asked    share")
    for kind, (num_right, num) in result.question_kinds.items():
        print(f"{kind:16}{num_right:>10}{num:>10}{num_right / num:>9.1%}")
    if options.mistakes:
        print(*result.mistakes, sep="\n")
    print(
        f"lowest {result.worst:.1%}, wanted {WANTED:.0%}; lowest kind of question {result.worst_kind:.1%}, "
        f"wanted {WANTED_OF_A_KIND:.0%}; {options.clips} clips"
    )
    return 0 if result.worst >= WANTED and result.worst_kind >= WANTED_OF_A_KIND else 1


if __name__ == "__main__":
    sys.exit(main())
