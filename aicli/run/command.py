"""A WASI command, or a reactor's export, run to its end."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aicli._text import printable
from aicli.errors import GuestError, GuestTrap, UsageError
from aicli.run.abis import find_missing, has_infer
from aicli.run.host import CommandHost
from aicli.run.supervise import supervise
from aicli.wasm import Limits, Module
from aicli.wasm.binary import read_module
from aicli.wasm.cache import default_cache, load_module
from aicli.wasm.choose import Policy, choose_runtime
from aicli.wasm.runtime import ExternType, GuestExit, Instance, WasiConfig, WasiFolder

__all__ = ["RunRequest", "load_guest", "modules_of", "run_guest"]

START = "_start"
INITIALIZE = "_initialize"


@dataclass(frozen=True)
class RunRequest:
    """What ``aicli run`` was asked for; ``models`` are named models, ``invoke`` an export instead of ``_start``."""

    guest: Path
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[WasiFolder, ...] = ()
    models: Mapping[str, Path | bytes] = field(default_factory=dict)
    dialect: str = "witx"
    invoke: str | None = None
    runtime: str | None = None
    engine: str | None = None
    threads: int | None = None
    limits: Limits = field(default_factory=Limits)


def run_guest(request: RunRequest, warn: Callable[[str], None] = lambda _: None) -> int:
    """Runs a guest with this process's own streams; its exit code, 0 to 255.

    Raises :class:`GuestError` when it cannot run here, a :class:`aicli.errors.GuestFault` when it traps or exceeds its
    limits.
    """
    module = load_guest(request.guest, request.runtime, request.limits)
    entry = choose_entry(request, module)
    config = WasiConfig((request.guest.name, *request.arguments), request.environment, request.folders)
    values = parse_values(request, entry)

    def call() -> int:
        host = CommandHost(
            modules_of(module),
            request.models,
            request.folders,
            engine=request.engine,
            threads=request.threads,
            dialect=request.dialect,
            limits=request.limits,
            warn=warn,
        )
        try:
            instance = module.instantiate(host.functions(), request.limits, config)
            host.connect(instance.memory)
            return start(instance, module, entry, values)
        except GuestExit as end:
            return exit_code(end.code)
        except GuestTrap as trap:
            reason = host.session.last_error
            raise GuestTrap(f"{trap}" + (f" (before it: {reason})" if reason else "")).of(request.guest) from None
        finally:
            host.raise_interrupt()

    return supervise(call, request.limits)


def load_guest(path: Path, runtime_name: str | None, limits: Limits) -> Module:
    """A guest's module, compiled or from the cache.

    Raises :class:`GuestError` when it is no module or imports what is not here.
    """
    wasm = read_module(path)
    runtime = choose_runtime(Policy.COMMAND, runtime_name)
    try:
        module = load_module(runtime, wasm, limits, default_cache())
    except GuestError as error:
        raise error.of(path) from None
    missing = find_missing(module.imports)
    if missing:
        raise GuestError(f"{path}: {missing}")
    return module


def modules_of(module: Module) -> set[str]:
    """The modules that it imports from."""
    return {item.module for item in module.imports}


def choose_entry(request: RunRequest, module: Module) -> ExternType:
    """The export to call. Raises :class:`GuestError` that names what there is instead."""
    functions = {item.name: item for item in module.exports if item.kind == "func"}
    wanted = request.invoke or START
    if wanted in functions:
        return functions[wanted]
    offered = ", ".join(printable(name) for name in list(functions)[:12] if not name.startswith("__")) or "none"
    if request.invoke:
        raise GuestError(f"{request.guest}: it has no export {wanted}; it exports: {offered}")
    if has_infer(module.exports):
        raise GuestError(f"{request.guest}: no WASI command; use --infer --model-file M --image I --labels L")
    raise GuestError(f"{request.guest}: no WASI command (no {START}); choose an export with --invoke: {offered}")


def parse_values(request: RunRequest, entry: ExternType) -> tuple[int, ...]:
    """The numbers for an export with parameters; without any, ARG are a command's arguments."""
    if not entry.params:
        return ()
    if any(kind not in ("i32", "i64") for kind in entry.params) or len(entry.params) != len(request.arguments):
        kinds = ", ".join(entry.params)
        raise UsageError(f"{request.guest}: {entry.name} takes ({kinds}); give as many whole numbers after it")
    try:
        return tuple(int(text, 0) for text in request.arguments)
    except ValueError as error:
        raise UsageError(f"{request.guest}: {entry.name} takes whole numbers: {error}") from None


def start(instance: Instance, module: Module, entry: ExternType, values: tuple[int, ...]) -> int:
    """Calls the entry; what an invoked export returns is printed."""
    if entry.name != START and any(item.name == INITIALIZE and item.kind == "func" for item in module.exports):
        instance.call(INITIALIZE)
    result = instance.call(entry.name, *values)
    if entry.results and result is not None:
        print(signed_result(result, entry.results[0]))
        sys.stdout.flush()
    return 0


def signed_result(value: int, kind: str) -> int:
    from aicli.wasm.runtime import signed

    number: int = signed(value, kind)
    return number


def exit_code(code: int) -> int:
    """A guest's exit code as systems have it: the low eight bits, and never 0 for a failure."""
    return code & 0xFF or (1 if code else 0)
