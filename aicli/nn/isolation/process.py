"""A process for native code that trusts its input: fresh, confined before it sees any of it, and not believed.

It has no memory, environment or descriptors of this one (:mod:`aicli.nn.isolation.confine` says what it gives up
itself). Requests and answers are JSON with their length in front; models and tensors lie in memory that both share and
neither can shrink.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from aicli._child import wait_briefly
from aicli._text import printable
from aicli.errors import UnavailableError
from aicli.nn.engines import EngineDied

__all__ = ["ALIGNMENT", "ConfinedProcess", "RefusedThere", "SharedMemory", "can_isolate"]

LENGTH = struct.Struct("<I")
MAX_MESSAGE = 1 << 20
START_TIMEOUT = 60.0
ALIGNMENT = 64


def can_isolate() -> bool:
    """Whether this system can hand open files to another process, which is how models and tensors travel."""
    return hasattr(socket, "send_fds")


class RefusedThere(RuntimeError):
    """What the process says it could not do, and its number for a guest, which is as little to be believed."""

    def __init__(self, reason: str, errno: object) -> None:
        super().__init__(reason)
        self.errno = errno


class ConfinedProcess:
    """A process that is asked one thing at a time, from one thread at a time.

    ``name`` is what runs there, for messages, and ``script`` this package's program for it, started with the number of
    its socket, the import path and ``arguments``. It may take ``memory`` bytes; ``deadline`` tells the time of
    ``time.monotonic()`` at which a request must have been answered.
    """

    def __init__(
        self, name: str, script: Path, arguments: Sequence[str], memory: int, deadline: Callable[[], float | None]
    ) -> None:
        if not can_isolate() or not sys.executable:
            raise UnavailableError(
                "a model that nobody vouches for needs a process of its own, which this system lacks"
            )
        self.name, self.most_shared = name, memory
        self._deadline = deadline
        self._owner = os.getpid()
        self._last_number = 0
        self._ready = False
        self.layers: tuple[str, ...] = ()
        self.dropped: list[int] = []
        self._socket, theirs = socket.socketpair()
        home = str(Path(__file__).parents[3])
        path = json.dumps([home, *(entry for entry in sys.path if entry)])
        # -I and -S: no variables, no current folder, no start-up files. The import path is this process's.
        command = [sys.executable, "-I", "-S", str(script), str(theirs.fileno()), path, str(memory), *arguments]
        nowhere = subprocess.DEVNULL
        # One thread for linear algebra and one heap: neither is used much, and both reserve memory.
        environment = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
        with theirs:
            try:
                process = subprocess.Popen(
                    command, stdin=nowhere, stdout=nowhere, stderr=nowhere, cwd="/", env=environment,
                    pass_fds=(theirs.fileno(),),
                )  # fmt: skip
            except OSError as error:
                self._socket.close()
                raise UnavailableError(f"cannot start an engine process ({error.strerror})") from None
        self._process = process
        self._end = weakref.finalize(self, end_process, process, self._socket)

    def is_usable(self) -> bool:
        """Whether it lives, and is this process's rather than that of the one this was copied from."""
        return self._end.alive and self._owner == os.getpid()

    def new_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def ask(self, do: str, number: int = 0, *, descriptor: int | None = None, threads: int = 1, **values: Any) -> Any:
        """The answer to a request. Raises :class:`EngineDied`, and :class:`RuntimeError` with the engine's reason."""
        if not self.is_usable():
            raise EngineDied("the engine process has ended before; the next image gets a new one")
        try:
            self._wait_until_ready()
            dropped = self.dropped[:]
            del self.dropped[: len(dropped)]
            left = self._seconds_left()
            seconds = None if left is None else math.ceil(left + 1) * (threads + 1)
            request = {"do": do, "number": number, "drop": dropped, "seconds": seconds, "threads": threads, **values}
            answer = self._exchange(request, descriptor, left)
        except EngineDied:
            raise
        except TimeoutError:
            self._process.kill()
            wait_briefly(self._end)
            raise EngineDied(f"{self.name} did not finish within the guest's time; its process was ended") from None
        except (OSError, EOFError, ValueError):
            raise self._obituary() from None
        except BaseException:
            self._end()  # an answer that nobody waits for would be taken for the next one
            raise
        if isinstance(answer.get("error"), str):
            raise RefusedThere(printable(answer["error"], longest=500), answer.get("errno"))
        return answer

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        left = self._seconds_left()
        hello = self._receive(START_TIMEOUT if left is None else left)
        if not isinstance(hello.get("layers"), list):
            raise ValueError
        self.layers = tuple(str(layer) for layer in hello["layers"])
        self._ready = True

    def _seconds_left(self) -> float | None:
        deadline = self._deadline()
        return None if deadline is None else deadline - time.monotonic()

    def _exchange(self, request: dict[str, Any], descriptor: int | None, left: float | None) -> dict[str, Any]:
        self._socket.settimeout(None if left is None else max(0.001, left))
        data = json.dumps(request).encode()
        message = LENGTH.pack(len(data)) + data
        if descriptor is not None:
            socket.send_fds(self._socket, [message[: LENGTH.size]], [descriptor])
            message = message[LENGTH.size :]
        begun = time.monotonic()
        self._socket.sendall(message)
        return self._receive(None if left is None else left - (time.monotonic() - begun))

    def _receive(self, left: float | None) -> dict[str, Any]:
        """What the process says within so many seconds. Raises :class:`TimeoutError`."""
        until = None if left is None else time.monotonic() + left
        (length,) = LENGTH.unpack(self._read(LENGTH.size, until))
        if length > MAX_MESSAGE:
            raise ValueError
        try:
            answer = json.loads(self._read(length, until))
        except RecursionError:  # brackets in brackets
            raise ValueError from None
        if not isinstance(answer, dict):
            raise ValueError
        return answer

    def _read(self, size: int, until: float | None) -> bytes:
        parts = []
        while size:
            # Anew for each part, or a process that says a byte at a time could go on for ever.
            self._socket.settimeout(None if until is None else max(0.001, until - time.monotonic()))
            part = self._socket.recv(size)
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _obituary(self) -> EngineDied:
        """How the process ended; it is ended if it still lives."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        self._end()
        code = self._process.returncode
        how, number = f"exit code {code}", -code if code is not None and code < 0 else None
        if number is not None:
            with suppress(ValueError):
                how = signal.Signals(number).name
        what = f"the model crashed {self.name} ({how}); the crash was contained in a process of its own"
        return EngineDied(what, number)


def end_process(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    with suppress(OSError):
        process.kill()
    with suppress(OSError, subprocess.TimeoutExpired):
        process.wait(5)


class SharedMemory:
    """Memory with a descriptor to hand on, as long as the block lasts; what is mapped stays mapped.

    On Linux its size is sealed: memory that another process could shrink would end this one with SIGBUS.
    """

    def __init__(self, size: int) -> None:
        """Raises :class:`RuntimeError` when the system gives no memory."""
        try:
            self._make(max(size, 1))
        except OSError as error:
            raise RuntimeError(f"no {size} bytes to share with the engine process ({error.strerror})") from None

    def _make(self, size: int) -> None:
        if hasattr(os, "memfd_create"):
            import fcntl

            self.descriptor = os.memfd_create("aicli-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(self.descriptor, size)
            fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        else:
            with tempfile.TemporaryFile() as file:
                file.truncate(size)
                self.descriptor = os.dup(file.fileno())
        self.map = mmap.mmap(self.descriptor, size)

    def __enter__(self) -> SharedMemory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)
