"""Which runtime a guest gets."""

from __future__ import annotations

from enum import Enum

from aicli.errors import Hint, UsageError
from aicli.wasm import installed_runtimes, load_runtime
from aicli.wasm.runtime import Runtime

__all__ = ["Policy", "choose_runtime"]


class Policy(Enum):
    """Whose guest it is, and so what its runtime must be able to do."""

    PACKAGED = "packaged"
    """aicli's own guest, or one that the user trusts as much: the first runtime that is installed."""
    FOREIGN = "foreign"
    """Anyone's: wasmtime, which can end a guest, unless another runtime is asked for by name."""
    COMMAND = "command"
    """A program for ``aicli run``: wasmtime, which alone has WASI here."""


def choose_runtime(policy: Policy, name: str | None = None) -> Runtime:
    """The runtime for a guest; ``name`` is the one that the user asked for.

    Raises :class:`aicli.errors.UnavailableError` when it is unknown or not installed, and
    :class:`aicli.errors.UsageError` when it cannot run such a guest.
    """
    if policy is Policy.COMMAND:
        runtime = load_runtime(name or "wasmtime")
        if not runtime.has_wasi:
            what = f"{runtime.name} runs no commands here, as it has no WASI"
            raise UsageError(what, hint=Hint("runtime", f"leave out {{}} {name}"))
        return runtime
    if policy is Policy.FOREIGN and name is None and "wasmtime" in installed_runtimes():
        return load_runtime("wasmtime")
    return load_runtime(name)
