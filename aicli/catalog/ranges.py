"""The range of a classifier's input: what pixels become before a model sees them, and who says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from aicli.catalog.formats.first_layers import Evidence
from aicli.catalog.formats.tflite import TensorInfo
from aicli.catalog.specs import Channels, Triple
from aicli.errors import Hint, OptionName, Remark, UsageError

__all__ = ["CANDIDATES", "Feeding", "choose_feeding", "exact_feeding", "parse_mean_std", "parse_range", "triple"]


class Feeding(NamedTuple):
    """``real = (pixel - mean) / std`` by channel, in pixel units, and the options that ask for it.

    Mean and deviation are those of red, green and blue, in whatever order the model takes them.
    """

    option: Remark
    mean: Triple
    std: Triple
    channels: Channels = "rgb"

    def ends(self, channel: int) -> tuple[float, float]:
        """What the pixels 0 and 255 become."""
        mean, std = self.mean[channel], self.std[channel]
        return (0 - mean) / std, (255 - mean) / std

    @property
    def low(self) -> float:
        return min(self.ends(channel)[0] for channel in range(3))

    @property
    def high(self) -> float:
        return max(self.ends(channel)[1] for channel in range(3))


def parse_range(text: str | Sequence[float]) -> tuple[Triple, Triple]:
    """Mean and standard deviation (in pixel units) that map 0..255 to a range such as ``-1,1``.

    Raises :class:`UsageError` unless it is two different finite numbers.
    """
    parts = text.split(",") if isinstance(text, str) else list(text)
    try:
        low, high = (float(part) for part in parts)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError
    except (TypeError, ValueError):
        raise UsageError(
            f"the input range is two numbers, the smaller first, such as 0,1 or -1,1 - not '{text}'"
        ) from None
    std = 255 / (high - low)
    mean = 0.0 - low * std
    return (mean,) * 3, (std,) * 3


def parse_mean_std(mean: str | Sequence[float], std: str | Sequence[float]) -> tuple[Triple, Triple]:
    """Mean and standard deviation in pixel units from one number or three each, in the order of the channels.

    Numbers of 0 to 1 mean a pixel of 0 to 1, as torchvision writes them; larger ones a pixel of 0 to 255. Raises
    :class:`UsageError` for anything else, and for 0 and 1, which could be either.
    """
    means, stds = _numbers("mean", mean), _numbers("std", std)
    if any(value <= 0 for value in stds):
        raise UsageError("the standard deviation is greater than 0")
    if max(*map(abs, means), *stds) > 1:
        return means, stds
    if set(means) == {0.0} and set(stds) == {1.0}:
        text = "mean 0 and std 1 may mean pixels of 0 to 1 or of 0 to 255"
        raise UsageError(text, hint=Hint("input_range", "say which with {}"))
    return _scaled(means), _scaled(stds)


def _numbers(name: str, text: str | Sequence[float]) -> Triple:
    try:
        values = [float(part) for part in (text.split(",") if isinstance(text, str) else text)]
        if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
            raise ValueError
    except (TypeError, ValueError):
        raise UsageError(f"{name} is one number or three, such as 0.485,0.456,0.406 - not '{text}'") from None
    return triple(values)


def _scaled(values: Triple) -> Triple:
    return triple([round(255 * value, 6) for value in values])


def triple(values: Sequence[float]) -> Triple:
    """One number for all channels, or one each."""
    numbers = [float(value) for value in values]
    first, second, third = numbers * 3 if len(numbers) == 1 else numbers
    return first, second, third


def _range(low: float, high: float) -> Feeding:
    mean, std = parse_range((low, high))
    return Feeding(Remark(OptionName("input_range"), f" {low:.6g},{high:.6g}"), mean, std)


def _normalized(mean: str, std: str) -> Feeding:
    option = Remark(OptionName("mean"), f" {mean} ", OptionName("std"), f" {std}")
    return Feeding(option, *parse_mean_std(mean, std))


UNIT, SIGNED, PIXELS = _range(0, 1), _range(-1, 1), _range(0, 255)
TORCH = _normalized("0.485,0.456,0.406", "0.229,0.224,0.225")
CAFFE = _normalized("123.68,116.779,103.939", "1")
KERAS_CAFFE = CAFFE._replace(option=Remark(CAFFE.option, " ", OptionName("channels"), " bgr"), channels="bgr")
CANDIDATES = (SIGNED, UNIT, PIXELS, TORCH, KERAS_CAFFE)
"""What the models that people have were trained with, MobileNet's first; Keras' ResNet and VGG last."""
COMMON = (SIGNED, UNIT, PIXELS, TORCH)
USUAL = (*COMMON, CAFFE, _range(-128, 127))
SLACK = 128
"""Steps by which a calibration that did not see every pixel may cut a usual range off."""


def choose_feeding(name: str, evidence: Evidence, *, planar: bool, grey: bool) -> tuple[Feeding, tuple[str, ...]]:
    """How a float input is fed of which only the graph tells anything, and notes on that.

    ``planar`` is an input of one plane for each channel, which PyTorch's models have; ``grey`` one of one channel.
    """
    if evidence.told_by == "quantize":
        return _calibrated(name, evidence)
    if evidence.told_by == "input":
        return _calibrated(name, evidence, "its input is quantised for")
    if evidence.told_by == "scaling":
        if evidence.high == 255:
            said = f"{name}: the model begins by scaling pixels, so it gets them as they are ("
            return PIXELS, (Remark(said, PIXELS.option, ")"),)
        said = f"{name}: the model begins by normalising 0 to 1, so that is what it gets ("
        return UNIT, (Remark(said, UNIT.option, ")"),)
    if evidence.told_by == "weights":
        reason = (
            f"its first layer has small weights ({evidence.filters:.2g}), as models have that scale pixels themselves"
        )
        rest = (UNIT, SIGNED) if grey else (UNIT, SIGNED, KERAS_CAFFE)
        return PIXELS, (_assumed(name, f"{reason}; assuming 0 to 255 (", PIXELS, rest),)
    usual = UNIT if grey else TORCH if planar else SIGNED
    # Filters as large as these would give values far from 0 for the larger range of mean-free pixels.
    candidates = (UNIT, SIGNED, PIXELS) if grey else COMMON if evidence.takes_small_numbers else CANDIDATES
    words = "ImageNet's mean and deviation" if usual is TORCH else f"{usual.low:g} to {usual.high:g}"
    return usual, (_assumed(name, f"nothing says what range its input has; assuming {words} (", usual, candidates),)


def _assumed(name: str, said: str, chosen: Feeding, candidates: Sequence[Feeding], end: str = ")") -> Remark:
    """A note on what is assumed, on what else it could be, and on how to see which is right."""
    options = [candidate.option for candidate in candidates if candidate is not chosen]
    between = [", "] * (len(options) - 2) + [" or "] * (len(options) > 1) + [""]
    listed = [part for pair in zip(options, between, strict=True) for part in pair]
    hint = Hint("models show:try", f"see which is right: aicli models show {name} {{}} PHOTO")
    return Remark(f"{name}: {said}", chosen.option, f"{end}; it could be ", *listed, hint=hint)


def _calibrated(
    name: str, evidence: Evidence, words: str = "its first operator quantises"
) -> tuple[Feeding, tuple[str, ...]]:
    """The usual range that a quantisation was calibrated with, else exactly the one that it holds."""
    seen = f"{words} {evidence.low:.4g} to {evidence.high:.4g}"
    fitting = _usual(evidence.low, evidence.high)
    within = _within(evidence.low, evidence.high)
    if not fitting and within is not None:
        # Calibrated with photos that are all dark, or all bright.
        exact = _range(evidence.low, evidence.high)
        return within, (_assumed(name, f"{seen}, a part of a usual range; assuming ", within, (exact,), ""),)
    if not fitting:
        exact = _range(evidence.low, evidence.high)
        return exact, (Remark(f"{name}: {seen}, an unusual range; that is what it gets (", exact.option, ")"),)
    if len(fitting) > 1:
        return fitting[0], (_assumed(name, f"{seen}; assuming ", fitting[0], fitting, ""),)
    said = Remark(f"{name}: {seen}, so it gets ", fitting[0].option)
    if fitting[0] is CAFFE:
        said = Remark(said, " (", OptionName("channels"), " bgr as well if it was trained with Keras' or Caffe's)")
    return fitting[0], (said,)


def _usual(low: float, high: float) -> tuple[Feeding, ...]:
    """The usual range that a calibration to ``low`` to ``high`` fits best, or several where it cannot tell."""
    if math.isclose(low, -high, rel_tol=1e-3):
        # A type that is symmetric about 0 (int16) does not tell where the values begin.
        return tuple(item for item in USUAL if 0.7 <= high / max(-item.low, item.high) <= 1.03)
    fitting = [item for item in USUAL if _covers(item, low, high)]
    return tuple(sorted(fitting, key=lambda item: abs(low - item.low) + abs(high - item.high))[:1])


def _within(low: float, high: float) -> Feeding | None:
    """The smallest usual range that a calibration lies in and begins or ends with."""

    def fits(item: Feeding) -> bool:
        width = item.high - item.low
        near = min(abs(low - item.low), abs(high - item.high)) <= 0.03 * width
        inside = low >= item.low - 0.03 * width and high <= item.high + 0.03 * width
        return near and inside and high - low >= 0.25 * width

    return min(filter(fits, COMMON), key=lambda item: item.high - item.low, default=None)


def _covers(usual: Feeding, low: float, high: float) -> bool:
    """Whether a calibration saw most of a usual range and nothing outside it."""
    width = usual.high - usual.low
    inside = low >= usual.low - 0.03 * width and high <= usual.high + 0.03 * width
    return inside and high - low >= 0.7 * width


def exact_feeding(tensor: TensorInfo, said: tuple[Triple, Triple] | None, *, trusted: bool) -> tuple[Triple, Triple]:
    """How an 8-bit input is fed: one rule for unsigned and signed ones.

    A quantised model that was made from pixels gets the pixel itself (less 128 when it is signed), as TensorFlow's own
    task library does. A normalisation that is ``said`` (by the catalog or the file's metadata), or a usual range that
    the quantisation was calibrated with, is applied where it fits the type and differs from that by more than
    rounding. Metadata that were written for the float model, or that say "none" (0 and 1), do not fit.
    """
    raw = raw_pixels(tensor)
    if said is not None and trusted:
        return said
    if not tensor.scale:
        return raw
    low, high = LIMITS[tensor.dtype]
    if said is not None and _fits(tensor, Feeding(Remark(), *said), raw):
        return said
    if said is None:
        fitting = _usual(*((limit - tensor.zero_point) * tensor.scale for limit in (low, high)))
        if len(fitting) == 1 and _fits(tensor, fitting[0], raw):
            return fitting[0].mean, fitting[0].std
    return raw


LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}


def raw_pixels(tensor: TensorInfo) -> tuple[Triple, Triple]:
    """The mean and deviation under which a quantised input holds the pixel itself (less 128 when it is signed)."""
    shift = 128 if tensor.dtype == "int8" else 0
    return (float(tensor.zero_point + shift),) * 3, (1 / (tensor.scale or 1.0),) * 3


def _fits(tensor: TensorInfo, found: Feeding, raw: tuple[Triple, Triple]) -> bool:
    """Whether a normalisation uses the type's range and differs from raw pixels by more than two steps."""
    low, high = LIMITS[tensor.dtype]
    different = False
    for channel in range(3):
        first, last = (end / tensor.scale + tensor.zero_point for end in found.ends(channel))
        if first < low - SLACK or last > high + SLACK or last - first < 64:
            return False
        raw_first, raw_last = (end / tensor.scale + tensor.zero_point for end in Feeding(Remark(), *raw).ends(channel))
        different = different or abs(first - raw_first) > 2 or abs(last - raw_last) > 2
    return different
