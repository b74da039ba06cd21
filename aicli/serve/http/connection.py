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
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from aicli.serve.http.problems import Problem

if TYPE_CHECKING:
    from aicli.serve.http.server import Server

__all__ = ["READ_BYTES", "Connection"]

READ_BYTES = 64 << 10
HIGH_WATER = 128 << 10
"""Bytes of a body that wait for the application before no more are read."""
MAX_HEADER_BYTES = 32 << 10
FREE_CHUNKS = 1024
LEAST_CHUNK = 64
"""After the first ``FREE_CHUNKS`` chunks of a body, they must have this many bytes on average."""
SLICE = 256 << 10
STALL = 10.0
"""Seconds in which a client must take ``SLICE`` bytes of an answer."""
LINGER = 2.0
"""Seconds in which the rest of a request is thrown away after an early answer: closing at once would reset the
connection, and the client would never see the answer."""
NO_BODY = (204, 304)


class Turn:
    """One request and its answer: what the application sees as ``receive`` and ``send``."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.header_bytes = 0
        self.method = ""
        self.keep_alive = True
        self.expects_continue = False
        self.accepting = False
        self.complete = False
        self.gone = False
        self.problem: Problem | None = None
        self.buffered = self.received = self.chunks = 0
        self._pieces: list[bytes] = []
        self._given = False
        self._event = asyncio.Event()
        self._start: dict[str, Any] | None = None
        self._started = self.answered = False

    # What the parser brings.

    def body(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.buffered += len(piece)
        self.received += len(piece)
        self.chunks += 1
        if self.chunks > FREE_CHUNKS + self.received // LEAST_CHUNK:
            raise self.connection.wrong(Problem(400, "chunks", "the body's chunks are too small; send larger ones"))
        self._event.set()

    def end(self) -> None:
        self.complete = True
        self._event.set()

    def lose(self, problem: Problem | None = None) -> None:
        """The rest of the request will not come."""
        self.gone, self.problem = True, problem
        self._event.set()

    # What the application calls.

    async def receive(self) -> dict[str, Any]:
        """The next part of the body, as much as has arrived; after the last one, waits for the client to go away."""
        self.accepting = True
        while not self.gone and not self._pieces and (self._given or not self.complete):
            self.connection.adjust()
            if self.expects_continue and not self.complete and not self._started:
                self.connection.write_now(b"HTTP/1.1 100 Continue\r\n\r\n")
                self.expects_continue = False
            self._event.clear()
            await self._event.wait()
        if self.gone:
            return {"type": "http.disconnect", "problem": self.problem}
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self.buffered = [], 0
        self._given = self.complete
        return {"type": "http.request", "body": body, "more_body": not self.complete}

    async def send(self, message: Any) -> None:
        """Takes the answer, and returns when its bytes have left this process or the client is gone."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        if message["type"] != "http.response.body" or self.answered:
            return
        body = message.get("body", b"")
        head = b""
        if not self._started and self._start is not None:
            self._started = True
            head = self._head(self._start)
        if self.method == "HEAD" or (self._start is not None and self._start["status"] in NO_BODY):
            body = b""
        await self.connection.write(head, body)
        self.answered = not message.get("more_body", False)

    def _head(self, start: dict[str, Any]) -> bytes:
        names = {name for name, _ in start["headers"]}
        bare = self.method == "HEAD" or start["status"] in NO_BODY
        # An answer before the end of the request closes the connection, as does one of unknown length.
        if not self.complete or self.connection.server.draining or not (bare or b"content-length" in names):
            self.keep_alive = False
        lines = [status_line(start["status"]), self.connection.server.date_line()]
        lines += [b"%b: %b\r\n" % pair for pair in start["headers"]]
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        return b"".join(lines)

    def scope(self) -> dict[str, Any]:
        target = self.target.partition(b"#")[0]
        if not target.startswith(b"/") and b"://" in target:  # the absolute form, which proxies get
            target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
        path, _, query = target.partition(b"?")
        connection = self.connection
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": connection.transport.get_extra_info("sockname")[:2],
            "client": connection.transport.get_extra_info("peername")[:2],
            "scheme": "http",
            "root_path": "",
            "method": self.method,
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
        }


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
        self._in_head = self._lingering = self._deaf = self._paused = False
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
        try:
            self.parser.feed_data(self.server.buffer[:count])
        except HttpParserUpgrade:  # of no use here: the request is answered as it stands
            self._deaf = True
            if self.turns:
                self.turns[-1].keep_alive = False
        except HttpParserCallbackError as error:
            if self._refusal is None:
                raise error.__context__ or error from None
        except HttpParserError:
            self.wrong(Problem(400, "http", "this is not HTTP/1.1"))
        self._head_bytes = self._head_bytes + count if self._in_head and heads == self.served else 0
        if self._head_bytes > MAX_HEADER_BYTES:
            self.wrong(too_long())
        if self._refusal is not None:
            self._deaf = True
            self._give_up(self._refusal)
        elif self.turns or not self._deaf:
            self.adjust()
        else:  # an upgrade that came before its request
            self.hang_up(linger=True)

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
        self._new, self._in_head = Turn(self), True

    def on_url(self, url: bytes) -> None:
        self._new.target += url
        self._count(len(url))

    def on_header(self, name: bytes, value: bytes | None) -> None:
        self._count(len(name) + len(value or b"") + 4)
        if self._in_head:  # else it is a trailer, which nobody wants
            self._new.headers.append((name.lower(), value or b""))

    def _count(self, size: int) -> None:
        self._new.header_bytes += size
        if self._new.header_bytes > MAX_HEADER_BYTES:
            raise self.wrong(too_long())

    def on_headers_complete(self) -> None:
        turn = self._new
        self._in_head = False
        self.served += 1
        turn.method = self.parser.get_method().decode("latin-1")
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

    @property
    def waits(self) -> bool:
        """Whether no request is being read or answered, so that the connection may be closed for another's sake."""
        return not self.turns and not self._lingering


def too_long() -> Problem:
    return Problem(431, "headers", f"the headers are longer than {MAX_HEADER_BYTES} bytes")


def status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()
