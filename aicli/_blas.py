"""NumPy's threads, which nothing here has a use for."""

from __future__ import annotations

import os

__all__ = ["start_no_threads"]


def start_no_threads() -> None:
    """Keeps OpenBLAS from starting a thread for each core when NumPy is imported, unless the user wants them.

    They spin for work and there is none: nothing here multiplies matrices in NumPy. For programs of aicli's own, before
    they import NumPy; a library leaves the environment to its program.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
