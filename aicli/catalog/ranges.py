"""The range of a classifier's input: what pixels become before a model sees them, and who says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from aicli.catalog.formats.first_layers import Evidence
from aicli.catalog.formats.tflite import TensorInfo
from aicli.catalog.specs import Triple
from aicli.errors import Hint, UsageError

__all__ = ["CANDIDATES", "Feeding", "choose_feeding", "exact_feeding", "parse_mean_std", "parse_range", "triple"]


class Feeding(NamedTuple):
    """``real = (pixel - mean) / std`` by channel, in pixel units, and the options that ask for it."""

    option: str
    mean: Triple
    std: Triple

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
    return Feeding(f"--input-range {low:.6g},{high:.6g}", mean, std)


UNIT, SIGNED, PIXELS = _range(0, 1), _range(-1, 1), _range(0, 255)
TORCH = Feeding("--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
CAFFE = Feeding("--mean 123.68,116.779,103.939 --std 1", (123.68, 116.779, 103.939), (1.0, 1.0, 1.0))
CANDIDATES = (SIGNED, UNIT, PIXELS, TORCH)
"""What the models that people have were trained with, MobileNet's first."""
USUAL = (*CANDIDATES, CAFFE, _range(-128, 127))
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
            note = f"{name}: the model begins by scaling pixels, so it gets them as they are ({PIXELS.option})"
            return PIXELS, (note,)
        return UNIT, (f"{name}: the model begins by normalising 0 to 1, so that is what it gets ({UNIT.option})",)
    if evidence.told_by == "weights":
        others = _others(name, PIXELS, (UNIT, SIGNED))
        reason = (
            f"its first layer has small weights ({evidence.filters:.2g}), as models have that scale pixels themselves"
        )
        return PIXELS, (f"{name}: {reason}; assuming 0 to 255 ({PIXELS.option}); {others}",)
    usual = UNIT if grey else TORCH if planar else SIGNED
    candidates = (UNIT, SIGNED, PIXELS) if grey else CANDIDATES
    words = "ImageNet's mean and deviation" if usual is TORCH else f"{usual.low:g} to {usual.high:g}"
    others = _others(name, usual, candidates)
    return usual, (f"{name}: nothing says what range its input has; assuming {words} ({usual.option}); {others}",)


def _others(name: str, chosen: Feeding, candidates: Sequence[Feeding]) -> str:
    options = [candidate.option for candidate in candidates if candidate is not chosen]
    listed = " or ".join(filter(None, (", ".join(options[:-1]), options[-1])))
    return f"it could be {listed}; see which is right: aicli models show {name} --try PHOTO"


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
        others = _others(name, within, (within, exact))
        return within, (f"{name}: {seen}, a part of a usual range; assuming {within.option}; {others}",)
    if not fitting:
        exact = _range(evidence.low, evidence.high)
        return exact, (f"{name}: {seen}, which is no usual range; that is what it gets ({exact.option})",)
    if len(fitting) > 1:
        others = _others(name, fitting[0], fitting)
        return fitting[0], (f"{name}: {seen}; assuming {fitting[0].option}; {others}",)
    extra = " (--channels bgr as well if it was trained with Keras' or Caffe's)" if fitting[0] is CAFFE else ""
    return fitting[0], (f"{name}: {seen}, so it gets {fitting[0].option}{extra}",)


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

    return min(filter(fits, CANDIDATES), key=lambda item: item.high - item.low, default=None)


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
    if said is not None and _fits(tensor, Feeding("", *said), raw):
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
        raw_first, raw_last = (end / tensor.scale + tensor.zero_point for end in Feeding("", *raw).ends(channel))
        different = different or abs(first - raw_first) > 2 or abs(last - raw_last) > 2
    return different
