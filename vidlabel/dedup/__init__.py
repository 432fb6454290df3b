"""Near-duplicates of a run, or of several files of labels: which clips are alike, which of them stays, and what goes.

Everything is held in arrays of a few bytes a clip; vectors are on disk. See `deduplicating.py` for the order of work.
"""
