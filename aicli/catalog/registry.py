"""The user's registry: models of their own, and the checksums of files that they trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aicli._files import file_lock, write_file
from aicli.catalog import entries

__all__ = ["forget", "record_model", "record_trust"]


def _update(change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the registry while no other process does."""
    path = entries.user_registry()
    with file_lock(path.with_name(".registry.lock")):
        content = entries.read_catalog(path) or {"version": 1, "models": [], "trusted": {}}
        change(content)
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        write_file(path, text.encode(), mode=0o644, sync=True)


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
