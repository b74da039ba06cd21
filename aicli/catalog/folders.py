"""Where models lie: those that come with aicli, and those of the user."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from aicli.errors import UsageError

__all__ = ["bundled_folders", "bundled_models", "cache_folder", "catalog_file", "user_models"]


def _bundled(kind: str) -> Path:
    """``models`` or ``labels``: inside an installed package, else beside the package in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_bundled" / kind
    return installed if installed.is_dir() else package.parent / kind


def bundled_folders() -> tuple[Path, Path]:
    """The folders of the models and of the label files that come with aicli."""
    return _bundled("models"), _bundled("labels")


def bundled_models() -> Path:
    return _bundled("models")


def catalog_file() -> Path:
    return bundled_models() / "catalog.json"


def user_models() -> Path:
    """The user's models: ``AICLI_MODELS_DIR``, else ``aicli/models`` in the platform's place for data."""
    given = os.environ.get("AICLI_MODELS_DIR")
    return Path(given).expanduser() if given else _platform_folder("data") / "models"


def cache_folder() -> Path:
    """What can be made again: ``AICLI_CACHE_DIR``, else ``aicli`` in the platform's place for caches."""
    given = os.environ.get("AICLI_CACHE_DIR")
    return Path(given).expanduser() if given else _platform_folder("cache")


def _platform_folder(kind: str) -> Path:
    try:
        home = Path.home()
    except RuntimeError:
        raise UsageError("you have no home folder; set AICLI_MODELS_DIR and AICLI_CACHE_DIR") from None
    if sys.platform == "win32":
        local = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "aicli"
        return local / "cache" if kind == "cache" else local
    if sys.platform == "darwin":
        return home / "Library" / ("Caches" if kind == "cache" else "Application Support") / "aicli"
    variable, usual = ("XDG_CACHE_HOME", ".cache") if kind == "cache" else ("XDG_DATA_HOME", ".local/share")
    given = os.environ.get(variable, "")
    # The XDG specification has relative paths ignored.
    return (Path(given) if os.path.isabs(given) else home / usual) / "aicli"
