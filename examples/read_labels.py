"""Print the first labels of a file as a table: `python examples/read_labels.py labels.parquet`."""

import sys
import textwrap

import pandas as pd

COLUMNS = ["video_path", "start_seconds", "end_seconds", "caption", "flags"]


def main(path: str, count: int = 20) -> None:
    labels = pd.read_parquet(path)
    for row in labels[COLUMNS].head(count).itertuples():
        span = f"{row.start_seconds:7.2f} - {row.end_seconds:5.2f} s"
        caption = textwrap.fill(row.caption, 76, initial_indent="    ", subsequent_indent="    ")
        flags = f"  [{', '.join(row.flags)}]" if len(row.flags) else ""
        print(f"{row.video_path:28} {span}{flags}\n{caption}")
    print(f"{len(labels)} labels in {path}; all columns: {', '.join(labels.columns)}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
