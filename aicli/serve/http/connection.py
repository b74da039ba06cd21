"""HTTP/1.1 on one connection: httptools parses, the application answers through ASGI.

Nothing that a client sends, or does not send, may take more than a small share of the event loop or of memory:

- one turn of the loop brings at most ``READ_BYTES`` of one connection, and a body is read only while the application
  asks for it, so that a request can be refused before its body costs anything;
- headers have a size and a time, bodies a smallest size of their chunks (the application has their time), answers a
  time in which they must be taken; ``Server.sweep`` looks at the clocks.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from aicli.serve.http.problems import Problem
from aicli.serve.http.turn import Turn, status_line

if TYPE_CHECKING:
    from aicli.serve.http.server import Server

__all__ = ["READ_BYTES", "Connection"]

READ_BYTES = 64 << 10
HIGH_WATER = 128 << 10
"""Bytes of a body that wait for the application before no more are read."""
MAX_HEADER_BYTES = 32 << 10
SLICE = 256 << 10
STALL = 10.0
"""Seconds in which a client must take ``SLICE`` bytes of an answer."""
LINGER = 2.0
"""Seconds in which the rest of a request is thrown away after an early answer: closing at once would reset the
connection, and the client would never see the answer."""


class Connection(asyncio.BufferedProtocol):
    """A client's connection. ``deadline`` is when it will be told or cut off, if nothing happens before."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.parser = HttpRequestParser(self)
        self.turns: deque[Turn] = deque()
        self.deadline = math.inf
        self.since = 0.0
        self.served = 0
        self._new = Turn(self)
        self._in_head = self._again = self._lingering = self._deaf = self._paused = False
        self._head_bytes = 0
        self._refusal: Problem | None = None
        self._writable = asyncio.Event()
        self._writable.set()

    # The transport's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=0)  # writable means: everything has left
        if not self.server.admit(self):
            return self.refuse(Problem(503, "busy", "too many connections; try again", retry_after=1))
        self._await_head(self.server.header_time)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.server.buffer

    def buffer_updated(self, count: int) -> None:
        if self._deaf:
            return
        if not self.turns and not self._in_head:
            self._await_head(self.server.header_time)
        heads = self.served
        self._parse(self.server.buffer[:count])
        self._head_bytes = self._head_bytes + count if self._in_head and heads == self.served else 0
        if self._head_bytes > MAX_HEADER_BYTES:
            self.wrong(too_long())
        if self._refusal is not None:
            self._deaf = True
            self._give_up(self._refusal)
        else:
            self.adjust()

    def _parse(self, data: bytes | memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._ignore_upgrade(memoryview(data)[upgrade.args[0] :])
        except HttpParserCallbackError as error:
            if self._refusal is None:
                raise error.__context__ or error from None
        except HttpParserError as error:
            self.wrong(Problem(400, "http", f"this is not well-formed HTTP/1.1 ({error})"))

    def _ignore_upgrade(self, rest: memoryview) -> None:
        """Goes on after a request that offers another protocol, as Java's HttpClient and curl --http2 do with each.

        The parser takes no body after such an offer, so that a new one begins with what says how long the body is.
        """
        turn = self.turns[-1]
        framing = [pair for pair in turn.headers if pair[0] in (b"content-length", b"transfer-encoding")]
        if turn.method == "CONNECT":
            turn.keep_alive, self._deaf = False, True
            return
        self.parser = HttpRequestParser(self)
        if framing:
            self._again, turn.complete = True, False
            self._parse(b"POST / HTTP/1.1\r\n" + b"".join(b"%b: %b\r\n" % pair for pair in framing) + b"\r\n")
        if rest and self._refusal is None:
            self._parse(rest)

    def eof_received(self) -> None:
        return None  # the transport closes itself

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        self.deadline = math.inf
        for turn in self.turns:
            turn.lose(turn.problem)
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # The parser's side.

    def on_message_begin(self) -> None:
        if not self._again:
            self._new, self._in_head = Turn(self), True

    def on_url(self, url: bytes) -> None:
        if self._again:
            return
        self._new.target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        if self._again:
            return
        self._count(len(name) + len(value or b"") + 4)
        if self._in_head:  # else it is a trailer, which nobody wants
            self._new.headers.append((name.lower(), value or b""))

    def _count(self, size: int) -> None:
        self._new.header_bytes += size
        if self._new.header_bytes > MAX_HEADER_BYTES:
            raise self.wrong(too_long())

    def on_headers_complete(self) -> None:
        if self._again:
            self._again = False
            return
        turn = self._new
        self._in_head = False
        self.served += 1
        turn.method = self.parser.get_method().decode("latin-1")
        turn.old = self.parser.get_http_version() == "1.0"
        turn.keep_alive = self.parser.should_keep_alive()
        turn.expects_continue = any(n == b"expect" and v.lower() == b"100-continue" for n, v in turn.headers)
        self.turns.append(turn)
        if len(self.turns) == 1:
            self._begin(turn)

    def on_body(self, body: bytes) -> None:
        self._new.body(body)

    def on_message_complete(self) -> None:
        self._new.end()

    def wrong(self, problem: Problem) -> Exception:
        """Notes why the client's bytes are refused; what a callback raises to stop the parser."""
        self._refusal = self._refusal or problem
        return ValueError(problem.code)

    # The turns.

    def _await_head(self, seconds: float) -> None:
        self.since = self.server.now()
        self.deadline = self.since + seconds

    def _begin(self, turn: Turn) -> None:
        self.deadline = math.inf
        task = self.server.loop.create_task(self._answer(turn))
        self.server.tasks.add(task)
        task.add_done_callback(self.server.tasks.discard)

    async def _answer(self, turn: Turn) -> None:
        try:
            await self.server.app(turn.scope(), turn.receive, turn.send)
        finally:
            self.deadline = math.inf
            self._next(turn)

    def _next(self, turn: Turn) -> None:
        """What follows a turn: the next one, a wait, or the end."""
        self.turns.popleft()
        if self.transport.is_closing():
            return
        if not turn.answered:  # only a fault of ours ends a turn without an answer
            self.transport.abort()
        elif not turn.keep_alive or self.server.draining:
            # Who waits for '100 Continue' has sent nothing that could be lost.
            self.hang_up(linger=not turn.complete and not (turn.expects_continue and not turn.received))
        elif self.turns:
            self._begin(self.turns[0])
        elif self._refusal is not None:
            self.refuse(self._refusal)
        elif self._deaf:
            self.hang_up(linger=True)
        else:
            self._await_head(self.server.header_time if self._in_head else self.server.keep_alive)
            self.adjust()

    def _give_up(self, problem: Problem) -> None:
        """No more can be made of what the client sends."""
        if not self.turns:
            self.refuse(problem)
        elif not self.turns[-1].complete:
            self.turns[-1].keep_alive = False
            self.turns[-1].lose(problem)

    def adjust(self) -> None:
        """Reads on, or not: no body before the application wants it, nothing beyond the next request."""
        if self._lingering or not self.turns:
            wanted = True
        else:
            turn = self.turns[0]
            ready = turn.complete or (turn.accepting and turn.buffered < HIGH_WATER)
            wanted = len(self.turns) == 1 and ready
        if wanted != self._paused:
            return
        self._paused = not wanted
        if not self.transport.is_closing():
            change: Callable[[], None] = self.transport.resume_reading if wanted else self.transport.pause_reading
            change()

    # Writing.

    def write_now(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    async def write(self, head: bytes, body: bytes) -> None:
        """Writes and waits until the kernel has it all, at most ``send_time`` seconds in all."""
        until = self.server.now() + self.server.send_time
        view = memoryview(body)
        for place in range(0, max(1, len(body)), SLICE):
            if self.transport.is_closing():
                return
            piece = view[place : place + SLICE]
            self.transport.write(head + piece if place == 0 else piece)
            if not self._writable.is_set():
                self.deadline = min(until, self.server.now() + STALL)
                await self._writable.wait()
                self.deadline = math.inf

    def refuse(self, problem: Problem) -> None:
        """Answers what never became a request, and closes."""
        self.server.count_refusal(problem)
        body = problem.body()
        lines = [status_line(problem.status), self.server.date_line()]
        lines += [f"{name}: {value}\r\n".encode() for name, value in problem.headers().items()]
        lines.append(b"content-length: %d\r\nconnection: close\r\n\r\n" % len(body))
        self.write_now(b"".join(lines) + body)
        self.hang_up(linger=True)

    def hang_up(self, *, linger: bool) -> None:
        if not linger:
            self.transport.close()
            return
        self._lingering = self._deaf = True
        self.deadline = self.server.now() + LINGER
        if not self.transport.is_closing():
            self.transport.write_eof()
            self.adjust()

    def expire(self) -> None:
        """Called when the deadline has passed."""
        self.deadline = math.inf
        if self._lingering or self.turns:  # the rest never ended, or the answer is not taken
            self.transport.abort()
        elif self.served and not self._in_head:  # a kept connection that nobody uses
            self.transport.close()
        else:
            self.refuse(Problem(408, "slow_headers", "the request's headers did not arrive in time"))

    def address(self, end: str) -> tuple[str, int] | None:
        """Host and port of an end of the connection; ``None`` where it has none (a socket without a network)."""
        found = self.transport.get_extra_info(end)
        return (found[0], found[1]) if isinstance(found, tuple) else None

    @property
    def waits(self) -> bool:
        """Whether no request is being read or answered, so that the connection may be closed for another's sake."""
        return not self.turns and not self._lingering


def too_long() -> Problem:
    return Problem(431, "headers", f"the headers are longer than {MAX_HEADER_BYTES} bytes")
