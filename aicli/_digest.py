"""SHA-256, with OpenSSL only where there is enough to compute that loading it pays."""

from __future__ import annotations

import sys
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import mmap
    from collections.abc import Callable

__all__ = ["new_sha256", "sha256"]

LARGE = 1 << 20
"""Bytes from which on OpenSSL is the faster: it takes 3 ms and 3.4 MB of memory to load, and is five times as fast."""
OWN = ("_sha2", "_sha256")
"""Where Python has an implementation of its own: from 3.12 on, and before."""


def sha256(*parts: bytes | memoryview | mmap.mmap) -> Any:
    """What ``hashlib.sha256()`` gives, of these bytes one after the other."""
    digest = new_sha256(sum(map(len, parts)))
    for part in parts:
        digest.update(part)
    return digest


def new_sha256(size: int) -> Any:
    """What ``hashlib.sha256()`` gives, for about so many bytes that are to come."""
    own = None if size >= LARGE or "_hashlib" in sys.modules else own_sha256()
    if own is not None:
        return own()
    import hashlib

    return hashlib.sha256()


@lru_cache(maxsize=1)
def own_sha256() -> Callable[[], Any] | None:
    """Python's own, for which ``hashlib`` loads OpenSSL first; ``None`` where Python was built without."""
    for name in OWN:
        try:
            found: Callable[[], Any] = import_module(name).sha256
        except (ImportError, AttributeError):
            continue
        return found
    return None
