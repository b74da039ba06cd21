"""Where models lie: those that come with aicli, and those of the user."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from aicli import _files
from aicli._files import platform_folder
from aicli.errors import UsageError

__all__ = ["bundled_folders", "bundled_models", "cache_folder", "catalog_file", "models_stamp", "user_models"]

DECIDING = ("AICLI_MODELS_DIR", "XDG_DATA_HOME", "HOME", "USERPROFILE", "LOCALAPPDATA")
"""What of the environment decides where the user's models lie."""


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
    return Path(given).expanduser() if given else _at_home(platform_folder("data")) / "models"


def models_stamp() -> int:
    """A number that changes with every file that is added to the user's models, replaced or removed."""
    try:
        return os.stat(_user_models(tuple(map(os.environ.get, DECIDING)))).st_mtime_ns
    except OSError:
        return 0


@lru_cache(maxsize=4)
def _user_models(environment: tuple[str | None, ...]) -> str:
    """Every request asks for it."""
    return str(user_models())


def cache_folder() -> Path:
    """What can be made again: ``AICLI_CACHE_DIR``, else ``aicli`` in the platform's place for caches."""
    return _at_home(_files.cache_folder())


def _at_home(folder: Path | None) -> Path:
    if folder is None:
        raise UsageError("you have no home folder; set AICLI_MODELS_DIR and AICLI_CACHE_DIR")
    return folder
