"""Requests to the service's front process: its own server and routes, with workers that are only pretended.

A case is a connection with a few requests, some of them damaged, sent in random pieces. Whatever comes, every answer is
well-formed and no fault of the service, and afterwards nothing is held: no connection, no task, no place, no memory.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

from aicli.serve.http.app import make_app
from aicli.serve.http.connection import Connection
from aicli.serve.http.server import Server
from aicli.serve.settings import Settings
from tests.fuzz.driver import Outcome

__all__ = ["TOKEN", "HttpRequests", "Sensible", "frame"]

TOKEN = "a-token-for-the-fuzzer"
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "GET", "POST", "POST")
PATHS = (
    *(
        "/",
        "/docs",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/static/app.js",
        "/v1/models",
        "/v1/functions",
    ),
    *("/v1/classify", "/v1/faces", "/v1/classify", "/v1/faces", "/v1/models/mine", "/v1/functions/0123/run", "*", "//"),
    *("/v1/models/..%2f..%2fx", "/%00", "/v1/\xc3\xa9", "http://localhost/healthz", "/nothing"),
)
QUERIES = (
    "top=3",
    "min_score=0.5",
    "model=mtcnn",
    "thresholds=0.6,0.7,0.7",
    "x=1",
    "top=-1",
    "model=%2e%2e",
    "top=1&top=2",
)
HEADERS = (
    *("Accept: image/png", "Accept: text/html", "Accept: */*;q=0.1", "Origin: http://localhost", "Origin: null"),
    *(
        "Sec-Fetch-Site: cross-site",
        "Sec-Fetch-Site: same-origin",
        f"Authorization: Bearer {TOKEN}",
        "Authorization: Bearer",
    ),
    *("X-Request-ID: a.b", "X-Request-ID: \xff", "Connection: close", "Connection: Upgrade", "Upgrade: h2c"),
    *(
        "Content-Type: multipart/form-data; boundary=b",
        "Content-Type: text/plain",
        "X-Filename: ../../x",
        "Expect: 100-continue",
    ),
    *("Cookie: " + "c" * 5000, "Content-Length: 7", "Transfer-Encoding: gzip", "X: " + "y" * 40_000),
)
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\nphoto\r\n'
    b'--b\r\nContent-Disposition: form-data; name="labels"\r\n\r\none\ntwo\r\n--b--\r\n'
)
BODIES = (
    b"",
    b"photo",
    b"\0asm\1\0\0\0",
    b"data:image/png;base64,AAAA",
    b'{"image": 1}',
    FORM,
    FORM[:-9],
    b"z" * 70_000,
)


Sensible = tuple[tuple[str, tuple[str, ...], tuple[str, ...], tuple[bytes, ...]], ...]
"""Methods, each with paths, headers and bodies that go together."""
SENSIBLE: Sensible = (
    ("GET", ("/", "/docs", "/healthz", "/metrics", "/openapi.json", "/v1/models"), ("Accept: */*", "X: y"), (b"",)),
    ("HEAD", ("/", "/healthz", "/v1/models"), ("Accept: */*",), (b"",)),
    ("OPTIONS", ("/", "/v1/faces", "/v1/models/x"), ("Origin: http://localhost",), (b"",)),
    (
        "POST",
        ("/v1/classify?top=3", "/v1/faces", "/v1/faces?min_size=40"),
        ("X-Filename: a",),
        (b"photo", b"z" * 70_000),
    ),
    ("POST", ("/v1/classify", "/v1/faces"), ("Content-Type: multipart/form-data; boundary=b",), (FORM,)),
    ("POST", ("/v1/faces?scores=true",), ("Accept: image/png",), (b"photo",)),
    ("POST", ("/v1/functions",), (f"Authorization: Bearer {TOKEN}",), (b"\0asm\1\0\0\0", b"\0asm" + b"w" * 9000)),
    ("PUT", ("/v1/models/mine", "/v1/models/yours"), (f"Authorization: Bearer {TOKEN}",), (b"model", b"other")),
    ("GET", ("/v1/functions",), (f"Authorization: Bearer {TOKEN}",), (b"",)),
)


class HttpRequests:
    """What strangers reach of the service; case ``n`` is always the same."""

    name = "http"
    sensible = SENSIBLE
    allowed: Mapping[str, Any] = MappingProxyType({"functions": True})

    def prepare(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="http-fuzz-")
        self.faults = Faults()
        logging.getLogger().addHandler(self.faults)
        folder = Path(self.folder.name)
        settings = Settings(folder, token=TOKEN, workers=1, queue=3, max_body=100_000, **self.allowed)
        self.app = make_app(settings)
        self.app.service.store.prepare()
        self.app.service.run = pretend  # type: ignore[method-assign, assignment]
        self.loop = asyncio.new_event_loop()
        self.server = Server(self.app, settings)
        self.server._loop = self.loop

    def run(self, random: Random) -> Outcome:
        """The statuses and error codes of the answers; those below 400 got past the checks."""
        stream = self.opening(random) + b"".join(
            make_request(random, self.sensible) for _ in range(random.randint(1, 12))
        )
        if random.random() < 0.25:
            stream = damage(random, stream)
        return self.try_bytes("", stream, random)

    def opening(self, random: Random) -> bytes:
        """What comes before the requests of every case."""
        return b""

    def try_bytes(self, name: str, data: bytes, random: Random) -> Outcome:
        outcome = Outcome()
        for status, code in self.loop.run_until_complete(asyncio.wait_for(self.talk(data, random), 20)):
            outcome.note("request", status, status < 400, code)
        found, self.faults.found = self.faults.found, []
        assert not found, found
        return outcome

    async def talk(self, stream: bytes, random: Random) -> list[tuple[int, str]]:
        ours, theirs = socket.socketpair()
        connection = Connection(self.server)
        await self.loop.connect_accepted_socket(lambda: connection, theirs)
        reader, writer = await asyncio.open_connection(sock=ours)
        receiving = asyncio.ensure_future(receive(reader))
        await send(random, writer, stream)
        quiet, last = 0, None
        while quiet < 8:  # turns of the loop in which nothing happened, but for a request that waits for more
            works = bool(self.server.tasks) and any(turn.complete for turn in connection.turns)
            await asyncio.sleep(0.0005 if works else 0)
            now = (connection.served, len(connection.turns), len(self.server.tasks))
            quiet, last = (0 if works or now != last else quiet + 1), now
        writer.close()
        received = await receiving
        while self.server.connections or self.server.tasks:
            await asyncio.sleep(0)
        await self.settle()
        service = self.app.service
        assert service.budget.used == 0, service.budget.used
        assert service.tasks_admission.taken == service.quarantine_admission.taken == 0
        return read_answers(received, stream)

    async def settle(self) -> None:
        """Waits for what goes on without a connection."""


class Faults(logging.Handler):
    """What the service logs as a fault of its own."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(record.getMessage())


async def pretend(
    request: Any, pool: Any, job: dict[str, Any], blobs: list[bytes], key: str = "", once: bool = False
) -> Any:
    """What a worker would say, after a turn of the loop."""
    await asyncio.sleep(0)
    if job["kind"] == "check_function":
        return {"tasks": ["command"], "functions": [], "code_key": "pretended"}, [b"code"]
    if job["kind"].startswith("check"):
        return {"classes": 2, "input": {"width": 1, "height": 1}, "notes": [], "tasks": ["command"]}, []
    if job["kind"] == "run_function":
        return {"results": [], "code_key": "pretended", "type": "text/plain"}, [b"output", b""]
    if "pictures" in job:
        return {"type": "image/png", "faces": 1}, [b"p" * 300_000]
    return {"results": [{"image": name, "model": "pretended"} for name in job.get("names", ())]}, [b"output"]


def make_request(random: Random, sensible: Sensible) -> bytes:
    if random.random() < 0.8:
        method, paths, headers, bodies = random.choice(sensible)
        return frame(random, method, random.choice(paths), "1", [random.choice(headers)], random.choice(bodies))
    method, path = random.choice(METHODS), random.choice(PATHS)
    query = "?" + "&".join(random.choices(QUERIES, k=random.randint(1, 2))) if random.random() < 0.4 else ""
    several = random.choices(HEADERS, k=random.choice((0, 1, 1, 2, 4)))
    body = random.choice(BODIES) if method in ("POST", "PUT", "PATCH") or random.random() < 0.05 else b""
    return frame(random, method, path + query, random.choice("1110"), several, body)


def frame(random: Random, method: str, target: str, minor: str, headers: list[str], body: bytes) -> bytes:
    """The request, its body in one piece or in chunks."""
    lines = [f"{method} {target} HTTP/1.{minor}", "Host: localhost", *headers]
    if body and random.random() < 0.4:
        lines.append("Transfer-Encoding: chunked")
        size = random.choice((1, 7, 1000, 70_000)) if len(body) < 1000 else random.choice((500, 70_000))
        pieces = [body[start : start + size] for start in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    elif body or random.random() < 0.3:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def damage(random: Random, stream: bytes) -> bytes:
    changed = bytearray(stream)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(changed)) if random.random() < 0.5 else random.randrange(min(200, len(changed)))
        kind = random.randrange(3)
        if kind == 0:
            changed[place] = random.randrange(256)
        elif kind == 1:
            del changed[place : place + random.randint(1, 20)]
        else:
            changed[place:place] = random.choice((b"\r\n", b"\0", b"\r\n\r\n", b": ", bytes([random.randrange(256)])))
        if not changed:
            break
    return bytes(changed)


async def receive(reader: asyncio.StreamReader) -> bytes:
    received = b""
    try:
        while piece := await reader.read(1 << 20):
            received += piece
    except OSError:  # it was closed with something unread
        pass
    return received


async def send(random: Random, writer: asyncio.StreamWriter, stream: bytes) -> None:
    edges = sorted(random.randrange(len(stream) + 1) for _ in range(random.choice((0, 0, 1, 5, 30))))
    try:
        for start, end in zip([0, *edges], [*edges, len(stream)], strict=True):
            writer.write(stream[start:end])
            await writer.drain()
            await asyncio.sleep(0)
    except OSError:  # the service has closed the connection
        return


def read_answers(received: bytes, stream: bytes) -> list[tuple[int, str]]:
    """Takes the answers apart. A connection that the client closes early may have its last answer cut off."""
    answers: list[tuple[int, str]] = []
    while received:
        head, found, rest = received.partition(b"\r\n\r\n")
        if not found:
            break
        version, status, *_ = head.split(b" ", 2)
        assert version == b"HTTP/1.1" and status.isdigit(), head
        if status == b"100":
            received = rest
            continue
        assert int(status) < 500 or int(status) == 503, head
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(headers.get(b"content-length", b"0"))
        if b"HEAD " in stream and not rest.startswith((b"{", b"<", b"/", b"o", b"r", b"#", b"p", b".", b"*", b"(")):
            length = 0 if rest.startswith(b"HTTP/1.1 ") or not rest else length
        received = rest[length:]
        code = rest[:length].partition(b'"code": "')[2].partition(b'"')[0].decode("latin-1")
        answers.append((int(status), code))
    return answers
