"""The metadata block that ``aicli train`` leaves in its files: what TFLite's own metadata have no words for."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from aicli._record import Record
from aicli.nn.model_file.flatbuffer import DamagedError

__all__ = ["NAME", "OwnBlock", "read_own_block"]

NAME = "AICLI_CLASSIFIER"
MAX_BYTES = 16 << 20


class OwnBlock(Record):
    """``input`` is a record as in the catalog (mean, std, channels, crop, filter); ``labels`` one for each class."""

    input: Mapping[str, Any]
    labels: tuple[str, ...]


def read_own_block(block: bytes) -> OwnBlock:
    """Reads the block. Raises :class:`DamagedError`: a file may claim anything."""
    try:
        record = json.loads(block[: MAX_BYTES + 1])
        source, labels = dict(record["input"]), record["labels"]
        mean, std = ([float(value) for value in source[key]] for key in ("mean", "std"))
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DamagedError(f"the block {NAME} cannot be read") from None
    sound = len(mean) == len(std) == 3 and all(map(math.isfinite, mean)) and all(0 < value < 1e9 for value in std)
    if not sound or not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DamagedError(f"the block {NAME} does not say what it should")
    return OwnBlock({**source, "mean": mean, "std": std, "exact": True}, tuple(labels))
