"""The part of `vidlabel stats` that looks at signals: numbers are spread over clips, the others are counted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vidlabel.signals.table import SIGNALS
from vidlabel.tables.reading import LabelTable

_SCORES = ("aesthetic", "nsfw", "clip_score")  # of `vidlabel score`
_NUMBERS = ("temporal_consistency", *_SCORES, *(signal.name for signal in SIGNALS if signal.kind in ("float", "int")))
_TRUTHS = tuple(signal.name for signal in SIGNALS if signal.kind == "bool")
# boxes and hashes are texts of which hardly two are alike: nothing to be counted
_TEXTS = tuple(s.name for s in SIGNALS if s.kind == "string" and not s.name.endswith(("_box", "phash")))


def signal_types(table: LabelTable) -> dict[str, pa.DataType]:
    """The signals that the file has."""
    types = dict.fromkeys(_NUMBERS, pa.float64()) | dict.fromkeys(_TRUTHS, pa.bool_())
    types |= dict.fromkeys(_TEXTS, pa.string())
    return {name: kind for name, kind in types.items() if name in table.names}


def numbers_in(batch: pa.RecordBatch) -> dict[str, npt.NDArray[np.generic]]:
    """In four bytes each: a file may have ten million rows, and a dozen of these columns."""
    names = [name for name in _NUMBERS if name in batch.schema.names]
    return {name: batch[name].to_numpy(zero_copy_only=False).astype(np.float32) for name in names}


def numeric(names: list[str]) -> list[str]:
    return [name for name in _NUMBERS if name in names]


def counted_in(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    """Truths as words."""
    names = [name for name in (*_TRUTHS, *_TEXTS) if name in batch.schema.names]
    return {name: batch[name].cast(pa.string()) for name in names}
