"""All host functions that a command guest may import, over one session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from aicli.nn.dialects import DIALECTS
from aicli.nn.engines import Engine, load_engine
from aicli.nn.host import HostModule
from aicli.nn.session import Errno, NnError, Session
from aicli.nn.wasi_nn import WasiNn
from aicli.nn.wasmedge_image import WasmedgeImage
from aicli.nn.wasmedge_tensorflow import WasmedgeTensorflow
from aicli.nn.wasmedge_tflite import WasmedgeTflite
from aicli.wasm.runtime import HostFunction, Memory, WasiFolder

__all__ = ["CommandHost", "function_names", "host_folder"]


class LazyEngine:
    """An engine that is imported when the guest first runs a model: many guests never do, and starts stay short."""

    def __init__(self, name: str | None, threads: int | None) -> None:
        self._name = name
        self._threads = threads

    @cached_property
    def _engine(self) -> Engine:
        return load_engine(self._name)

    def interpreter(self, model: Path | bytes, _threads: int) -> Any:
        return self._engine.interpreter(model, self._threads or self._engine.default_threads())


class CommandHost:
    """The host functions for one guest instance."""

    def __init__(
        self,
        models: Mapping[str, Path | bytes],
        folders: tuple[WasiFolder, ...] = (),
        *,
        engine: str | None = None,
        threads: int | None = None,
        dialect: str = "witx",
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        lazy: Any = LazyEngine(engine, threads)
        self.session = Session(lazy, models, threads or 1)
        self._modules: tuple[HostModule, ...] = (
            WasiNn(self.session, DIALECTS[dialect]),
            WasmedgeTflite(self.session),
            WasmedgeTensorflow(self.session, lambda path: host_folder(path, folders), warn),
            WasmedgeImage(self.session),
        )

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        found: dict[tuple[str, str], HostFunction] = {}
        for module in self._modules:
            found |= module.functions()
        return found

    def connect(self, memory: Memory | None) -> None:
        """Gives the functions the instance's memory."""
        for module in self._modules:
            module.memory = memory

    def raise_interrupt(self) -> None:
        """Raises what interrupted a host function, now that no native frames are in between."""
        for module in self._modules:
            if module.interrupted is not None:
                raise module.interrupted


def function_names() -> set[tuple[str, str]]:
    """Every function of every host module, by module and name."""
    return set(CommandHost({}).functions())


def host_folder(path: str, folders: tuple[WasiFolder, ...]) -> Path:
    """The host's folder behind a guest's path. Raises :class:`NnError` when it is not inside a granted one."""
    for folder in sorted(folders, key=lambda item: -len(item.guest)):
        rest = below(path, folder.guest)
        if rest is None:
            continue
        root = folder.host.resolve()
        target = (root / rest).resolve()
        if target.is_relative_to(root) and target.is_dir():
            return target
    raise NnError(Errno.NOT_FOUND, f"there is no folder '{path}' among the granted ones; grant it with --dir")


def below(path: str, folder: str) -> str | None:
    """What follows ``folder`` in ``path``, as a relative path; ``None`` when it lies elsewhere."""
    wanted = [part for part in path.split("/") if part not in ("", ".")]
    start = [part for part in folder.split("/") if part not in ("", ".")]
    if path.startswith("/") != folder.startswith("/") or wanted[: len(start)] != start:
        return None
    return "/".join(wanted[len(start) :]) or "."
