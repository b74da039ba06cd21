"""HTTP/1.1 by the byte: a server in this process, an application that says what it saw, requests in all shapes."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import socket
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("httptools")
pytest.importorskip("starlette")

from aicli.cli.console import told
from aicli.errors import AicliError
from aicli.serve.http import connection, turn
from aicli.serve.http.server import Server
from aicli.serve.settings import Settings

Talk = Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


class Metrics:
    def add(self, *_: Any) -> None:
        pass


class Service:
    metrics = Metrics()


class Echo:
    """Answers with the method, the path, the query and the body; /early before the body, /big with much."""

    service = Service()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while scope["path"] != "/early":
            message = await receive()
            if message["type"] == "http.disconnect":
                break
            body += message["body"]
            if not message["more_body"]:
                break
        seen = [scope["method"], scope["path"], scope["query_string"].decode(), body.decode("latin-1")]
        answer = b"x" * 30_000_000 if scope["path"] == "/big" else json.dumps(seen).encode()
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


def talk(what: Talk, **settings: Any) -> Any:
    async def run() -> Any:
        server = Server(Echo(), Settings(Path("unused"), **settings))  # type: ignore[arg-type]
        server._loop = asyncio.get_running_loop()
        listener = await server.loop.create_server(lambda: connection.Connection(server), "127.0.0.1", 0)
        sweeper = asyncio.ensure_future(server.sweep())
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.sockets[0].getsockname()[1])
        try:
            return await asyncio.wait_for(what(server, reader, writer), 30)
        finally:
            writer.close()
            sweeper.cancel()
            listener.close()
            for here in list(server.connections):
                here.transport.abort()
            for task in list(server.tasks):
                task.cancel()
            await asyncio.sleep(0.05)  # the loop closes what was aborted

    return asyncio.run(run())


async def answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    return int(first.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


REQUESTS = {
    b"GET /a?b=c HTTP/1.1\r\nHost: x\r\n\r\n": ["GET", "/a", "b=c", ""],
    b"GET http://x/a%20b HTTP/1.1\r\nHost: x\r\n\r\n": ["GET", "/a b", "", ""],
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello": ["POST", "/", "", "hello"],
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n": [
        "POST",
        "/",
        "",
        "abcde",
    ],
    b"PUT /%C3%A9 HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"z" * 200_000: ["PUT", "/é", "", "z" * 200_000],
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n": ["OPTIONS", "*", "", ""],
}


@pytest.mark.parametrize("seed", range(8))
def test_requests_in_any_pieces_one_after_the_other(seed: int) -> None:
    chosen = random.Random(seed)
    requests = [chosen.choice(list(REQUESTS)) for _ in range(12)]
    stream = b"".join(requests)
    edges = sorted({0, len(stream), *(chosen.randrange(len(stream)) for _ in range(chosen.choice((0, 5, 60))))})

    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        async def send() -> None:
            for start, end in pairwise(edges):
                writer.write(stream[start:end])
                await writer.drain()
                await asyncio.sleep(chosen.choice((0, 0, 0.001)))

        sending = asyncio.ensure_future(send())
        found = [await answer(reader) for _ in requests]
        await sending
        return found

    found = talk(what)
    assert [json.loads(body) for _, _, body in found] == [REQUESTS[request] for request in requests]
    assert all(status == 200 and "connection" not in headers for status, headers, _ in found)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400),  # TLS
        (b"GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 9000, 431),
        (b"GET / HTTP/1.1\r\nX: " + b"a" * 30_000 + b"\r\n\r\n", 200),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n", 200),  # the application saw it cut off
        (b"POST /early HTTP/1.1\r\nContent-Length: 99\r\n\r\n", 200),
    ],
)
def test_wrong_bytes_are_refused_and_the_connection_closed(request_bytes: bytes, status: int) -> None:
    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(request_bytes)
        found = await answer(reader)
        if found[1].get("connection") == "close":
            assert await reader.read() == b""
        return found

    found = talk(what)
    assert found[0] == status
    assert (found[1].get("connection") == "close") == (
        b"a" * 30_000 + b"\r\n\r\n" not in request_bytes or status != 200
    )


def test_an_upgrade_is_answered_as_it_stands() -> None:
    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        offer = b" HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAM\r\n"
        writer.write(b"POST /a" + offer + b"Content-Length: 200000\r\n\r\n" + b"h" * 200_000)
        writer.write(b"POST /b" + offer + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n")
        writer.write(b"GET /c" + offer + b"\r\nGET /d HTTP/1.1\r\n\r\n")
        return [json.loads((await answer(reader))[2]) for _ in range(4)]

    bodies = {"/a": "h" * 200_000, "/b": "hi", "/c": "", "/d": ""}
    assert {path: body for _, path, _, body in talk(what)} == bodies


def test_continue_is_said_when_the_body_is_wanted() -> None:
    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert json.loads((await answer(reader))[2])[3] == "hi"
        writer.write(b"POST /early HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        return await answer(reader)

    assert talk(what)[0] == 200


def test_old_clients_get_the_answer_and_the_end() -> None:
    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        return await reader.read()

    assert talk(what).startswith(b"HTTP/1.1 200 OK\r\n")


def test_old_clients_that_ask_keep_their_connection_and_are_told() -> None:
    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        found = []
        for _ in range(2):
            writer.write(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            found.append(await answer(reader))
        return found

    assert [headers["connection"] for _, headers, _ in talk(what)] == ["keep-alive", "keep-alive"]


def test_what_is_wrong_with_a_request_is_said() -> None:
    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n")
        return await answer(reader)

    status, _, body = talk(what)
    assert status == 400 and "Content-Length" in json.loads(body)["error"]["message"]


def test_a_body_of_small_chunks_stops_at_the_limit() -> None:
    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 500_000)
        return await answer(reader)

    status, headers, body = talk(what)
    seen = len(json.loads(body)[3])
    assert status == 200 and headers["connection"] == "close"
    assert seen <= turn.FREE_CHUNKS + connection.READ_BYTES // 6


def test_many_chunks_of_a_fair_size_are_fine() -> None:
    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(
            b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"80\r\n" + b"a" * 128 + b"\r\n") * 5000
        )
        writer.write(b"0\r\n\r\n")
        return await answer(reader)

    assert len(json.loads(talk(what)[2])[3]) == 128 * 5000


def test_a_body_is_not_read_before_it_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An early answer comes while the client still sends; little of the body was taken until then."""
    taken = 0
    updated = connection.Connection.buffer_updated

    def count(self: connection.Connection, size: int) -> None:
        nonlocal taken
        taken += 0 if self._deaf else size
        updated(self, size)

    monkeypatch.setattr(connection.Connection, "buffer_updated", count)

    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(b"POST /early HTTP/1.1\r\nContent-Length: 20000000\r\n\r\n" + b"z" * 20_000_000)
        return await answer(reader)

    assert talk(what)[0] == 200
    assert taken <= connection.READ_BYTES


def test_an_answer_that_is_not_taken_is_cut_off() -> None:
    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        writer.write(b"GET /big HTTP/1.1\r\n\r\n")
        begun = server.now()
        await asyncio.sleep(0.3)
        assert len(server.tasks) == 1  # the turn goes on until the last byte is sent, and with it what it holds
        (here,) = server.connections
        assert here.transport.get_write_buffer_size() <= connection.SLICE
        while server.connections:
            await asyncio.sleep(0.05)
        assert not server.tasks
        return server.now() - begun

    assert 0.9 < talk(what, send_time=1.0) < 3


def test_idle_connections_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aicli.serve.http.server.MAX_CONNECTIONS", 5)

    async def what(server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
        port = writer.get_extra_info("peername")[1]
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n")  # a request on its way is no idle connection
        others = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        first, to_first = await asyncio.open_connection("127.0.0.1", port)
        assert (await answer(first))[0] == 503
        await asyncio.sleep(1.1)
        late, to_late = await asyncio.open_connection("127.0.0.1", port)
        to_late.write(b"GET / HTTP/1.1\r\n\r\n")
        assert (await answer(late))[0] == 200
        writer.write(b"123456789")
        assert (await answer(reader))[0] == 200
        for other in (to_first, to_late, *(other for _, other in others)):
            other.close()

    talk(what)


def test_where_it_cannot_listen_the_option_that_helps_is_named() -> None:
    async def listen(host: str, port: int) -> str:
        server = Server(Echo(), Settings(Path("unused"), host=host, port=port))  # type: ignore[arg-type]
        server._loop = asyncio.get_running_loop()
        with pytest.raises(AicliError) as refused:
            await server._listen()
        return told(refused.value)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = asyncio.run(listen("127.0.0.1", port))
    assert message == f"cannot serve on 127.0.0.1:{port}: {os.strerror(errno.EADDRINUSE)}; --port takes another"
    for host in ("192.0.2.1", "no-such-host.invalid"):
        assert asyncio.run(listen(host, 0)).endswith("; --host takes an address of this machine")
