"""Registering another MTCNN: three networks with the shapes of the paper, their outputs put in the guest's order."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicli.catalog.files import open_mapped
from aicli.catalog.formats.tflite import TensorInfo
from aicli.catalog.inspect import inspect_file
from aicli.catalog.manage import check_new_name, store_own
from aicli.catalog.probe import require_safe
from aicli.catalog.ranges import parse_range
from aicli.errors import ModelError, UsageError
from aicli.nn.model_file.flatbuffer import DamagedError, root
from aicli.nn.model_file.tensors import IDENTIFIER

if TYPE_CHECKING:
    from aicli.catalog.entries import Entry
    from aicli.nn.engines import Engine

__all__ = ["add_faces"]

SIDES = {"pnet": 12, "rnet": 24, "onet": 48}
OUTPUTS = {"pnet": (4, 2), "rnet": (4, 2), "onet": (4, 10, 2)}
"""The values of each output in the order that the guest reads: box, (landmarks,) scores."""


def add_faces(
    name: str,
    pnet: str | Path,
    rnet: str | Path,
    onet: str | Path,
    *,
    engine: Engine | None = None,
    input_range: str | tuple[float, float] | None = None,
    channels: str = "rgb",
    license: str = "unknown",
    title: str | None = None,
    force: bool = False,
) -> Entry:
    """Registers an MTCNN of one's own. Its inputs are ``(pixel - 127.5) / 128`` unless a range says otherwise.

    Raises :class:`ModelError` when a file is not the network that it should be.
    """
    from aicli.nn.engines import load_engine

    check_new_name(name, force=force)
    if channels not in ("rgb", "bgr"):
        raise UsageError(f"channels is one of rgb, bgr - not '{channels}'")
    mean, std = (127.5, 128.0)
    if input_range is not None:
        means, stds = parse_range(input_range)
        mean, std = means[0], stds[0]
    loaded = engine or load_engine()
    contents = {
        net: (f"{net}.tflite", _checked(net, Path(path), loaded))
        for net, path in (("pnet", pnet), ("rnet", rnet), ("onet", onet))
    }
    record: dict[str, Any] = {
        "task": "detect-faces",
        "title": title or f"MTCNN from {Path(pnet).name}, {Path(rnet).name}, {Path(onet).name}",
        "license": license,
        "origin": str(Path(pnet).resolve().parent),
        "input": {"mean": [mean] * 3, "std": [std] * 3, "channels": channels},
    }
    return store_own(name, contents, record)


def _checked(net: str, path: Path, engine: Engine) -> bytes:
    """The file's bytes with its outputs in the guest's order, once it is known to be this network and not to crash."""
    info = inspect_file(path, metadata=False).info
    _check_input(net, path, info.inputs)
    order = _output_order(net, path, info.outputs)
    with open_mapped(path) as data:
        content = bytearray(data)
    if order != sorted(order):
        _reorder_outputs(content, order)
    require_safe(path, hashlib.sha256(path.read_bytes()).hexdigest(), engine)
    return bytes(content)


def _check_input(net: str, path: Path, inputs: tuple[TensorInfo, ...]) -> None:
    if len(inputs) != 1 or inputs[0].dtype != "float32":
        raise ModelError(f"{path}: no {net} of an MTCNN: it must have one float32 input")
    shape = inputs[0].shape
    side = SIDES[net]
    wanted = (-1, -1) if net == "pnet" else (side, side)
    if len(shape) != 4 or shape[3] != 3 or shape[1:3] != wanted or (net != "pnet" and shape[0] != -1):
        given = "x".join("?" if size == -1 else str(size) for size in shape)
        needed = "1x?x?x3" if net == "pnet" else f"?x{side}x{side}x3"
        raise ModelError(f"{path}: no {net} of an MTCNN: its input is {given}, not {needed} (? = left open)")


def _output_order(net: str, path: Path, outputs: tuple[TensorInfo, ...]) -> list[int]:
    """For each output that the guest reads, its place in the file."""
    widths = [info.shape[-1] if info.shape else 0 for info in outputs]
    wanted = OUTPUTS[net]
    if sorted(widths) != sorted(wanted) or any(info.dtype != "float32" for info in outputs):
        raise ModelError(
            f"{path}: no {net} of an MTCNN: its outputs have {widths} values, not {list(wanted)} of float32"
        )
    return [widths.index(width) for width in wanted]


def _reorder_outputs(content: bytearray, order: list[int]) -> None:
    """Rewrites the list of the main graph's outputs in place."""
    try:
        begin, indices = root(bytes(content), IDENTIFIER).item(2, 0).number_vector(2, "i")
    except DamagedError as error:
        raise ModelError(f"the TFLite model is damaged: {error}") from None
    for place, source in enumerate(order):
        content[begin + 4 * place : begin + 4 * place + 4] = int(indices[source]).to_bytes(4, "little", signed=True)
