"""Which output of a model holds the scores, how many classes it has, and what a model is that has no such output."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from aicli.catalog.formats.tflite import ModelInfo, TensorInfo
from aicli.catalog.specs import DType, InputSpec, OutputKind, OutputSpec
from aicli.errors import Hint, ModelError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from aicli.nn.engines import AnyEngine

__all__ = ["choose_output", "classes_of", "has_open_shapes", "output_shapes", "output_spec"]

MAX_CLASSES = 1_000_000


def output_shapes(
    name: str, info: ModelInfo, spec: InputSpec, model: Path | bytes, engine: AnyEngine
) -> tuple[TensorInfo, ...]:
    """The outputs with their shapes for one image; the interpreter is asked only where the file leaves them open."""
    outputs = info.outputs
    if not outputs:
        raise ModelError(f"{name}: not an image classifier: it has no output")
    if not has_open_shapes(info):
        return outputs
    interpreter = engine.interpreter(model, 1)
    try:
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], spec.shape)
        engine.allocate(interpreter)
        shapes = [tuple(int(n) for n in item["shape"]) for item in interpreter.get_output_details()]
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"{name}: {engine.name} cannot run this model: {reason}") from None
    return tuple(
        TensorInfo(item.name, item.dtype, shape, shape, item.scale, item.zero_point)
        for item, shape in zip(outputs, shapes, strict=True)
    )


def has_open_shapes(info: ModelInfo) -> bool:
    """Whether an output's shape follows from the image's size, so that only an interpreter knows it."""
    return any(not item.shape or -1 in item.shape[1:] for item in info.outputs)


def classes_of(info: TensorInfo, batch: int = 1) -> int:
    """The classes of an output [batch, classes], [classes] or with further axes of 1; 0 for any other shape or type."""
    shape = list(info.shape)
    if len(shape) > 1 and shape[0] in (batch, -1):
        shape = shape[1:]
    wide = [size for size in shape if size != 1]
    if len(wide) > 1 or not shape or info.dtype not in get_args(DType):
        return 0
    classes = wide[0] if wide else 1
    return classes if 1 <= classes <= MAX_CLASSES else 0


def choose_output(
    name: str, outputs: Sequence[TensorInfo], batch: int, wanted: int | None, labels: Sequence[str] | None
) -> int:
    """The place of the output to read: the one asked for, the only one that fits the labels, the only usable one."""
    if wanted is not None:
        if not 0 <= wanted < len(outputs):
            raise UsageError(
                f"{name}: there is no output tensor {wanted}; the model has {len(outputs)} (counted from 0)"
            )
        return wanted
    if len(outputs) == 1:
        return 0
    counts = [classes_of(info, batch) for info in outputs]
    usable = [index for index, count in enumerate(counts) if count > 1]
    fitting = [index for index in usable if labels is not None and counts[index] == len(labels)]
    for found in (fitting, usable):
        if len(found) == 1:
            return found[0]
    listed = _listed(outputs)
    if not any(counts) or _looks_like(outputs) == "an object detector":
        raise ModelError(f"{name}: not an image classifier: it looks like {_looks_like(outputs)} (outputs {listed})")
    text = f"{name}: the model has {len(outputs)} outputs ({listed})"
    raise UsageError(text, hint=Hint("output_tensor", "choose one with {}"))


def output_spec(
    name: str,
    info: ModelInfo,
    outputs: Sequence[TensorInfo],
    index: int,
    *,
    batch: int,
    known: Mapping[str, Any],
    labels: int | None,
) -> OutputSpec:
    """How output ``index`` is read; ``known`` is the catalog's record of it, ``labels`` how many there are.

    One value for two labels is the second one's probability.
    """
    tensor = outputs[index]
    classes = classes_of(tensor, batch)
    if not classes:
        raise ModelError(
            f"{name}: not an image classifier: its output {index} is {tensor.dtype} {_shape(tensor)}, not 1 x classes;"
            f" it looks like {_looks_like(outputs)}"
        )
    said: Any = known.get("kind", "unknown")
    kind: OutputKind = said if said in ("probabilities", "logits") else info.kinds[index]
    dtype: Any = tensor.dtype
    binary = classes == 1
    if binary and labels == 2:
        classes = 2
    return OutputSpec(index, classes, dtype, tensor.scale or 1.0, tensor.zero_point, kind, binary)


def _shape(info: TensorInfo) -> str:
    return "x".join("?" if size == -1 else str(size) for size in info.shape) or "a single number"


def _listed(outputs: Sequence[TensorInfo]) -> str:
    return ", ".join(f"{index}: {_shape(info)}" for index, info in enumerate(outputs))


def _looks_like(outputs: Sequence[TensorInfo]) -> str:
    """What kind of model has such outputs."""
    shapes = [info.shape for info in outputs]
    if any(len(shape) == 3 and shape[-1] == 4 for shape in shapes) and len(shapes) > 1:
        return "an object detector"
    if any(len(shape) == 3 and min(shape[1:]) >= 5 and max(shape[1:]) > 300 for shape in shapes):
        return "an object detector"
    if any(len(shape) == 4 and shape[1] > 1 and shape[2] > 1 for shape in shapes):
        picture = max(shapes, key=math.prod)
        return (
            "a model whose answer is a picture (segmentation, depth or style)" if picture[1] > 7 else "an image encoder"
        )
    return "something else"
