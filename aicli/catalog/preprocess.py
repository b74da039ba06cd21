"""How pixels become a model's input: by flags, the catalog, the file's metadata, its quantisation, its operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from aicli._record import Record
from aicli._text import counted
from aicli.catalog.formats.tflite import ModelInfo, TensorInfo
from aicli.catalog.ranges import choose_feeding, exact_feeding, parse_mean_std, parse_range, triple
from aicli.catalog.specs import Channels, Crop, DType, Filter, InputSpec, Triple
from aicli.errors import ModelError, OptionName, Remark, UsageError

__all__ = ["FeedingOptions", "InputShape", "find_input", "input_spec"]

DEFAULT_SIDE = 224
"""Pixels of a MobileNet's input where the model leaves its size open."""
MAX_SIDE = 8192
MAX_BATCH = 1024


class FeedingOptions(Record):
    """What a person says about the input; ``None`` where nothing is said.

    ``size`` is ``SIDE`` or ``WIDTHxHEIGHT``, ``input_range`` is ``LOW,HIGH``; ``mean`` and ``std`` are one number or
    three, for red, green and blue.
    """

    input_range: str | tuple[float, float] | None = None
    mean: str | tuple[float, ...] | None = None
    std: str | tuple[float, ...] | None = None
    resize: str | None = None
    channels: str | None = None
    size: str | None = None

    def sides(self) -> tuple[int, int] | None:
        """Width and height in pixels. Raises :class:`UsageError` unless they are one number or two with an x."""
        if self.size is None:
            return None
        parts = self.size.lower().split("x")
        if len(parts) > 2 or not all(part.isdecimal() and 1 <= int(part) <= MAX_SIDE for part in parts):
            raise UsageError(
                f"the input size is a number of pixels or WIDTHxHEIGHT, such as 224 or 320x240, not '{self.size}'"
            )
        return int(parts[0]), int(parts[-1])

    def normalization(self, channels: str) -> tuple[Triple, Triple] | None:
        """Mean and standard deviation in pixel units, in the order of the model's channels."""
        if (self.mean is None) != (self.std is None):
            raise UsageError("mean and std belong together; give both")
        if self.mean is None or self.std is None:
            return None if self.input_range is None else parse_range(self.input_range)
        if self.input_range is not None:
            raise UsageError("give the input range, or mean and std, not both")
        mean, std = parse_mean_std(self.mean, self.std)
        return (mean[::-1], std[::-1]) if channels == "bgr" else (mean, std)


class InputShape(Record):
    """Where the axes of an image input are; ``None`` for one that it does not have. An open axis is -1."""

    tensor: TensorInfo
    height: int
    width: int
    batch: int | None
    channels: int | None

    @property
    def planar(self) -> bool:
        return self.channels is not None and self.channels < self.height

    @property
    def depth(self) -> int:
        found = 1 if self.channels is None else self.tensor.shape[self.channels]
        return 3 if found == -1 else found

    @property
    def batch_size(self) -> int:
        found = 1 if self.batch is None else self.tensor.shape[self.batch]
        return 1 if found == -1 else found

    def sized(self, width: int, height: int) -> tuple[int, ...]:
        """The tensor's shape for one image of this size."""
        shape = list(self.tensor.shape)
        shape[self.height], shape[self.width] = height, width
        if self.batch is not None:
            shape[self.batch] = self.batch_size
        if self.channels is not None:
            shape[self.channels] = self.depth
        return tuple(shape)


def find_input(name: str, info: ModelInfo) -> InputShape:
    """The only input, if it takes one image. Raises :class:`ModelError` when it does not."""
    if len(info.inputs) != 1:
        raise ModelError(f"{name}: not an image classifier: it has {len(info.inputs)} inputs, not one")
    tensor = info.inputs[0]
    if tensor.dtype not in get_args(DType):
        raise ModelError(
            f"{name}: not an image classifier: its input is {tensor.dtype}, not uint8, int8, int16 or float"
        )
    found = _axes(tensor)
    if found is None or found.batch_size > MAX_BATCH:
        shape = "x".join("?" if size == -1 else str(size) for size in tensor.shape) or "a single number"
        raise ModelError(
            f"{name}: not an image classifier: its input is {shape}, not 1 x height x width x 3 (or 1 for grey,"
            " or 1 x 3 x height x width)"
        )
    return found


def _axes(tensor: TensorInfo) -> InputShape | None:
    shape = tensor.shape
    if len(shape) == 4:
        if shape[3] == 3 or (shape[3] == -1 and shape[1] not in (1, 3)):
            return InputShape(tensor, height=1, width=2, batch=0, channels=3)
        if shape[1] == 3 or (shape[1] == 1 and shape[3] != 1):
            return InputShape(tensor, height=2, width=3, batch=0, channels=1)
        return InputShape(tensor, height=1, width=2, batch=0, channels=3) if shape[3] == 1 else None
    if len(shape) == 3:
        if shape[2] == 3:
            return InputShape(tensor, height=0, width=1, batch=None, channels=2)
        if shape[0] == 3:
            return InputShape(tensor, height=1, width=2, batch=None, channels=0)
        if shape[2] == 1 and shape[0] not in (1, -1):
            return InputShape(tensor, height=0, width=1, batch=None, channels=2)
        return InputShape(tensor, height=1, width=2, batch=0, channels=None)
    return (
        InputShape(tensor, height=0, width=1, batch=None, channels=None) if len(shape) == 2 and shape[0] > 1 else None
    )


def input_spec(
    name: str,
    info: ModelInfo,
    known: Mapping[str, Any],
    normalization: tuple[Triple, Triple] | None,
    options: FeedingOptions,
    crop: str = "squash",
) -> tuple[InputSpec, tuple[str, ...]]:
    """The input of a classifier and notes on what was assumed.

    ``known`` is the catalog's input record, empty for a file from elsewhere; ``normalization`` is what the file's own
    metadata say, ``crop`` what they say or what is usual. Raises :class:`ModelError` when the input is no image.
    """
    axes = find_input(name, info)
    notes: list[str] = []
    width, height = _size(name, axes, known, options.sides(), notes)
    channels = _choice("channels", options.channels or known.get("channels", "rgb"), get_args(Channels))
    mean, std = options.normalization(channels) or _normalization(name, info, axes, known, normalization, notes)
    tensor = axes.tensor
    spec = InputSpec(
        width=width,
        height=height,
        dtype=_choice("type", tensor.dtype, get_args(DType)),
        scale=tensor.scale or 1.0,
        zero_point=tensor.zero_point,
        mean=mean,
        std=std,
        channels=channels,
        crop=_choice("resize", options.resize or known.get("crop", crop), get_args(Crop)),
        filter=_choice("filter", known.get("filter", "bilinear"), get_args(Filter)),
        shape=axes.sized(width, height),
        depth=axes.depth,
        batch=axes.batch_size,
        planar=axes.planar,
    )
    return spec, tuple(notes)


def _choice(option: str, value: Any, allowed: tuple[str, ...]) -> Any:
    if value not in allowed:
        raise UsageError(f"{option} is one of {', '.join(allowed)} - not '{value}'")
    return value


def _size(
    name: str, axes: InputShape, known: Mapping[str, Any], given: tuple[int, int] | None, notes: list[str]
) -> tuple[int, int]:
    """Width and height of the input."""
    sides = []
    assumed = False
    for place, (axis, key) in enumerate(((axes.width, "width"), (axes.height, "height"))):
        side, stored = axes.tensor.shape[axis], axes.tensor.stored[axis]
        if given is not None and side not in (-1, given[place]):
            raise UsageError(
                f"{name}: the model's input {key} is {counted(side, 'pixel')} and cannot be {given[place]}"
            )
        if given is not None:
            side = given[place]
        elif side == -1:
            side = known.get(key) or (stored if stored > 1 else DEFAULT_SIDE)
            assumed = assumed or key not in known
        if not 1 <= side <= MAX_SIDE:
            raise ModelError(f"{name}: not an image classifier: its input {key} is {counted(side, 'pixel')}")
        sides.append(side)
    width, height = sides
    if assumed:
        said = f"{name}: the model leaves the size of its input open; assuming {width} x {height} pixels ("
        notes.append(Remark(said, OptionName("input_size"), ")"))
    return width, height


def _normalization(
    name: str,
    info: ModelInfo,
    axes: InputShape,
    known: Mapping[str, Any],
    metadata: tuple[Triple, Triple] | None,
    notes: list[str],
) -> tuple[Triple, Triple]:
    """Mean and standard deviation in pixel units, where nobody gives them."""
    from_catalog = (triple(known["mean"]), triple(known["std"])) if {"mean", "std"} <= known.keys() else None
    found = from_catalog or metadata
    tensor = axes.tensor
    if tensor.dtype in ("uint8", "int8"):
        # The user's own entry was decided when it was registered.
        return exact_feeding(tensor, found, trusted=from_catalog is not None and known.get("exact", False))
    if found:
        return found
    evidence = info.evidence
    if tensor.dtype == "int16" and tensor.scale:
        evidence = evidence.replace(told_by="input", low=-32767 * tensor.scale, high=32767 * tensor.scale)
    feeding, said = choose_feeding(name, evidence, planar=axes.planar, grey=axes.depth == 1)
    notes += said
    return feeding.mean, feeding.std
