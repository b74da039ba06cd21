"""What ``aicli run`` runs: a WASI command to its end, or a function of the module."""

from __future__ import annotations

from collections.abc import Callable

from aicli._text import printable
from aicli.errors import GuestError, GuestFault, Hint, UsageError
from aicli.run.conventions import Convention, find_convention, find_functions, own_convention
from aicli.run.functions import call_function
from aicli.run.guests import RunRequest, instantiate, load_guest
from aicli.run.supervise import supervise
from aicli.wasm import Module
from aicli.wasm.runtime import ExternType, GuestExit

__all__ = ["run_guest"]

START = "_start"
OFFERED = 12


def run_guest(request: RunRequest, warn: Callable[[str], None] = lambda _: None) -> int:
    """Runs a guest with this process's own streams; its exit code, 0 to 255, and 0 for a function that answered.

    Raises :class:`GuestError` when it cannot run here, a :class:`aicli.errors.GuestFault` when it traps, exceeds its
    limits, or its function answers an error.
    """
    module = load_guest(request.guest, request.runtime, request.limits)
    item, convention = choose_entry(request, module)
    try:
        return run_entry(request, module, item, convention, warn)
    except GuestFault as error:
        raise error.of(request.guest) from None


def run_entry(
    request: RunRequest,
    module: Module,
    item: ExternType,
    convention: type[Convention] | None,
    warn: Callable[[str], None],
) -> int:
    if convention is None:
        if request.values or request.labels or request.returns:
            what = f"{request.guest}: a command takes words; values belong to a function"
            raise UsageError(what, hint=Hint("run:call", "{} names one"))
        return run_command(request, module, warn)
    return call_function(request, module, item, convention, warn)


def run_command(request: RunRequest, module: Module, warn: Callable[[str], None]) -> int:
    def call() -> int:
        try:
            with instantiate(request, module, warn) as instance:
                instance.call(START)
        except GuestExit as end:
            return exit_code(end.code)
        return 0

    return supervise(call, request.limits, request.suspects)


def choose_entry(request: RunRequest, module: Module) -> tuple[ExternType, type[Convention] | None]:
    """The export to call, and how; no convention for a command.

    Without a name this is ``_start``, else the only function of the module's own convention. Raises :class:`GuestError`
    that names what there is instead.
    """
    exports = {item.name: item for item in module.exports if item.kind == "func"}
    functions = find_functions(module)
    wanted = request.call or (START if START in exports else None)
    if wanted is None and len(functions) == 1:
        (wanted,) = functions
    if wanted is None:
        reason = "several functions" if functions else f"no WASI command (no {START})"
        hint = Hint("run:call", f"choose one with {{}}: {offered(functions or exports)}")
        raise GuestError(f"{request.guest}: {reason}", hint=hint)
    if wanted not in exports:
        raise GuestError(f"{request.guest}: it has no export {wanted}; it exports: {offered(functions or exports)}")
    if wanted == START:
        return exports[START], None
    convention = find_convention(module, wanted)
    if convention is None:
        own = own_convention(module)
        kind = f"a function of {own.title}" if own else "a function of numbers, nor of a calling convention known here"
        raise GuestError(f"{request.guest}: {printable(wanted)} is not {kind}; see docs/run.md")
    return exports[wanted], convention


def offered(exports: dict[str, ExternType]) -> str:
    names = [printable(name) for name in exports if not name.startswith("__")]
    more = f" and {len(names) - OFFERED} more" if len(names) > OFFERED else ""
    return (", ".join(names[:OFFERED]) or "none") + more


def exit_code(code: int) -> int:
    """A guest's exit code as systems have it: the low eight bits, and never 0 for a failure."""
    return code & 0xFF or (1 if code else 0)
