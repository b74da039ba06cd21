"""Request bodies: read within limits of size and time, and taken apart when they are multipart (RFC 7578)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from starlette.requests import Request

from aicli._text import counted
from aicli.serve.http.problems import Problem

__all__ = ["Budget", "Held", "Part", "parse_multipart", "read_body"]

GRACE = 5.0
LEAST_RATE = 16 << 10
"""After ``GRACE`` seconds a body must have come at this many bytes a second on average."""
MAX_PART_HEADERS = 8192
MAX_NAME = 200


@dataclass
class Part:
    """One part of a form: the field's name, the client's name for the file (never a path here), the content."""

    name: str = ""
    filename: str = ""
    content: bytes = b""


class Budget:
    """How many bytes of bodies and answers all requests together may hold in memory."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0

    def take(self, size: int) -> None:
        if self.used + size > self.limit:
            raise Problem(503, "busy", "too many bytes are under way at once; try again", retry_after=1)
        self.used += size

    def give(self, size: int) -> None:
        self.used -= size


@dataclass
class Held:
    """The share of the budget that one request holds."""

    budget: Budget
    size: int = 0

    def add(self, size: int) -> None:
        self.budget.take(size)
        self.size += size

    def release(self) -> None:
        self.budget.give(self.size)
        self.size = 0


async def read_body(request: Request, held: Held, *, limit: int, seconds: float) -> bytes:
    """The whole body. Raises :class:`Problem` 413, 408 or 400 when it is too long, too slow or cut off."""
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_long(limit)
    chunks: list[bytes] = []
    size, more = 0, True
    with Clock(min(seconds, GRACE)) as clock:
        while more:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                cut_off = Problem(400, "cut_off", "the client went away before the body was complete")
                raise message.get("problem") or cut_off
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            if size > limit:
                raise too_long(limit)
            held.add(len(chunk))
            chunks.append(chunk)
            if more:
                clock.set(min(seconds, GRACE + size / LEAST_RATE))
    if clock.struck:
        reason = f"the body did not arrive within {counted(seconds, 'second')}"
        if clock.seconds < seconds:
            reason = f"the body came at less than {LEAST_RATE >> 10} KiB a second"
        raise Problem(408, "slow_body", reason)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


class Clock:
    """Ends what is within the ``with`` when so many seconds have passed. Cheaper than anyio's scope."""

    def __init__(self, seconds: float) -> None:
        self.struck = False
        self.seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._task: Any = asyncio.current_task()
        self._begun = self._loop.time()
        self._timer = self._loop.call_at(self._begun + seconds, self._strike)

    def set(self, seconds: float) -> None:
        """Another number of seconds, from the same begin on."""
        self._timer.cancel()
        self.seconds = seconds
        self._timer = self._loop.call_at(self._begun + seconds, self._strike)

    def _strike(self) -> None:
        self.struck = True
        self._task.cancel()

    def __enter__(self) -> Clock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> bool:
        self._timer.cancel()
        if self.struck and hasattr(self._task, "uncancel"):  # from Python 3.11 on
            self._task.uncancel()
        return self.struck and kind is asyncio.CancelledError


def too_long(limit: int) -> Problem:
    return Problem(413, "body_too_large", f"the body is larger than the limit of {counted(limit, 'byte')}")


@dataclass
class Collector:
    """What the parser's callbacks gather; the offsets are into the body."""

    body: bytes
    max_parts: int
    parts: list[Part] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    header: tuple[bytes, bytes] = (b"", b"")
    header_bytes: int = 0

    def begin(self) -> None:
        if len(self.parts) >= self.max_parts:
            raise Problem(413, "too_many_parts", f"more than {self.max_parts} parts in one request")
        self.headers, self.pieces, self.header, self.header_bytes = {}, [], (b"", b""), 0

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self.header = (self.header[0] + self.count(data[start:end]), self.header[1])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.header = (self.header[0], self.header[1] + self.count(data[start:end]))

    def count(self, piece: bytes) -> bytes:
        self.header_bytes += len(piece)
        if self.header_bytes > MAX_PART_HEADERS:
            raise Problem(431, "part_headers", "the headers of a part are too long")
        return piece

    def header_end(self) -> None:
        name, value = self.header
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")
        self.header = (b"", b"")

    def data(self, data: bytes, start: int, end: int) -> None:
        self.pieces.append(data[start:end])

    def end(self) -> None:
        from python_multipart.multipart import parse_options_header

        # Bytes above 127 come back as they were: browsers write names in UTF-8.
        kind, options = parse_options_header(self.headers.get("content-disposition", ""))
        if kind != b"form-data" or b"name" not in options:
            raise malformed("a part has no Content-Disposition: form-data with a name")
        name, file = (options.get(key, b"").decode("utf-8", "replace") for key in (b"name", b"filename"))
        self.parts.append(Part(printable(name), clean(file), b"".join(self.pieces)))


def clean(text: str) -> str:
    """A name that is only ever shown: without folders and control characters."""
    return printable(text.replace("\\", "/").rsplit("/", 1)[-1])


def printable(text: str) -> str:
    return "".join(char for char in text if char.isprintable())[:MAX_NAME]


def malformed(reason: str) -> Problem:
    return Problem(400, "multipart", f"the multipart body is damaged: {reason}")


def parse_multipart(body: bytes, content_type: str, max_parts: int) -> list[Part]:
    """The parts of a ``multipart/form-data`` body. Raises :class:`Problem`."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not 1 <= len(boundary) <= 200:
        raise malformed("it names no boundary")
    found = Collector(body, max_parts)
    finished: list[bool] = []
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": found.begin,
            "on_part_data": found.data,
            "on_part_end": found.end,
            "on_header_field": found.header_field,
            "on_header_value": found.header_value,
            "on_header_end": found.header_end,
            "on_end": lambda: finished.append(True),
        },
    )
    try:
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as error:
        raise malformed(" ".join(str(error).split())[:200]) from None
    if not finished:
        raise malformed("the closing boundary is missing")
    return found.parts
