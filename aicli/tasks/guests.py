"""Which runtime a task's guest gets."""

from __future__ import annotations

from pathlib import Path

from aicli.errors import GuestError
from aicli.wasm import Limits, Runtime
from aicli.wasm.choose import Policy, choose_runtime

__all__ = ["runtime_for"]


def runtime_for(path: Path | None, name: str | None, limits: Limits, *, trust_guest: bool) -> Runtime:
    """The runtime for the packaged guest, or for the one at ``path``.

    Raises :class:`GuestError` when it cannot keep the time limit of a guest that is not declared trustworthy.
    """
    policy = Policy.PACKAGED if path is None or trust_guest else Policy.FOREIGN
    runtime = choose_runtime(policy, name)
    if policy is Policy.FOREIGN and limits.timeout is not None and not runtime.can_interrupt:
        raise GuestError(
            f"{path}: {runtime.name} cannot interrupt a guest that hangs; "
            "install wasmtime, or use --trust-guest if you trust this one"
        )
    return runtime
