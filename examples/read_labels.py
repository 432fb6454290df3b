"""Print the first labels of a file as a table: `python examples/read_labels.py labels.parquet`."""

import sys
import textwrap

import pandas as pd

WIDTH = 70  # of the caption column


def main(path: str, count: int = 20) -> None:
    labels = pd.read_parquet(path)
    left = max([len("video"), *labels.video_path.head(count).str.len()])
    print(f"{'video':{left}}  {'seconds':>15}  caption")
    print(f"{'-' * left}  {'-' * 15}  {'-' * WIDTH}")
    for row in labels.head(count).itertuples():
        span = f"{row.start_seconds:6.2f} - {row.end_seconds:6.2f}"
        first, *more = textwrap.wrap(row.caption, WIDTH) or [""]
        print(f"{row.video_path:{left}}  {span}  {first}")
        for line in more:
            print(" " * (left + 19) + line)
    print(f"{len(labels)} labels in {path}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
