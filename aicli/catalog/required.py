"""The file of a model that is needed now."""

from __future__ import annotations

import os
from pathlib import Path

from aicli.catalog.entries import Entry
from aicli.catalog.files import format_size
from aicli.errors import Hint, ModelError

__all__ = ["require_file"]


def require_file(entry: Entry, role: str) -> Path:
    """Where a file of a model is. Raises :class:`ModelError` with the command that gets it."""
    path = entry.files[role].locate()
    if path is not None:
        return path
    if os.environ.get("AICLI_AUTO_PULL", "0") not in ("", "0") and not entry.own and entry.verified:
        from aicli.catalog.pulling import pull

        return pull(entry.name)[role]
    if entry.own:
        raise ModelError(f"the model {entry.name} is registered, but its file {entry.files[role].file} is gone")
    size = f"{format_size(entry.size)}, " if entry.size is not None else ""
    what = f"the model {entry.name} is known but not here ({size}{entry.license})"
    if entry.verified:
        raise ModelError(f"{what}; get it: aicli models pull {entry.name}", hint=Hint(":pull", "or give {}"))
    raise ModelError(what, hint=Hint("models pull:trust", f"get it: aicli models pull {{}} {entry.name}"))
