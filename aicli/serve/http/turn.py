"""One request and its answer, between a connection and the ASGI application."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from aicli.serve.http.problems import Problem

if TYPE_CHECKING:
    from aicli.serve.http.connection import Connection

__all__ = ["Turn", "status_line"]

FREE_CHUNKS = 1024
LEAST_CHUNK = 64
"""After the first ``FREE_CHUNKS`` chunks of a body, they must have this many bytes on average."""
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
        self.old = False  # HTTP/1.0, whose connections end unless both sides say otherwise
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
        if self.old or not self.keep_alive:
            lines.append(b"connection: %b\r\n" % (b"keep-alive" if self.keep_alive else b"close"))
        lines.append(b"\r\n")
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
            "server": connection.address("sockname"),
            "client": connection.address("peername"),
            "scheme": "http",
            "root_path": "",
            "method": self.method,
            "path": unquote(path.decode("latin-1")),
            "raw_path": path,
            "query_string": query,
            "headers": self.headers,
        }


def status_line(status: int) -> bytes:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return f"HTTP/1.1 {status} {phrase}\r\n".encode()
