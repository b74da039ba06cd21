"""All host functions that a command guest may import, over one session."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from aicli.nn.engines import AnyEngine, available_cores, load_engine
from aicli.nn.host import HostModule
from aicli.nn.session import Errno, NnError, Session, networks_budget
from aicli.wasm.runtime import WASI_MODULE, ExternType, HostFunction, Limits, Memory, WasiFolder

__all__ = ["HOST_MODULES", "CommandHost", "host_folder", "is_socket"]

NOT_SUPPORTED = 58
"""What WASI calls ``notsup``."""

HOST_MODULES = {
    "wasi_ephemeral_nn": "nn",
    "wasmedge_tensorflowlite": "tflite",
    "wasmedge_tensorflow": "tensorflow",
    "wasmedge_image": "image",
    "ssvm_tensorflowlite": "tflite",
    "ssvm_tensorflow": "tensorflow",
    "ssvm_image": "image",
}
"""The modules that a guest may import from, and the group of host functions behind each."""


class LazyEngine:
    """An engine that is imported when the guest first runs a model: many guests never do, and starts stay short."""

    def __init__(self, load: Callable[[], AnyEngine]) -> None:
        self._load = load

    @cached_property
    def _engine(self) -> AnyEngine:
        return self._load()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


class CommandHost:
    """The host functions for one guest instance, of those modules that it imports from.

    Functions of sockets, which a guest may import and never need, all say that there are none.
    """

    def __init__(
        self,
        imports: Iterable[ExternType],
        models: Mapping[str, Path | bytes] | None = None,
        folders: tuple[WasiFolder, ...] = (),
        *,
        engine: str | None = None,
        xnnpack: bool = True,
        isolate: bool = False,
        threads: int | None = None,
        dialect: str = "witx",
        limits: Limits | None = None,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        limits = limits or Limits()
        deadline = None if limits.timeout is None else time.monotonic() + limits.timeout
        self._memory = memory = networks_budget(limits.memory)
        self._threads = threads

        def load() -> AnyEngine:
            found = load_engine(engine, xnnpack=xnnpack)
            if not isolate:
                return found
            from aicli.nn.isolation.engine import IsolatedEngine

            return IsolatedEngine(found, memory, deadline)

        lazy: Any = LazyEngine(load)
        self.session = Session(
            lazy,
            models or {},
            threads or 1,
            memory=memory,
            deadline=deadline,
            foreign=frozenset(name for name, model in (models or {}).items() if isinstance(model, bytes)),
        )
        self._folders, self._dialect, self._warn = folders, dialect, warn
        self._imports = tuple(imports)
        makers = {HOST_MODULES[item.module] for item in self._imports if item.module in HOST_MODULES}
        self._modules: list[HostModule] = [getattr(self, f"_make_{maker}")() for maker in sorted(makers)]
        for module in self._modules:
            module.tell = warn

    # Imported only where a guest needs them: every start counts.

    def _make_nn(self) -> HostModule:
        from aicli.nn.dialects.numbers import DIALECTS
        from aicli.nn.wasi_nn import WasiNn

        return WasiNn(self.session, DIALECTS[self._dialect])

    def _make_tflite(self) -> HostModule:
        from aicli.nn.dialects.wasmedge_tflite import WasmedgeTflite

        return WasmedgeTflite(self.session)

    def _make_tensorflow(self) -> HostModule:
        from aicli.nn.dialects.graphs_process import GraphProcess
        from aicli.nn.dialects.wasmedge_tensorflow import WasmedgeTensorflow

        folders = [folder.host for folder in self._folders]
        threads = self._threads or min(4, available_cores())
        graphs = GraphProcess(folders, self._memory, threads, lambda: self.session.deadline)
        return WasmedgeTensorflow(self.session, graphs, lambda path: host_folder(path, self._folders), self._warn)

    def _make_image(self) -> HostModule:
        from aicli.nn.dialects.wasmedge_image import WasmedgeImage

        return WasmedgeImage(self.session)

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        found = {(item.module, item.name): no_socket(item) for item in self._imports if is_socket(item)}
        for module in self._modules:
            found |= module.functions()
        return found

    def connect(self, memory: Memory | None) -> None:
        """Gives the functions the instance's memory."""
        for module in self._modules:
            module.memory = memory

    def last_failure(self) -> str | None:
        """The reason of the last host call that failed, unless the user has been told it already."""
        reason = self.session.last_error
        return None if any(reason in module.told for module in self._modules) else reason

    def raise_interrupt(self) -> None:
        """Raises what interrupted a host function, now that no native frames are in between."""
        for module in self._modules:
            if module.interrupted is not None:
                raise module.interrupted


def is_socket(item: ExternType) -> bool:
    """Whether an import is a function of sockets, of WASI or of WasmEdge, with whatever parameters."""
    named = item.module == WASI_MODULE and item.name.startswith("sock_")
    return named and item.kind == "func" and item.results == ("i32",)


def no_socket(item: ExternType) -> HostFunction:
    return HostFunction(item.module, item.name, item.params, item.results, lambda *_: NOT_SUPPORTED)


def host_folder(path: str, folders: tuple[WasiFolder, ...]) -> Path:
    """The host's folder behind a guest's path. Raises :class:`NnError` when it is not inside a granted one."""
    for folder in sorted(folders, key=lambda item: -len(item.guest)):
        rest = below(path, folder.guest)
        if rest is None:
            continue
        root = folder.host.resolve()
        target = (root / rest).resolve()
        if target.is_relative_to(root) and target.is_dir():
            if any(item.is_symlink() for item in target.rglob("*")):
                # Whoever reads the folder next would follow it, wherever it leads.
                raise NnError(Errno.INVALID_ARGUMENT, f"'{path}' contains a symbolic link")
            return target
    raise NnError(Errno.NOT_FOUND, f"there is no folder '{path}' among the granted ones")


def below(path: str, folder: str) -> str | None:
    """What follows ``folder`` in ``path``, as a relative path; ``None`` when it lies elsewhere."""
    wanted = [part for part in path.split("/") if part not in ("", ".")]
    start = [part for part in folder.split("/") if part not in ("", ".")]
    if path.startswith("/") != folder.startswith("/") or wanted[: len(start)] != start:
        return None
    return "/".join(wanted[len(start) :]) or "."
