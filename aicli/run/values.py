"""What functions are given and what they answer, as values: bytes, text, numbers, and lists of them."""

from __future__ import annotations

import base64
import json
import re
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from aicli.errors import Hint, UsageError

__all__ = ["KINDS", "Argument", "Number", "Value", "encode_answer", "parse_argument", "parse_value", "parse_word"]

Value = bytes | str | int | float | list[int]
"""What a function answers; ``bytes`` where only the guest knows whether they are text."""

KINDS = {"i32": "<i", "u32": "<I", "i64": "<q", "u64": "<Q", "f32": "<f", "f64": "<d"}
"""The types that a number may name, as Rust spells them, with how :mod:`struct` writes each."""

NUMBER = re.compile(r"([+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?))(i32|u32|i64|u64|f32|f64)?")


class Number(NamedTuple):
    """A number as somebody spelled it; ``kind`` is empty where the spelling names no type."""

    text: str
    value: int | float
    kind: str = ""

    def packed(self) -> bytes:
        """Eight bytes, the number first: wide enough for whatever type the function reads there."""
        if self.kind:
            return struct.pack(KINDS[self.kind], self.value).ljust(8, b"\0")
        return struct.pack("<d", self.value) if isinstance(self.value, float) else wrapped(self.value, 64)


Argument = bytes | str | Number


def wrapped(value: int, bits: int) -> bytes:
    return (value & ((1 << bits) - 1)).to_bytes(bits // 8, "little")


def parse_number(text: str) -> Number | None:
    """A number, perhaps with a type as in ``5i64``; ``None`` for other text.

    Raises :class:`UsageError` when it does not fit that type.
    """
    found = NUMBER.fullmatch(text)
    if found is None:
        return None
    digits, kind = found[1], found[2] or ""
    hexadecimal = "x" in digits.lower()
    whole = hexadecimal or digits.lstrip("+-").isdigit()
    value = int(digits, 16 if hexadecimal else 10) if whole else float(digits)
    if kind.startswith("f"):
        value = float(value)
    try:
        if whole and not -(1 << 63) <= value < 1 << 64:
            raise OverflowError
        struct.pack(KINDS[kind or ("f64" if isinstance(value, float) else "q")] if kind else "<d", value)
    except (struct.error, OverflowError):
        raise UsageError(f"{text}: this number does not fit {kind or 'any type that a function takes'}") from None
    return Number(digits, value, kind)


def parse_argument(text: str) -> Argument:
    """A value of ``--arg``: ``@FILE``, ``@-`` for standard input, a number, text, or a JSON string for text like "5".

    Raises :class:`UsageError` when there is no such file.
    """
    return read(text[1:]) if text.startswith("@") else parse_value(text)


def parse_value(text: str) -> Argument:
    """A number, text, or a JSON string for text like "5". Raises :class:`UsageError` for a number out of range."""
    number = parse_number(text)
    if number is not None:
        return number
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            plain: str = json.loads(text)
        except ValueError:
            return text
        return plain
    return text


def parse_word(text: str) -> Argument:
    """A plain word after GUEST.wasm: a number or a file, ``-`` for standard input.

    Raises :class:`UsageError` for anything else, which may be a file's name with a slip in it.
    """
    if text.startswith("@"):
        return read(text[1:])
    number = None if text == "-" else parse_number(text)
    return read(text, Hint("run:arg", "give text with {}")) if number is None else number


def read(name: str, hint: Hint | None = None) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: cannot read this file ({error.strerror})", hint=hint) from None


def encode_answer(values: Sequence[Value], exact: bool = False) -> bytes:
    """An answer as it is written: bytes as they are, text and numbers with an end of line, several values as JSON.

    ``exact`` adds no end of line to text.
    """
    if not values:
        return b""
    if len(values) > 1 or isinstance(values[0], list):
        content = values[0] if len(values) == 1 else [in_json(value) for value in values]
        text = json.dumps(content, ensure_ascii=False).encode()
    elif isinstance(values[0], bytes):
        text = values[0]
        exact = exact or not is_text(text)
    else:
        text = str(values[0]).encode()
    return text if exact or text.endswith(b"\n") else text + b"\n"


def in_json(value: Value) -> object:
    if not isinstance(value, bytes):
        return value
    return value.decode() if is_text(value) else {"base64": base64.b64encode(value).decode()}


def is_text(content: bytes) -> bool:
    """Whether these bytes are something to read: UTF-8 without control characters."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return False
    return not any(mark < " " and mark not in "\t\n\r\f" for mark in text)
