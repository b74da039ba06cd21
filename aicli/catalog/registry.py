"""The user's registry: models of their own, and the checksums of files that they trusted."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aicli.catalog import entries
from aicli.catalog.locks import file_lock
from aicli.errors import AicliError

__all__ = ["forget", "record_model", "record_trust", "write_atomically"]


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file that is there completely or not at all. Raises :class:`AicliError`."""
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".tmp", delete=False) as stream:
            temporary = stream.name
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise AicliError(f"cannot write {path}: {error.strerror or error}") from None


def _update(change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the registry while no other process does."""
    path = entries.user_registry()
    with file_lock(path.with_name(".registry.lock")):
        content = entries.read_catalog(path) or {"version": 1, "models": [], "trusted": {}}
        change(content)
        write_atomically(path, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())


def record_model(item: dict[str, Any]) -> None:
    """Adds an entry, in the catalog's form, in place of one with the same name."""

    def change(content: dict[str, Any]) -> None:
        others = [other for other in content.get("models", []) if other.get("name") != item["name"]]
        content["models"] = [*others, item]

    _update(change)


def record_trust(checksums: dict[str, str]) -> None:
    """Remembers the SHA-256 of files, by name."""

    def change(content: dict[str, Any]) -> None:
        content["trusted"] = {**content.get("trusted", {}), **checksums}

    _update(change)


def forget(name: str, files: list[str]) -> None:
    """Takes a model and the trust in these files out of the registry."""

    def change(content: dict[str, Any]) -> None:
        content["models"] = [other for other in content.get("models", []) if other.get("name") != name]
        content["trusted"] = {key: value for key, value in content.get("trusted", {}).items() if key not in files}

    if entries.user_registry().is_file():
        _update(change)
