"""An engine whose interpreters live in a process of their own: what a model does there, it does to that process alone.

The process is fresh (no memory, environment, descriptors of this one), confined (:mod:`aicli.nn.isolation.confine`) and
not believed: of what it answers only shapes are used, and they are checked. Tensors lie in memory that both share and
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

import numpy as np
from numpy.typing import NDArray

from aicli._text import printable
from aicli.errors import ModelError, UnavailableError
from aicli.nn.engines import ENGINES, AnyEngine, EngineDied
from aicli.nn.model_file.flatbuffer import DamagedError
from aicli.nn.model_file.tensors import MAX_RANK, ModelTensors, Tensor, read_tensors

__all__ = ["IsolatedEngine", "can_isolate"]

LENGTH = struct.Struct("<I")
MAX_MESSAGE = 1 << 20
START_TIMEOUT = 60.0
ALIGNMENT = 64
Shape = tuple[int, ...]


def can_isolate() -> bool:
    """Whether this system can hand open files to another process, which is how models and tensors travel."""
    return hasattr(socket, "send_fds")


class IsolatedEngine:
    """As :class:`Engine`, with interpreters in another process that is started when it is first needed.

    ``memory`` bounds what the models may take there together, in bytes; ``deadline`` is the time of
    ``time.monotonic()`` at which a call must have ended, or ``None``. After a death the next interpreter starts a new
    process; the old interpreters stay dead.
    """

    contained = True

    def __init__(self, engine: AnyEngine, memory: int, deadline: float | None = None) -> None:
        self.name: str = engine.name
        self.version: str = engine.version
        self.xnnpack: bool = engine.xnnpack
        self._default_threads = engine.default_threads
        self._memory = memory
        self.deadline = deadline
        self._process: EngineProcess | None = None

    def default_threads(self) -> int:
        return self._default_threads()

    def set_deadline(self, deadline: float | None) -> None:
        self.deadline = deadline

    def allocate(self, interpreter: RemoteInterpreter) -> None:
        interpreter.allocate_tensors()

    def start(self) -> None:
        """Starts the process, and does not wait until it is ready. Raises :class:`UnavailableError`."""
        if self._process is None or not self._process.is_usable():
            self._process = EngineProcess(self.name, self.xnnpack, self._memory, weakref.ref(self))

    def interpreter(self, model: Path | bytes, threads: int) -> RemoteInterpreter:
        """An interpreter over a model file or its bytes, tensors not yet allocated.

        Raises :class:`ModelError` when it is not a TFLite model that this engine can run, :class:`EngineDied`.
        """
        name = model.name if isinstance(model, Path) else "the model"
        try:
            content = model.read_bytes() if isinstance(model, Path) else model
            tensors = read_tensors(content)
        except (OSError, DamagedError) as error:
            raise ModelError(f"{name}: not a TFLite model that can be read: {error}") from None
        self.start()
        assert self._process is not None
        try:
            return RemoteInterpreter(self._process, content, tensors, threads or self.default_threads())
        except EngineDied:
            raise
        except RuntimeError as error:
            raise ModelError(f"{name}: not a TFLite model that {self.name} can run: {error}") from None


class EngineProcess:
    """The process, asked one thing at a time, from one thread at a time."""

    def __init__(self, engine: str, xnnpack: bool, memory: int, owner: Callable[[], IsolatedEngine | None]) -> None:
        if not can_isolate() or not sys.executable:
            raise UnavailableError(
                "a model that nobody vouches for needs a process of its own, which this system lacks"
            )
        self._engine_of = owner
        self.most_shared = memory
        self._owner = os.getpid()
        self._engine = engine
        self._last_number = 0
        self._ready = False
        self.layers: tuple[str, ...] = ()
        self.dropped: list[int] = []
        self._socket, theirs = socket.socketpair()
        script = Path(__file__).with_name("child.py")
        home = str(Path(__file__).parents[3])
        path = json.dumps([home, *(entry for entry in sys.path if entry)])
        kernels = "xnnpack" if xnnpack else ""
        arguments = [str(theirs.fileno()), ENGINES[engine][0], str(memory), path, kernels]
        # -I and -S: no variables, no current folder, no start-up files. The import path is this process's.
        command = [sys.executable, "-I", "-S", str(script), *arguments]
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

    def ask(self, do: str, number: int, *, descriptor: int | None = None, threads: int = 1, **values: Any) -> Any:
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
            self._end()
            raise EngineDied(f"{self._engine} did not finish within the guest's time; its process was ended") from None
        except (OSError, EOFError, ValueError):
            raise EngineDied(self._obituary()) from None
        except BaseException:
            self._end()  # an answer that nobody waits for would be taken for the next one
            raise
        if isinstance(answer.get("error"), str):
            raise RuntimeError(printable(answer["error"], longest=500))
        return answer

    def _wait_until_ready(self) -> None:
        if self._ready:
            return
        left = self._seconds_left()
        self._socket.settimeout(START_TIMEOUT if left is None else max(0.001, left))
        hello = self._receive()
        if "layers" not in hello:
            raise ValueError
        self.layers = tuple(str(layer) for layer in hello["layers"])
        self._ready = True

    def _seconds_left(self) -> float | None:
        engine = self._engine_of()
        deadline = engine.deadline if engine is not None else None
        return None if deadline is None else deadline - time.monotonic()

    def _exchange(self, request: dict[str, Any], descriptor: int | None, left: float | None) -> dict[str, Any]:
        self._socket.settimeout(None if left is None else max(0.001, left))
        data = json.dumps(request).encode()
        message = LENGTH.pack(len(data)) + data
        if descriptor is not None:
            socket.send_fds(self._socket, [message[: LENGTH.size]], [descriptor])
            message = message[LENGTH.size :]
        self._socket.sendall(message)
        return self._receive()

    def _receive(self) -> dict[str, Any]:
        (length,) = LENGTH.unpack(self._read(LENGTH.size))
        if length > MAX_MESSAGE:
            raise ValueError
        answer = json.loads(self._read(length))
        if not isinstance(answer, dict):
            raise ValueError
        return answer

    def _read(self, size: int) -> bytes:
        parts = []
        while size:
            part = self._socket.recv(size)
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _obituary(self) -> str:
        """How the process ended, in words; it is ended if it still lives."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(0.5)
        self._end()
        code = self._process.returncode
        how = f"exit code {code}"
        if code is not None and code < 0:
            with suppress(ValueError):
                how = signal.Signals(-code).name
        return f"the model crashed {self._engine} ({how}); the crash was contained in a process of its own"


def end_process(process: subprocess.Popen[bytes], connection: socket.socket) -> None:
    connection.close()
    with suppress(OSError):
        process.kill()
    with suppress(OSError, subprocess.TimeoutExpired):
        process.wait(5)


class RemoteInterpreter:
    """What a session uses of TFLite's ``Interpreter``; tensors go by their place: inputs first, then outputs."""

    def __init__(self, process: EngineProcess, content: bytes, tensors: ModelTensors, threads: int) -> None:
        self._process = process
        self._tensors = tensors
        self._threads = threads
        self._number = process.new_number()
        self._in_shapes: list[Shape] = [tensor.shape for tensor in tensors.inputs]
        self._out_shapes: list[Shape] = [tensor.shape for tensor in tensors.outputs]
        self._arrays: list[NDArray[Any]] = []
        with SharedMemory(len(content)) as memory:
            memory.map[: len(content)] = content
            answer = self._ask("load", descriptor=memory.descriptor)
        declared = [[tensor.dtype for tensor in end] for end in tensors]
        if answer.get("types") != declared:
            raise RuntimeError("its inputs and outputs are not those that the file declares")
        weakref.finalize(self, process.dropped.append, self._number)

    def _ask(self, do: str, **values: Any) -> Any:
        return self._process.ask(do, self._number, threads=self._threads, **values)

    def get_input_details(self) -> list[dict[str, Any]]:
        return describe(self._tensors.inputs, self._in_shapes, 0)

    def get_output_details(self) -> list[dict[str, Any]]:
        return describe(self._tensors.outputs, self._out_shapes, len(self._in_shapes))

    def resize_tensor_input(self, index: int, shape: Sequence[int]) -> None:
        wanted = tuple(int(size) for size in shape)
        self._ask("resize", input=index, shape=wanted)
        self._in_shapes[index] = wanted
        self._arrays = []

    def allocate_tensors(self) -> None:
        self._out_shapes = self._checked(self._ask("allocate"))
        self._share(collect=False)

    def invoke(self) -> None:
        shapes = self._checked(self._ask("invoke"))
        if shapes != self._out_shapes:  # an output whose shape follows from the values
            self._out_shapes = shapes
            self._share(collect=True)

    def reset_all_variables(self) -> None:
        self._ask("reset")

    def set_tensor(self, index: int, value: NDArray[Any]) -> None:
        target = self._array(index)
        if value.shape != target.shape or value.dtype != target.dtype:
            raise ValueError(f"an array of {value.shape} {value.dtype} for a tensor of {target.shape} {target.dtype}")
        target[...] = value

    def tensor(self, index: int) -> Callable[[], NDArray[Any]]:
        return lambda: self._array(index)

    def _array(self, index: int) -> NDArray[Any]:
        if not self._arrays:
            raise RuntimeError("the tensors are not allocated")
        return self._arrays[index]

    def _checked(self, answer: dict[str, Any]) -> list[Shape]:
        """The outputs' shapes, as they were answered. Raises :class:`RuntimeError` for what cannot be shapes."""
        shapes = answer.get("shapes")
        right = isinstance(shapes, list) and len(shapes) == len(self._tensors.outputs)
        if not right or not all(is_shape(shape) for shape in shapes):  # type: ignore[union-attr]
            raise RuntimeError("the engine process gave impossible shapes")
        return [tuple(shape) for shape in shapes]  # type: ignore[union-attr]

    def _share(self, *, collect: bool) -> None:
        """Lays the tensors out in memory of their sizes, for both sides; outputs are copied there with ``collect``."""
        places, end = [], 0
        for tensor, shape in zip(
            (*self._tensors.inputs, *self._tensors.outputs), (*self._in_shapes, *self._out_shapes), strict=True
        ):
            places.append((end, tensor.dtype, shape))
            end += -(-tensor.size(shape) // ALIGNMENT) * ALIGNMENT
        if end > self._process.most_shared:
            raise RuntimeError(f"inputs and outputs of {end} bytes are more than the model may have")
        before, count = self._arrays, len(self._in_shapes)
        with SharedMemory(end) as memory:
            self._ask(
                "share", descriptor=memory.descriptor, inputs=places[:count], outputs=places[count:], collect=collect
            )
            self._arrays = [np.ndarray(shape, dtype, memory.map, offset) for offset, dtype, shape in places]
        if collect:
            for now, old in zip(self._arrays[:count], before, strict=False):
                now[...] = old


def describe(tensors: Sequence[Tensor], shapes: Sequence[Shape], first: int) -> list[dict[str, Any]]:
    """As ``Interpreter.get_input_details()``, as far as a session looks at it."""
    return [
        {
            "name": tensor.name,
            "index": first + place,
            "shape": np.array(shape, np.int64),
            "shape_signature": np.array(tensor.signature, np.int64),
            "dtype": np.dtype(tensor.dtype).type,
        }
        for place, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True))
    ]


def is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) <= MAX_RANK
        and all(type(size) is int and 0 <= size < 1 << 31 for size in shape)
    )


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
