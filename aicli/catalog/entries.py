"""The catalog's entries: the models that come with aicli or can be pulled, and those that the user registered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from aicli._record import Record
from aicli.catalog import folders
from aicli.errors import ModelError

__all__ = ["Entry", "FileRef", "all_entries", "find_entry", "known_checksums", "require_entry", "user_registry"]

REGISTRY = "registry.json"
"""The user's own entries and the checksums of what was trusted, in the user's folder."""


class FileRef(Record):
    """A file of a model. ``sha256`` is ``None`` when nobody has computed it; ``size`` is in bytes."""

    file: str
    sha256: str | None
    size: int | None
    url: str | None

    def locate(self) -> Path | None:
        """Where the file is: it came with aicli, or it is in the user's folder; else ``None``."""
        for folder in (*folders.bundled_folders(), folders.user_models()):
            if (folder / self.file).is_file():
                return folder / self.file
        return None

    @property
    def is_bundled(self) -> bool:
        return any((folder / self.file).is_file() for folder in folders.bundled_folders())


class Entry(Record):
    """A model as the catalog knows it.

    ``files`` are ``model`` and ``labels``, or ``pnet``, ``rnet``, ``onet``, and perhaps ``pnet_pixels`` and so on: the
    same networks for a guest that gives them the pixels as they are.
    """

    name: str
    aliases: tuple[str, ...]
    task: str
    title: str
    default: bool
    files: Mapping[str, FileRef]
    license: str
    license_file: str | None
    origin: str
    source: str
    accuracy: Mapping[str, Any] | None
    input: Mapping[str, Any] = MappingProxyType({})
    output: Mapping[str, Any] = MappingProxyType({})
    own: bool = False
    """Registered by the user."""

    @property
    def size(self) -> int | None:
        """Bytes of all files together; ``None`` when one of them is not known."""
        sizes = [ref.size for ref in self.files.values()]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def verified(self) -> bool:
        """Whether every file has a checksum that somebody computed."""
        return all(ref.sha256 for ref in self.files.values())

    @property
    def state(self) -> str:
        """``bundled``, ``own``, ``pulled`` or ``available`` (to be pulled)."""
        if any(ref.locate() is None for ref in self.files.values()):
            return "missing" if self.own else "available"
        if self.own:
            return "own"
        return "bundled" if all(ref.is_bundled for ref in self.files.values()) else "pulled"

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON values."""
        files = {
            role: {
                "file": ref.file,
                "sha256": ref.sha256,
                "bytes": ref.size,
                "url": ref.url,
                "path": _text(ref.locate()),
            }
            for role, ref in self.files.items()
        }
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "task": self.task,
            "title": self.title,
            "state": self.state,
            "default": self.default,
            "verified": self.verified,
            "bytes": self.size,
            "license": self.license,
            "license_file": self.license_file,
            "origin": self.origin,
            "source": self.source,
            "accuracy": dict(self.accuracy) if self.accuracy else None,
            "input": dict(self.input),
            "output": dict(self.output),
            "files": files,
        }


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)


def all_entries() -> tuple[Entry, ...]:
    """Every model by name: the catalog's first, then the user's own. Raises :class:`ModelError` on a damaged file."""
    known = read_entries(folders.catalog_file(), own=False)
    names = {name for entry in known for name in (entry.name, *entry.aliases)}
    return known + tuple(entry for entry in read_entries(user_registry(), own=True) if entry.name not in names)


def user_registry() -> Path:
    return folders.user_models() / REGISTRY


def read_entries(path: Path, *, own: bool) -> tuple[Entry, ...]:
    """The entries of a catalog file; none where there is no such file."""
    try:
        models = read_catalog(path).get("models", [])
        return tuple(_entry(item, own) for item in models)
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path}: this is not a catalog of models ({error!r})") from None


def read_catalog(path: Path) -> dict[str, Any]:
    """The JSON object of a catalog file; empty where there is no such file."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ModelError(f"cannot read the catalog {path}: {error.strerror or error}") from None
    except ValueError as error:
        raise ModelError(f"{path}: the catalog is damaged ({error}); restore it or move it away") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: this is not a catalog of models")
    return content


def _entry(item: Mapping[str, Any], own: bool) -> Entry:
    files = {
        role: FileRef(ref["file"], ref.get("sha256"), ref.get("bytes"), ref.get("url"))
        for role, ref in item["files"].items()
    }
    return Entry(
        name=item["name"],
        aliases=tuple(item.get("aliases", ())),
        task=item["task"],
        title=item.get("title", item["name"]),
        default=bool(item.get("default", False)),
        files=files,
        license=item.get("license", "unknown"),
        license_file=item.get("license_file"),
        origin=item.get("origin", ""),
        source=item.get("source", ""),
        accuracy=item.get("accuracy"),
        input=item.get("input", {}),
        output=item.get("output", {}),
        own=own,
    )


def find_entry(name: str) -> Entry | None:
    """The entry of this name or alias."""
    for entry in all_entries():
        if name == entry.name or name in entry.aliases:
            return entry
    return None


def require_entry(name: str) -> Entry:
    """Like :func:`find_entry`; raises :class:`ModelError` with the nearest names when there is none."""
    entry = find_entry(name)
    if entry is not None:
        return entry
    from difflib import get_close_matches

    names = [known for entry in all_entries() for known in (entry.name, *entry.aliases)]
    near = get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise ModelError(f"there is no model '{name}'; {hint}aicli models list shows all names")


def known_checksums() -> dict[str, str]:
    """The name of the model by the SHA-256 of each file in the catalog that comes with aicli."""
    entries = read_entries(folders.catalog_file(), own=False)
    return {ref.sha256: entry.name for entry in entries for ref in entry.files.values() if ref.sha256}
