"""Many photos on many machines: the tasks as functions on a ``ray.data.Dataset``, and the run of ``--cluster``.

Ray is of the extra ``ray``; nothing here imports it before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aicli.cluster.functions import classify, detect_faces

__all__ = ["classify", "detect_faces"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'aicli.cluster' has no attribute '{name}'")
    from aicli.cluster import functions

    return getattr(functions, name)
