"""WASI preview 1 as host functions, for a runtime whose own does not keep a guest inside its folders.

wasmer 1.1 lets the system follow symbolic links out of a granted folder and has no read-only grants; this layer is used
there instead. It gives streams, arguments, variables, the clock, random numbers and the granted folders; no network.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from aicli.errors import GuestError, UnavailableError
from aicli.wasm.runtime import WASI_MODULE, GuestExit, HostFunction, MemoryBoundsError, WasiConfig
from aicli.wasm.wasi_abi import SUBSCRIPTION, Errno, WasiError, errno_of, event
from aicli.wasm.wasi_files import Descriptor, WasiFiles
from aicli.wasm.wasi_names import COUNTS, WIDE
from aicli.wasm.wasi_paths import supported

__all__ = ["Preview1"]

CLOCKS = {0: "CLOCK_REALTIME", 1: "CLOCK_MONOTONIC", 2: "CLOCK_PROCESS_CPUTIME_ID", 3: "CLOCK_THREAD_CPUTIME_ID"}
ABSOLUTE_TIME = 1
MAX_SUBSCRIPTIONS = 1024


class Preview1(WasiFiles):
    """The functions for one guest instance; ``memory`` is set as soon as the instance has one.

    Raises :class:`GuestError` when a folder cannot be opened, :class:`UnavailableError` where the system cannot confine
    paths.
    """

    def __init__(self, config: WasiConfig) -> None:
        super().__init__()
        self.exit_code: int | None = None
        self._arguments = [text.encode("utf-8", "surrogateescape") for text in config.arguments]
        self._environment = [
            f"{name}={value}".encode("utf-8", "surrogateescape") for name, value in config.environment.items()
        ]
        if config.folders and not supported():
            raise UnavailableError("wasmer cannot confine a guest to folders on this system; use --runtime wasmtime")
        for stream in range(3):
            self.add(Descriptor(stream, readable=stream == 0, writable=stream != 0, is_stream=True))
        for folder in config.folders:
            try:
                descriptor = os.open(folder.host, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise GuestError(f"{folder.host}: cannot grant this folder: {error.strerror}") from None
            self.add(Descriptor(descriptor, read_only=folder.read_only, preopen=folder.guest.encode()))

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        """Every function of preview 1, by module and name."""
        found = {}
        for name, count in COUNTS.items():
            params = tuple("i64" if index in WIDE.get(name, ()) else "i32" for index in range(count))
            call: Callable[..., int | None] = getattr(self, name, self._refuse)
            results = () if name == "proc_exit" else ("i32",)
            guarded = call if name == "proc_exit" else self._guard(call)
            found[WASI_MODULE, name] = HostFunction(WASI_MODULE, name, params, results, guarded)
        return found

    def _guard(self, call: Callable[..., int | None]) -> Callable[..., int]:
        """The same call, with every failure turned into an error number."""

        def guarded(*arguments: int) -> int:
            try:
                call(*arguments)
                return Errno.SUCCESS
            except WasiError as error:
                return error.errno
            except MemoryBoundsError:
                return Errno.FAULT
            except OSError as error:
                return errno_of(error)
            except UnicodeError:
                return Errno.ILSEQ
            except (ValueError, OverflowError):
                return Errno.INVAL

        return guarded

    def _refuse(self, *_: int) -> None:
        raise WasiError(Errno.NOTSUP)

    def proc_exit(self, code: int) -> None:
        self.exit_code = code
        raise GuestExit(code)

    def args_get(self, pointers: int, buffer: int) -> None:
        self._write_strings(self._arguments, pointers, buffer)

    def args_sizes_get(self, count: int, size: int) -> None:
        self._write_sizes(self._arguments, count, size)

    def environ_get(self, pointers: int, buffer: int) -> None:
        self._write_strings(self._environment, pointers, buffer)

    def environ_sizes_get(self, count: int, size: int) -> None:
        self._write_sizes(self._environment, count, size)

    def _write_strings(self, strings: list[bytes], pointers: int, buffer: int) -> None:
        for index, text in enumerate(strings):
            self.write_u32(pointers + 4 * index, buffer)
            self.write(buffer, text + b"\0")
            buffer += len(text) + 1

    def _write_sizes(self, strings: list[bytes], count: int, size: int) -> None:
        self.write_u32(count, len(strings))
        self.write_u32(size, sum(len(text) + 1 for text in strings))

    def clock_res_get(self, clock: int, out: int) -> None:
        self.write_u64(out, max(1, round(time.clock_getres(clock_id(clock)) * 1e9)))

    def clock_time_get(self, clock: int, _precision: int, out: int) -> None:
        self.write_u64(out, time.clock_gettime_ns(clock_id(clock)))

    def random_get(self, buffer: int, size: int) -> None:
        view = self.view(buffer, size)
        for at in range(0, size, 1 << 20):
            part = view[at : at + (1 << 20)]
            part[:] = memoryview(os.urandom(part.size))

    def sched_yield(self) -> None:
        time.sleep(0)

    def poll_oneoff(self, subscriptions: int, events: int, count: int, out: int) -> None:
        """Waits for the earliest clock; files and streams count as ready, as they do for files everywhere."""
        if not 0 < count <= MAX_SUBSCRIPTIONS:
            raise WasiError(Errno.INVAL)
        size = SUBSCRIPTION.size
        found = [SUBSCRIPTION.unpack(self.read(subscriptions + size * index, size)) for index in range(count)]
        ready = [event(user, self._ready_errno(first), tag) for user, tag, first, *_ in found if tag in (1, 2)]
        if not ready:
            waits = [(seconds_left(clock, timeout, flags), user) for user, _, clock, timeout, _, flags in found]
            shortest = min(wait for wait, _ in waits)
            time.sleep(shortest)
            ready = [event(user, Errno.SUCCESS, 0) for wait, user in waits if wait <= shortest]
        self.write(events, b"".join(ready))
        self.write_u32(out, len(ready))

    def _ready_errno(self, descriptor: int) -> int:
        return Errno.SUCCESS if descriptor in self.descriptors else Errno.BADF


def clock_id(clock: int) -> int:
    name = CLOCKS.get(clock)
    if name is None or not hasattr(time, name):
        raise WasiError(Errno.INVAL)
    number: int = getattr(time, name)
    return number


def seconds_left(clock: int, timeout: int, flags: int) -> float:
    if flags & ABSOLUTE_TIME:
        timeout -= time.clock_gettime_ns(clock_id(clock))
    return max(0, timeout) / 1e9
