"""A model file on the disk, looked at once: its checksum, its inputs and outputs, its metadata."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from aicli.catalog.files import open_mapped
from aicli.catalog.formats.tflite import ModelInfo, read_model
from aicli.errors import ModelError
from aicli.nn.model_file.flatbuffer import DamagedError

if TYPE_CHECKING:
    from aicli.catalog.formats.metadata import Metadata

__all__ = ["ModelFile", "inspect_file"]


class ModelFile(NamedTuple):
    """What the bytes of a .tflite file say. ``metadata_error`` tells why metadata that are there cannot be read."""

    path: Path
    size: int
    sha256: str
    info: ModelInfo
    metadata: Metadata | None
    metadata_error: str | None


def inspect_file(path: Path, *, metadata: bool = True, check: Callable[[str], None] | None = None) -> ModelFile:
    """Reads a .tflite file without running it; ``check`` sees its SHA-256 first and may refuse it.

    Raises :class:`ModelError` when it is none or is damaged.
    """
    with open_mapped(path) as data:
        digest = hashlib.sha256(data).hexdigest()
        if check is not None:
            check(digest)
        try:
            info = read_model(data)
        except DamagedError as error:
            if data[4:8] != b"TFL3":
                raise ModelError(f"{path}: no TFLite model: {_looks_like(data[:512])}") from None
            raise ModelError(f"{path}: the TFLite model is damaged: {error}") from None
        found, problem = None, None
        block = info.metadata.get("TFLITE_METADATA")
        if metadata and block:
            from aicli.catalog.formats.metadata import read_metadata

            try:
                found = read_metadata(block, data)
            except DamagedError as error:
                problem = str(error)
        return ModelFile(path, len(data), digest, info, found, problem)


def _looks_like(head: bytes) -> str:
    """What a file is that should have been a model, for the formats that are taken for one."""
    text = head.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html")):
        return "this is a web page (a download that went wrong?)"
    if text.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer; run: git lfs pull"
    if head.startswith(b"PK"):
        return "this is a zip file; unpack it, or convert the .keras model to .tflite"
    if head.startswith(b"\x89HDF"):
        return "this is a Keras HDF5 file; convert it to .tflite"
    if head.startswith(b"\x08") or b"onnx" in head[:64].lower():
        return "this may be ONNX or a frozen graph; convert it to .tflite"
    return "it does not begin as a .tflite file does"
