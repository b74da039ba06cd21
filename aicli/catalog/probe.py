"""Unknown model files are run once in a child process: a file that crashes the interpreter crashes only the child."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aicli.nn.engines import Engine

__all__ = ["require_safe"]


def require_safe(path: Path, sha256: str, engine: Engine) -> None:
    """Raises :class:`ModelError` unless this engine runs the file without a crash."""
