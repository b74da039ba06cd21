"""The engine process: runs interpreters for the process that started it, and can reach nothing else.

Started as a script with the socket's number, the import path, the bytes of memory that it may take, the engine's
package and whether XNNPACK is used. Messages are JSON with their length in front; models and tensors come as open
memory. The other side believes nothing that is said here: a model may have taken this process over.
"""

from __future__ import annotations

import base64
import json
import mmap
import os
import select
import signal
import socket
import struct
import sys
import threading
from typing import Any

# This file's folder would come first in the search for modules, and this process needs nothing from there.
sys.path[:] = json.loads(sys.argv[2]) if __name__ == "__main__" else sys.path

from aicli._child import limit_processor  # noqa: E402
from aicli.nn.engines import interpreter_maker  # noqa: E402
from aicli.nn.isolation.confine import confine  # noqa: E402
from aicli.nn.values import NnError  # noqa: E402

LENGTH = struct.Struct("<I")
LONGEST_ERROR = 2000

WARM_UP = (
    "7ytkOR7OlQ000gE7yuLi5C9AS2mk~C4gdfE6aWAKL;wH)Q~&?~Z~*`S0{{R30ssI2EC2ui3;+NC000I62mk~C1^@s61ONa45C8xG"
    "004kL004kL004kL004kL!2bXL3;+NCZDC|(AYyqSXkl(-000000RR915C8xG3;+}W5C9AS2mk~C3;+NC5C8xGPyhe`Q~&?~SO5S3"
    "0RR916aWAK000gE6aWAK5C9AS3jhQF4gdfE5C8xG0000B3;+NC5C8xGEdT%i0RR910ssI20ssI2000000RR910RR910ssI20RR91"
    "000000{{R3cmMzZJOBUy1ONa4p#T5>2mk;83;+NC0ssI2bTR+{1ONa40RR910RR910RR911ONa43;+-S3;+NC2mk~C3;+NC3;+NC"
    "0RR913;+NC0ssI2bTI$`1ONa40RR910RR910RR911ONa43;+xO2mk;8000C43;+NC2mk;83;+NC0ssI2bT9w_1ONa40RR910RR91"
    "0RR911ONa40RR912mk;81ONm81ONa4"
)
"""A model of one addition: what an engine looks up about the processor on its first model, it looks up before the doors
are closed."""


class Server:
    """Does what the other side asks: a method ``do_`` for each request."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def serve(self) -> None:
        while True:
            head, descriptors = receive(self.connection, LENGTH.size)
            request = json.loads(receive(self.connection, *LENGTH.unpack(head))[0])
            for number in request.get("drop", ()):
                self.drop(number)
            if request.get("seconds"):
                limit_processor(request["seconds"])
            try:
                answer = getattr(self, "do_" + request["do"])(request, descriptors)
            except MemoryError:
                answer = {"error": "it needs more memory than it may have"}
            except Exception as error:
                reason = (str(error).strip() or type(error).__name__)[:LONGEST_ERROR]
                answer = {"error": reason, "errno": error.errno if isinstance(error, NnError) else None}
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)
            tell(self.connection, answer)

    def drop(self, number: int) -> None:
        """Forgets what has this number."""


class Interpreters(Server):
    """The interpreters by their numbers, and the memory that each shares with the other side."""

    def __init__(self, connection: socket.socket, make: Any) -> None:
        import numpy

        super().__init__(connection)
        self.numpy = numpy
        self.make = make
        self.interpreters: dict[int, Any] = {}
        self.ends: dict[int, list[list[int]]] = {}
        """The interpreter's numbers of the inputs and of the outputs."""
        self.inputs: dict[int, list[Any]] = {}
        self.outputs: dict[int, list[Any]] = {}

    def drop(self, number: int) -> None:
        for table in (self.interpreters, self.ends, self.inputs, self.outputs):
            table.pop(number, None)

    def do_load(self, request: Any, descriptors: list[int]) -> Any:
        interpreter = self.make(model_content=read_all(descriptors[0]), num_threads=request["threads"])
        number = request["number"]
        self.interpreters[number] = interpreter
        ends = interpreter.get_input_details(), interpreter.get_output_details()
        self.ends[number] = [[item["index"] for item in end] for end in ends]
        return {"types": [[self.numpy.dtype(item["dtype"]).name for item in end] for end in ends]}

    def do_resize(self, request: Any, _: list[int]) -> Any:
        interpreter = self.interpreters[request["number"]]
        interpreter.resize_tensor_input(self.ends[request["number"]][0][request["input"]], request["shape"])
        return {}

    def do_allocate(self, request: Any, _: list[int]) -> Any:
        number = request["number"]
        self.interpreters[number].allocate_tensors()
        return {"shapes": self.output_shapes(number)}

    def do_share(self, request: Any, descriptors: list[int]) -> Any:
        """Maps the memory of the tensors: ``inputs`` and ``outputs`` are (offset, type, shape)."""
        number = request["number"]
        memory = mmap.mmap(descriptors[0], 0)
        for table, name in ((self.inputs, "inputs"), (self.outputs, "outputs")):
            table[number] = [self.numpy.ndarray(shape, dtype, memory, offset) for offset, dtype, shape in request[name]]
        if request["collect"]:
            self.collect(number)
        return {}

    def do_invoke(self, request: Any, _: list[int]) -> Any:
        number = request["number"]
        interpreter = self.interpreters[number]
        for index, value in zip(self.ends[number][0], self.inputs[number], strict=True):
            interpreter.set_tensor(index, value)
        interpreter.invoke()
        shapes = self.output_shapes(number)
        if shapes == [list(value.shape) for value in self.outputs[number]]:
            self.collect(number)
        return {"shapes": shapes}

    def do_reset(self, request: Any, _: list[int]) -> Any:
        self.interpreters[request["number"]].reset_all_variables()
        return {}

    def collect(self, number: int) -> None:
        interpreter = self.interpreters[number]
        for index, value in zip(self.ends[number][1], self.outputs[number], strict=True):
            if value.size:
                value[...] = interpreter.tensor(index)()

    def output_shapes(self, number: int) -> list[list[int]]:
        interpreter = self.interpreters[number]
        try:
            return [list(interpreter.tensor(index)().shape) for index in self.ends[number][1]]
        except ValueError:  # one without memory: empty, or not known before it is computed
            return [[int(size) for size in item["shape"]] for item in interpreter.get_output_details()]


def receive(connection: socket.socket, size: int) -> tuple[bytes, list[int]]:
    """So many bytes, and the descriptors that came with them; ends the process when the other side has gone."""
    data, descriptors = b"", []
    while len(data) < size:
        part, more, _, _ = socket.recv_fds(connection, size - len(data), 1)
        if not part:
            os._exit(0)
        data += part
        descriptors += more
    return data, descriptors


def read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return b"".join(iter(lambda: os.read(descriptor, min(size, 1 << 24)), b""))


def tell(connection: socket.socket, answer: Any) -> None:
    data = json.dumps(answer).encode()
    connection.sendall(LENGTH.pack(len(data)) + data)


def begin(server: Server, layers: list[str]) -> None:
    """Serves the other side until it is gone; ``layers`` are those that hold, which it is told."""
    # After them: what binds a thread of the kernel binds the threads that it starts, not those that were there.
    threading.Thread(target=end_with, args=(server.connection,), daemon=True).start()
    tell(server.connection, {"layers": layers})
    server.serve()


def end_with(connection: socket.socket) -> None:
    """Ends this process with the other side, whatever the model does."""
    poll = select.poll()
    poll.register(connection, 0)  # the hang-up is always reported
    poll.poll()
    os._exit(0)


def warm_up(make: Any) -> None:
    interpreter = make(model_content=base64.b85decode(WARM_UP), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.invoke()


def main() -> None:
    number, _, memory, package, kernels = sys.argv[1:6]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    connection = socket.socket(fileno=int(number))
    # XNNPACK looks the processor up whatever is run later; TFLite's own kernels would do it behind closed doors, and in
    # vain, and round as on an older processor.
    warm_up(interpreter_maker(package, xnnpack=True))
    server = Interpreters(connection, interpreter_maker(package, xnnpack=bool(kernels)))
    begin(server, confine(int(memory)))


if __name__ == "__main__":
    main()
