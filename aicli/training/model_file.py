"""The file that training writes: the base's body, a new head, and everything that is needed to use it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from aicli.catalog.formats import own_block
from aicli.catalog.formats.metadata_writer import append_labels, metadata_block
from aicli.catalog.specs import InputSpec
from aicli.training.head import Head
from aicli.training.surgery import Body

__all__ = ["trained_file"]


def trained_file(body: Body, head: Head, input: InputSpec, labels: Sequence[str], description: str) -> bytes:
    """A complete .tflite file; the same arguments give the same bytes."""
    own: dict[str, Any] = {
        "input": {
            "mean": list(input.mean),
            "std": list(input.std),
            "channels": input.channels,
            "crop": input.crop,
            "filter": input.filter,
        },
        "labels": list(labels),
    }
    blocks = {
        "TFLITE_METADATA": metadata_block("aicli classifier", description, input.mean, input.std),
        own_block.NAME: json.dumps(own, ensure_ascii=False, sort_keys=True).encode(),
    }
    return append_labels(body.with_head(head.weights, head.bias, blocks), labels)
