"""What was asked for, the guest's module, and an instance of it: the same for commands and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from aicli.errors import GuestError, GuestFault, GuestTrap, UsageError
from aicli.run.abis import find_missing
from aicli.run.host import CommandHost
from aicli.run.values import Argument
from aicli.wasm import Limits, Module
from aicli.wasm.binary import read_module
from aicli.wasm.cache import default_cache, load_module
from aicli.wasm.choose import Policy, choose_runtime
from aicli.wasm.runtime import HostFunction, Instance, WasiConfig, WasiFolder

__all__ = ["RunRequest", "instantiate", "load_guest"]


@dataclass(frozen=True)
class RunRequest:
    """What ``aicli run`` was asked for.

    ``models`` are named models: files, or the bytes of one that a stranger uploaded. ``call`` is an export instead of
    ``_start``; a function of a calling convention is given ``values``, then ``arguments`` as numbers and files.
    ``returns`` says the kind of its answer where the file does not (``bytes``: nothing is added to it); ``labels`` has
    the name of a class that it answers. ``isolate`` has the models run in a process of their own.
    """

    guest: Path
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[WasiFolder, ...] = ()
    models: Mapping[str, Path | bytes] = field(default_factory=dict)
    dialect: str = "witx"
    call: str | None = None
    values: tuple[Argument, ...] = ()
    returns: str = ""
    labels: Path | None = None
    runtime: str | None = None
    engine: str | None = None
    xnnpack: bool = True
    isolate: bool = False
    threads: int | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def suspects(self) -> tuple[str, ...]:
        """The user's models that run in the guest's process, and so may end it."""
        return () if self.isolate else tuple(str(path) for path in self.models.values() if isinstance(path, Path))


def load_guest(path: Path, runtime_name: str | None, limits: Limits) -> Module:
    """A guest's module, compiled or from the cache.

    Raises :class:`GuestError` when it is no module or imports what is not here.
    """
    wasm = read_module(path)
    runtime = choose_runtime(Policy.COMMAND, runtime_name)
    try:
        module = load_module(runtime, wasm, limits, default_cache())
    except (GuestError, GuestFault) as error:
        raise error.of(path) from None
    missing = find_missing(module)
    if missing:
        raise GuestError(f"{path}: {missing}")
    return module


@contextmanager
def instantiate(
    request: RunRequest,
    module: Module,
    warn: Callable[[str], None],
    more: Mapping[tuple[str, str], HostFunction] = MappingProxyType({}),
) -> Iterator[Instance]:
    """An instance with its host functions, and ``more``. What it does wrong is told with its file and the reason of the
    last host call that failed.
    """
    host = CommandHost(
        module.imports,
        request.models,
        request.folders,
        engine=request.engine,
        xnnpack=request.xnnpack,
        isolate=request.isolate,
        threads=request.threads,
        dialect=request.dialect,
        limits=request.limits,
        warn=warn,
    )
    config = WasiConfig((request.guest.name, *request.arguments), request.environment, request.folders)
    try:
        instance = module.instantiate({**host.functions(), **more}, request.limits, config)
        host.connect(instance.memory)
        yield instance
    except GuestTrap as trap:
        reason = host.last_failure()
        raise GuestTrap(f"{trap}" + (f" (before it: {reason})" if reason else "")).of(request.guest) from None
    except (GuestFault, UsageError) as error:
        raise error.of(request.guest) from None
    finally:
        host.raise_interrupt()
