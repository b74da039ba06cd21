"""Frozen graphs and saved models through TensorFlow itself: the extra ``tensorflow``, imported on first use.

A graph is a guest's program that runs outside of WebAssembly, so it does that in a process of its own
(``graphs_process.py``, ``graphs_child.py``), and operations that reach files, processes or the network are refused
before anything runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aicli.nn.session import Errno, NnError

__all__ = ["DTYPES", "MISSING", "TensorflowGraph", "is_installed"]

MISSING = "this guest runs a TensorFlow graph, which needs TensorFlow; run: pip install tensorflow"

DTYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    9: "int64",
    10: "bool",
    17: "uint16",
    22: "uint32",
    23: "uint64",
}
"""``TF_DataType`` of the types that consist of numbers."""

REACHING = re.compile(
    r"File|Reader|Dataset|Iterator|PyFunc|SummaryWriter|SummaryFile|SummaryDb|Write.*Summary|ImportEvent|Debug|Remote|Rpc"
    r"|Library|Print|Send|Recv|Worker|Server|Service|Record|Plugin|Abort|Bigtable|Collective|ImmutableConst"
    r"|^Copy(?:Host)?$"
)
"""Operations that touch more than tensors, by words in their names."""
RESTORING = re.compile(r"Save|Restore|Checkpoint|Sharded")
"""Operations that read and write checkpoints: a saved model has them to load itself, a frozen graph has no need."""


def is_installed() -> bool:
    return find_spec("tensorflow") is not None


def load_tensorflow() -> Any:
    """The package. Raises :class:`NnError` with the name of the extra when it is not there."""
    if not is_installed():
        raise NnError(Errno.UNSUPPORTED_OPERATION, MISSING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    return import_module("tensorflow")


class TensorflowGraph:
    """A graph with a session of TensorFlow that runs it."""

    def __init__(self, graph: Any, session: Any, definition: Any = None) -> None:
        """A graph whose operations are checked when they are to run needs its ``definition``."""
        self._graph = graph
        self._session = session
        nodes = definition.node if definition is not None else ()
        self._unchecked = {node.name: (node.op, [source_of(text) for text in node.input]) for node in nodes}

    @classmethod
    def frozen(cls, data: bytes, threads: int = 1) -> TensorflowGraph:
        """A ``GraphDef`` as its bytes (.pb)."""
        tf = load_tensorflow()
        definition = tf.compat.v1.GraphDef()
        try:
            definition.ParseFromString(data)
        except Exception as error:
            raise NnError(Errno.INVALID_ARGUMENT, f"the guest's model is not a TensorFlow graph: {error}") from None
        # Nodes that are never asked for never run: a graph may have kept those that wrote its checkpoints.
        check_operations({node.op for function in definition.library.function for node in function.node_def})
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(definition, name="")
            return cls(graph, open_session(tf, graph, threads), definition)

    @classmethod
    def saved_model(cls, folder: Path, tags: Iterable[str], threads: int = 1) -> TensorflowGraph:
        """A folder with ``saved_model.pb``."""
        tf = load_tensorflow()
        saved = import_module("tensorflow.core.protobuf.saved_model_pb2").SavedModel()
        try:
            saved.ParseFromString((folder / "saved_model.pb").read_bytes())
        except Exception as error:
            raise NnError(Errno.INVALID_ARGUMENT, f"{folder.name} is not a saved model: {error}") from None
        for meta in saved.meta_graphs:
            # All of them: a saved model runs operations of its own while it is loaded.
            inside = (node for function in meta.graph_def.library.function for node in function.node_def)
            check_operations({node.op for node in (*meta.graph_def.node, *inside)}, restoring=True)
        graph = tf.Graph()
        with graph.as_default():
            session = open_session(tf, graph, threads)
            tf.compat.v1.saved_model.load(session, list(tags), str(folder))
        return cls(graph, session)

    def check_tensor(self, name: str) -> None:
        """Raises :class:`NnError` unless the graph has this operation."""
        try:
            self._graph.get_tensor_by_name(name)
        except (KeyError, ValueError) as error:
            raise NnError(Errno.INVALID_ARGUMENT, f"the graph has no tensor {name}: {error}") from None

    def run(self, inputs: Mapping[str, NDArray[Any]], outputs: list[str]) -> list[NDArray[Any]]:
        """The outputs for these inputs, both by tensor names such as ``input:0``."""
        self._check(outputs)
        found = self._session.run(outputs, feed_dict=dict(inputs))
        return [np.asarray(value) for value in found]

    def _check(self, outputs: Iterable[str]) -> None:
        """Checks every operation that the outputs depend on; those that passed are not looked at again."""
        waiting, reached = [source_of(name) for name in outputs], set()
        while waiting:
            name = waiting.pop()
            if name in self._unchecked and name not in reached:
                reached.add(name)
                waiting += self._unchecked[name][1]
        check_operations({self._unchecked[name][0] for name in reached})
        for name in reached:
            del self._unchecked[name]

    def close(self) -> None:
        self._session.close()


def open_session(tf: Any, graph: Any, threads: int) -> Any:
    """A session with so many threads: by default there is one for each core, whose stacks count as memory."""
    options = {"intra_op_parallelism_threads": threads, "inter_op_parallelism_threads": threads}
    return tf.compat.v1.Session(graph=graph, config=tf.compat.v1.ConfigProto(**options))


def source_of(name: str) -> str:
    """The operation that an input or a tensor name speaks of: ``op`` of ``op:1`` and ``^op``."""
    return name.removeprefix("^").partition(":")[0]


def check_operations(names: Iterable[str], *, restoring: bool = False) -> None:
    """Raises :class:`NnError` when an operation of these reaches out of its graph."""
    for name in names:
        if REACHING.search(name) or (RESTORING.search(name) and not restoring):
            raise NnError(Errno.UNSUPPORTED_OPERATION, f"the graph has the operation {name}, which is refused here")
