"""The platform's places for what a program keeps for its user."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

__all__ = ["cache_folder", "platform_folder"]


def cache_folder() -> Path | None:
    """What can be made again: ``AICLI_CACHE_DIR``, else the platform's place; ``None`` where the user has no home."""
    given = os.environ.get("AICLI_CACHE_DIR")
    return Path(given).expanduser() if given else platform_folder("cache")


def platform_folder(kind: Literal["cache", "data"]) -> Path | None:
    """The folder ``aicli`` among the user's caches or data, as the platform has them; ``None`` without a home."""
    try:
        home = Path.home()
    except RuntimeError:
        return None
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "aicli"
        return local / "cache" if kind == "cache" else local
    if sys.platform == "darwin":
        return home / "Library" / ("Caches" if kind == "cache" else "Application Support") / "aicli"
    variable, usual = ("XDG_CACHE_HOME", ".cache") if kind == "cache" else ("XDG_DATA_HOME", ".local/share")
    given = os.environ.get(variable, "")
    # The XDG specification has relative paths ignored.
    return (Path(given) if os.path.isabs(given) else home / usual) / "aicli"
