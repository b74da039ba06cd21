"""Which runtime a task gets: the one asked for, else the one that keeps every limit a foreign guest needs."""

from __future__ import annotations

from pathlib import Path

from aicli.errors import GuestError
from aicli.wasm import Limits, Runtime, installed_runtimes, load_runtime

__all__ = ["choose_runtime"]


def choose_runtime(name: str | None, guest: Path | None, limits: Limits, *, trust_guest: bool = False) -> Runtime:
    """The runtime for a guest.

    A foreign guest runs in wasmtime where that is installed, because it can interrupt one. Raises
    :class:`GuestError` when the runtime asked for, or the only one here, cannot keep the time limit and the guest is
    not declared trustworthy.
    """
    if guest is not None and name is None and not trust_guest and "wasmtime" in installed_runtimes():
        return load_runtime("wasmtime")
    runtime = load_runtime(name)
    if guest is not None and limits.timeout is not None and not (runtime.can_interrupt or trust_guest):
        raise GuestError(
            f"{guest}: {runtime.name} cannot interrupt a guest that hangs; "
            "install wasmtime, or use --trust-guest if you trust this one"
        )
    return runtime
