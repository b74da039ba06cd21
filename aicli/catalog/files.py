"""Model files on the disk: opening them safely and checking their SHA-256."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aicli._digest import new_sha256
from aicli._text import counted
from aicli.catalog import entries
from aicli.catalog.entries import Entry, FileRef
from aicli.errors import Hint, ModelError

__all__ = ["checksum", "format_size", "open_mapped", "trusted_checksums"]


@contextmanager
def open_mapped(path: Path) -> Iterator[mmap.mmap]:
    """The file's bytes as a read-only map. Raises :class:`ModelError` when it is missing, empty or no regular file."""
    try:
        if path.is_dir():
            raise ModelError(f"{path}: this is a folder, not a .tflite file")
        if not path.exists():
            raise ModelError(f"{path}: there is no such model file; aicli models list shows the models by name")
        if not path.is_file():
            raise ModelError(f"{path}: this is not a regular file")
        with path.open("rb") as stream:
            if path.stat().st_size == 0:
                raise ModelError(f"{path}: the file is empty, this is not a TFLite model")
            with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror or error}") from None
    except ValueError as error:
        if "null" in str(error):  # a NUL in the name
            raise ModelError(f"cannot read the model: {error}") from None
        raise


def checksum(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        digest = new_sha256(os.fstat(stream.fileno()).st_size)
        while block := stream.read(1 << 20):
            digest.update(block)
    return str(digest.hexdigest())


def trusted_checksums() -> dict[str, str]:
    """The SHA-256 that files had when the user pulled them with ``--trust``, by file name."""
    trusted = entries.read_catalog(entries.user_registry()).get("trusted", {})
    return dict(trusted) if isinstance(trusted, dict) else {}


def expected_checksum(ref: FileRef) -> str | None:
    return ref.sha256 or trusted_checksums().get(ref.file)


def check_digest(entry: Entry, ref: FileRef, path: Path, digest: str) -> None:
    """Raises :class:`ModelError` unless this is the digest that the catalog (or the user's trust) names."""
    expected = expected_checksum(ref)
    if expected is None:
        raise ModelError(
            f"{path}: nobody has computed a checksum of {entry.name}",
            hint=Hint("models pull:trust", f"aicli models pull {{}} {entry.name} accepts it"),
        )
    if digest != expected:
        what = f"{path}: the file is not the one in the catalog (its SHA-256 differs)"
        if ref.is_bundled:
            raise ModelError(f"{what}; reinstall aicli")
        again = f"aicli models {'add' if entry.own else 'pull'} {entry.name}"
        raise ModelError(what, hint=Hint("models pull:force", f"get it again: {again} {{}}"))


def format_size(size: int | None) -> str:
    """Bytes for people: 525598 is ``526 kB``, 3610798 is ``3.6 MB``."""
    if size is None:
        return "?"
    if size < 1_000_000:
        return f"{size / 1000:.0f} kB" if size >= 1000 else counted(size, "byte")
    return f"{size / 1_000_000:.1f} MB"
