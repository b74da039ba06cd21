"""The size of the frames in an AVIF file as its AV1 stream gives it: the boxes around the stream may say anything.

AV1 Bitstream and Decoding Process Specification, 5.3 to 5.5; ISO/IEC 14496-12, 8.11.3 (``iloc``).
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["stream_sizes"]

_SEQUENCE_HEADER = 1
_MOST_ITEMS = 4096


class _Bits:
    """Big-endian bit fields; zeros beyond the end."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        shifted = self._value >> self._left if self._left >= 0 else self._value << -self._left
        return shifted & ((1 << count) - 1)

    def skip_uvlc(self) -> None:
        zeros = 0
        while zeros < 32 and self._left > 0 and not self.take(1):
            zeros += 1
        self.take(zeros)


def stream_sizes(data: bytes) -> Iterator[tuple[int, int]]:
    """The largest frame that the sequence header of each item admits."""
    meta = next(_boxes(data, 0, len(data), b"meta"), None)
    if meta is None:
        return
    location = next(_boxes(data, meta[0] + 4, meta[1], b"iloc"), None)
    inner = next(_boxes(data, meta[0] + 4, meta[1], b"idat"), (0, 0))
    if location is None:
        return
    for method, offset, length in _extents(data[location[0] : location[1]]):
        start = offset + (inner[0] if method == 1 else 0)
        size = _sequence_size(data[start : start + min(length or 512, 512)])
        if size is not None:
            yield size


def _boxes(data: bytes, at: int, end: int, kind: bytes) -> Iterator[tuple[int, int]]:
    """Begin and end of the contents of every box of a kind in a part of the file."""
    while at + 8 <= end:
        size, head = int.from_bytes(data[at : at + 4], "big"), 8
        if size == 1:
            size, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif size == 0:
            size = end - at
        if size < head:
            return
        if data[at + 4 : at + 8] == kind:
            yield at + head, min(at + size, end)
        at += size


def _extents(box: bytes) -> Iterator[tuple[int, int, int]]:
    """Construction method, offset and length of the first extent of each item."""
    version, at = box[0] if box else 0, 4

    def take(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(box[at - size : at], "big")

    sizes = take(2)
    offset_size, length_size, base_size = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15
    index_size = sizes & 15 if version in (1, 2) else 0
    for _ in range(min(take(2 if version < 2 else 4), _MOST_ITEMS)):
        take(2 if version < 2 else 4)
        method = take(2) & 15 if version in (1, 2) else 0
        take(2)
        base, extents = take(base_size), take(2)
        for number in range(extents):
            take(index_size)
            offset, length = take(offset_size), take(length_size)
            if number == 0:
                yield method, base + offset, length
            if at > len(box):
                return


def _sequence_size(data: bytes) -> tuple[int, int] | None:
    """Largest width and height of the first sequence header among the open bitstream units."""
    at = 0
    while at < len(data):
        head = data[at]
        at += 2 if head & 4 else 1
        size, shift = 0, 0
        while head & 2 and at < len(data) and shift < 56:
            size |= (data[at] & 127) << shift
            shift += 7
            at += 1
            if not data[at - 1] & 128:
                break
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            return _largest_frame(_Bits(data[at:]))
        at += size
    return None


def _largest_frame(bits: _Bits) -> tuple[int, int]:
    bits.take(4)
    if bits.take(1):  # reduced_still_picture_header
        bits.take(5)
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


def _skip_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):  # timing_info_present_flag
        bits.take(64)
        if bits.take(1):
            bits.skip_uvlc()
        if bits.take(1):  # decoder_model_info_present_flag
            delay_bits = bits.take(5) + 1
            bits.take(42)
    display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if display_delay and bits.take(1):
            bits.take(4)
