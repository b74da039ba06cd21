"""A model file on the disk, looked at once: its checksum, its inputs and outputs, its metadata."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from aicli._digest import sha256
from aicli._record import Record
from aicli.catalog.digests import remembered_digest
from aicli.catalog.files import open_mapped
from aicli.catalog.formats.tflite import ModelInfo, read_model
from aicli.catalog.formats.ultralytics import Ultralytics, read_ultralytics
from aicli.catalog.specs import Triple
from aicli.errors import ModelError
from aicli.nn.model_file.flatbuffer import DamagedError

if TYPE_CHECKING:
    from aicli.catalog.formats.metadata import Metadata

__all__ = ["ModelFile", "check_file", "inspect_file"]


class ModelFile(Record):
    """What the bytes of a .tflite file say. ``metadata_error`` tells why metadata that are there cannot be read.

    ``ultralytics`` is what that exporter appends to its files.
    """

    path: Path
    size: int
    sha256: str
    info: ModelInfo
    metadata: Metadata | None
    metadata_error: str | None
    ultralytics: Ultralytics | None = None

    @property
    def normalization(self) -> tuple[Triple, Triple] | None:
        """The normalisation that the file states: TFLite Metadata's, or the one of all Ultralytics models."""
        if self.metadata and self.metadata.normalization:
            return self.metadata.normalization
        return ((0.0,) * 3, (255.0,) * 3) if self.ultralytics else None

    @property
    def crop(self) -> str:
        """How photos were fitted to the input where it was trained: the centre for Ultralytics, else what is usual."""
        return "crop" if self.ultralytics else "squash"


def inspect_file(
    path: Path,
    *,
    metadata: bool = True,
    check: Callable[[str], None] | None = None,
    graph: int = 0,
    locale: str | None = None,
) -> ModelFile:
    """Reads a .tflite file without running it; ``check`` sees its SHA-256 first and may refuse it.

    ``graph`` is the one whose inputs and outputs are described; labels are those for ``locale`` where there are any.

    Raises :class:`ModelError` when it is none or is damaged.
    """
    with open_mapped(path) as data:
        digest = remembered_digest(path, lambda: str(sha256(data).hexdigest()))
        if check is not None:
            check(digest)
        try:
            info = read_model(data, graph)
        except DamagedError as error:
            if data[4:8] != b"TFL3":
                raise ModelError(f"{path}: not a TFLite model: {_looks_like(data[:512])}") from None
            raise ModelError(f"{path}: the TFLite model is damaged: {error}") from None
        found, problem, ultralytics = None, None, None
        block = info.metadata.get("TFLITE_METADATA")
        if metadata and block:
            from aicli.catalog.formats.metadata import read_metadata

            try:
                found = read_metadata(block, data, locale)
            except DamagedError as error:
                problem = str(error)
        if metadata:
            try:
                ultralytics = read_ultralytics(data)
            except DamagedError as error:
                problem = problem or str(error)
        return ModelFile(path, len(data), digest, info, found, problem, ultralytics)


def check_file(path: Path, *, foreign: bool = False) -> None:
    """Raises :class:`ModelError` unless every offset, index and size in the file is in order.

    A ``foreign`` file, which no user of this machine has chosen, is also refused for operators that it may not use.
    """
    from aicli.nn.model_file.check import check_foreign, check_model
    from aicli.nn.model_file.tensors import UnusableError

    with open_mapped(path) as data:
        try:
            (check_foreign if foreign else check_model)(data)
        except UnusableError as error:
            raise ModelError(f"{path}: the model cannot be used: {error}") from None
        except DamagedError as error:
            raise ModelError(f"{path}: the TFLite model is damaged: {error}") from None


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
