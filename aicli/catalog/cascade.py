"""From the name of an MTCNN to its three networks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, get_args

from aicli.catalog import entries, files
from aicli.catalog.digests import remembered_digest
from aicli.catalog.required import require_file
from aicli.catalog.specs import Channels, FaceModel
from aicli.errors import ModelError

__all__ = ["load_faces"]

NETS = ("pnet", "rnet", "onet")
PIXELS = "_pixels"
"""What the role of a network's file ends with that takes the pixels as they are."""


def load_faces(model: str = "mtcnn", *, packaged_guest: bool = False) -> FaceModel:
    """An MTCNN by its name; one's own is registered by ``aicli models add``.

    For the packaged guest only the networks that it takes are compared with their checksums.

    Raises :class:`ModelError` when it is unknown, absent or damaged.
    """
    entry = entries.require_entry(str(model))
    if entry.task != "detect-faces":
        raise ModelError(
            f"the model {entry.name} is for the task {entry.task}; use: aicli {entry.task} -m {entry.name}"
        )
    has_pixels = all(net + PIXELS in entry.files for net in NETS)
    locate = require_file if has_pixels and packaged_guest else _verified
    paths = {net: locate(entry, net) for net in NETS}
    pixels = {net: _verified(entry, net + PIXELS) for net in NETS} if has_pixels else None
    mean, std, order = (
        entry.input.get(key, default) for key, default in (("mean", 127.5), ("std", 128), ("channels", "rgb"))
    )
    if order not in get_args(Channels):
        raise ModelError(f"the model {entry.name} has channels '{order}' in the catalog, not rgb or bgr")
    return FaceModel(entry.name, **paths, mean=_first(mean), std=_first(std), channels=order, pixels=pixels)


def _verified(entry: entries.Entry, role: str) -> Path:
    path = require_file(entry, role)
    files.check_digest(entry, entry.files[role], path, remembered_digest(path, partial(files.checksum, path)))
    return path


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, (list, tuple)) else value)
