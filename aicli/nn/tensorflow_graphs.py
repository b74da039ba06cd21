"""Frozen graphs and saved models through TensorFlow itself: the extra ``aicli[tensorflow]``, imported on first use.

A graph is a guest's program that would run outside the sandbox, so operations that reach files, processes or the
network are refused before anything runs.
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

MISSING = "this guest runs a TensorFlow graph, which needs the extra: pip install 'aicli[tensorflow]'"

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
    r"File|Reader|Dataset|Iterator|PyFunc|Summary|Debug|Remote|Rpc|Library|Print|Send|Recv|Worker|Server|Service|Record"
    r"|Plugin|Abort|Bigtable|Collective|ImmutableConst|^Copy(?:Host)?$"
)
"""Operations that touch more than tensors, by words in their names."""
RESTORING = re.compile(r"Save|Restore|Checkpoint|Sharded")
"""Operations that read and write checkpoints: a saved model has them to load itself, a frozen graph has no need."""


def is_installed() -> bool:
    return find_spec("tensorflow") is not None


def load_tensorflow() -> Any:
    """The package, quiet. Raises :class:`NnError` with the name of the extra when it is not there."""
    if not is_installed():
        raise NnError(Errno.UNSUPPORTED_OPERATION, MISSING)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    return import_module("tensorflow")


class TensorflowGraph:
    """A graph with a session of TensorFlow that runs it."""

    def __init__(self, graph: Any, session: Any) -> None:
        self._graph = graph
        self._session = session

    @classmethod
    def frozen(cls, data: bytes) -> TensorflowGraph:
        """A ``GraphDef`` as its bytes (.pb)."""
        tf = load_tensorflow()
        definition = tf.compat.v1.GraphDef()
        try:
            definition.ParseFromString(data)
        except Exception as error:
            raise NnError(Errno.INVALID_ARGUMENT, f"the guest's model is no TensorFlow graph: {error}") from None
        check_operations(definition, restoring=False)
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(definition, name="")
        return cls(graph, tf.compat.v1.Session(graph=graph))

    @classmethod
    def saved_model(cls, folder: Path, tags: Iterable[str]) -> TensorflowGraph:
        """A folder with ``saved_model.pb``."""
        tf = load_tensorflow()
        saved = import_module("tensorflow.core.protobuf.saved_model_pb2").SavedModel()
        try:
            saved.ParseFromString((folder / "saved_model.pb").read_bytes())
        except Exception as error:
            raise NnError(Errno.INVALID_ARGUMENT, f"{folder.name} is no saved model: {error}") from None
        for meta in saved.meta_graphs:
            check_operations(meta.graph_def, restoring=True)
        graph = tf.Graph()
        session = tf.compat.v1.Session(graph=graph)
        with graph.as_default():
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
        found = self._session.run(outputs, feed_dict=dict(inputs))
        return [np.asarray(value) for value in found]

    def close(self) -> None:
        self._session.close()


def check_operations(definition: Any, *, restoring: bool) -> None:
    """Raises :class:`NnError` when a graph has an operation that reaches out of it."""
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    for name in {str(node.op) for node in nodes}:
        if REACHING.search(name) or (RESTORING.search(name) and not restoring):
            raise NnError(Errno.UNSUPPORTED_OPERATION, f"the graph has the operation {name}, which is refused here")
