"""A process that runs TensorFlow graphs for a guest's host functions; it can read the granted folders and nothing else.

Started as a script with the socket's number, the import path, the bytes of memory that it may take, and the folders.
The other side believes nothing that is said here: a graph may have taken this process over.
"""

from __future__ import annotations

import json
import mmap
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

# This file's folder would come first in the search for modules, and this process needs nothing from there.
sys.path[:] = json.loads(sys.argv[2]) if __name__ == "__main__" else sys.path

from aicli.nn.dialects.tensorflow_graphs import TensorflowGraph, load_tensorflow  # noqa: E402
from aicli.nn.isolation.child import Server, begin, read_all  # noqa: E402
from aicli.nn.isolation.confine import confine  # noqa: E402

READ_BY_TENSORFLOW = ("/dev/urandom", "/proc/self/cmdline")
"""Seeds of generators and the name of this program: without either TensorFlow ends the process at its first graph."""

STARTING_THREADS = ("pandas", "pyarrow")
"""What TensorFlow imports where it is installed, needs for nothing here, and would have threads that nothing binds."""


class Graphs(Server):
    """The graphs by their numbers, and the outputs of each that were not collected yet."""

    def __init__(self, connection: socket.socket) -> None:
        super().__init__(connection)
        self.graphs: dict[int, TensorflowGraph] = {}
        self.outputs: dict[int, list[Any]] = {}

    def drop(self, number: int) -> None:
        self.outputs.pop(number, None)
        if number in self.graphs:
            self.graphs.pop(number).close()

    def do_frozen(self, request: Any, descriptors: list[int]) -> Any:
        self.graphs[request["number"]] = TensorflowGraph.frozen(read_all(descriptors[0]), request["threads"])
        return {}

    def do_saved(self, request: Any, _: list[int]) -> Any:
        folder = Path(request["folder"])
        self.graphs[request["number"]] = TensorflowGraph.saved_model(folder, request["tags"], request["threads"])
        return {}

    def do_check(self, request: Any, _: list[int]) -> Any:
        self.graphs[request["number"]].check_tensor(request["name"])
        return {}

    def do_run(self, request: Any, descriptors: list[int]) -> Any:
        """``inputs`` are (name, offset, type, shape); the answer has the outputs' types and shapes."""
        import numpy as np

        with mmap.mmap(descriptors[0], 0) as memory:
            inputs = {
                name: np.ndarray(shape, dtype, memory, offset).copy()
                for name, offset, dtype, shape in request["inputs"]
            }
        outputs = self.graphs[request["number"]].run(inputs, request["outputs"])
        self.outputs[request["number"]] = outputs
        # What does not consist of numbers has pointers instead, which are of no use elsewhere.
        types = [value.dtype.name if value.dtype.kind in "biuf" else "" for value in outputs]
        return {"types": types, "shapes": [list(value.shape) for value in outputs]}

    def do_collect(self, request: Any, descriptors: list[int]) -> Any:
        """Copies the outputs to these offsets."""
        import numpy as np

        with mmap.mmap(descriptors[0], 0) as memory:
            for value, offset in zip(self.outputs.pop(request["number"]), request["offsets"], strict=True):
                if offset is not None:
                    np.ndarray(value.shape, value.dtype, memory, offset)[...] = value
        return {}


def main() -> None:
    number, _, memory, *folders = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    server = Graphs(socket.socket(fileno=int(number)))
    for package in STARTING_THREADS:
        sys.modules[package] = None  # type: ignore[assignment]
    # No more than that: threads that its first graph starts would not be bound by what is given up later.
    load_tensorflow()
    begin(server, confine(int(memory), [path for path in (*READ_BY_TENSORFLOW, *folders) if os.path.exists(path)]))


if __name__ == "__main__":
    main()
