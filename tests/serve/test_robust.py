"""What happens when workers die, clients are slow or go away, and more comes than can be done."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.serve.conftest import PROJECT, Reply, Server, running, wait_for

pytestmark = pytest.mark.slow


def slow_photo() -> bytes:
    """A photo whose faces take a second or so to look for."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.open(PROJECT / "examples" / "astronaut.png").convert("RGB").resize((2400, 2400)).save(out, "JPEG")
    return out.getvalue()


def test_killed_workers_cost_their_own_requests_only(server: Server, photo: bytes) -> None:
    done = threading.Event()
    kills = 0

    def ask(_: int) -> Reply:
        return server.ask("POST", "/v1/faces", photo)

    def kill() -> None:
        nonlocal kills
        while kills < 5 and not done.wait(1.5):
            for pid in server.workers()[:1]:
                os.kill(pid, signal.SIGKILL)
                kills += 1

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with ThreadPoolExecutor(6) as clients:
            replies = list(clients.map(ask, range(100)))
    finally:
        done.set()
        killer.join()
    lost = [reply for reply in replies if reply.status != 200]
    assert kills >= 1
    assert len(lost) <= kills
    assert all((reply.status, reply.code) == (500, "worker_died") for reply in lost)
    assert len({reply.body for reply in replies if reply.status == 200}) == 1
    until = time.monotonic() + 20
    while server.metric('aicli_workers{pool="tasks"}') < 2 and time.monotonic() < until:
        time.sleep(0.2)
    assert server.metric('aicli_workers{pool="tasks"}') == 2


def test_full_queue_answers_at_once(tmp_path: Path, photo: bytes) -> None:
    slow = slow_photo()
    with running(tmp_path, "--workers", "1", "--queue", "2") as server:

        def ask(_: int) -> tuple[Reply, float]:
            begun = time.monotonic()
            return server.ask("POST", "/v1/faces", slow, min_size=12), time.monotonic() - begun

        with ThreadPoolExecutor(12) as clients:
            replies = list(clients.map(ask, range(12)))
        refused = [(reply, seconds) for reply, seconds in replies if reply.status == 503]
        assert {reply.status for reply, _ in replies} == {200, 503}
        assert len(refused) >= 8
        assert all(int(reply.headers["retry-after"]) >= 1 for reply, _ in refused)
        assert sorted(seconds for _, seconds in refused)[len(refused) // 2] < 0.5
        assert server.ask("POST", "/v1/classify", photo).status == 200


def test_too_many_connections_are_told_to_come_back(tmp_path: Path, photo: bytes) -> None:
    head = b"POST /v1/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999\r\n\r\n"
    with running(tmp_path, "--workers", "1", "--queue", "600") as server:
        with ExitStack() as stack:
            for _ in range(512):
                stack.enter_context(server.connect()).sendall(head)
            reply = server.ask("GET", "/healthz")
            assert (reply.status, reply.code) == (503, "busy")
            assert int(reply.headers["retry-after"]) >= 1
        wait_for(lambda: server.ask("POST", "/v1/classify", photo).status == 200)
        with ExitStack() as stack:
            for _ in range(530):
                stack.enter_context(server.connect())
            time.sleep(1.5)
            assert server.ask("POST", "/v1/classify", photo).status == 200  # connections without a request make room


def test_deadline_replaces_the_worker(tmp_path: Path, photo: bytes) -> None:
    with running(tmp_path, "--workers", "1", "--deadline", "0.4") as server:
        before = server.workers()
        reply = server.ask("POST", "/v1/faces", slow_photo(), min_size=12)
        assert reply.status == 504
        until = time.monotonic() + 20
        while server.ask("POST", "/v1/classify", photo).status != 200 and time.monotonic() < until:
            time.sleep(0.1)
        assert server.ask("POST", "/v1/classify", photo).status == 200
        assert server.workers() != before


def test_work_for_a_client_that_left_is_stopped(tmp_path: Path) -> None:
    slow = slow_photo()
    with running(tmp_path, "--workers", "1") as server:
        head = f"POST /v1/faces?min_size=12 HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(slow)}\r\n\r\n"
        for _ in range(5):
            with server.connect() as client:
                client.sendall(head.encode() + slow)
                time.sleep(0.1)
        begun = time.monotonic()
        while server.metric('aicli_workers_busy{pool="tasks"}') and time.monotonic() < begun + 20:
            time.sleep(0.05)
        assert time.monotonic() - begun < 5
        wait_for(lambda: [event["status"] for event in server.events("request")].count(499) == 5)


def test_slow_clients_are_closed_and_disturb_nobody(tmp_path: Path, photo: bytes) -> None:
    with running(tmp_path, "--workers", "1", "--header-time", "1", "--body-time", "1.5") as server:
        starts = (
            b"",
            b"POST /v1/faces HT",
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HT",
            b"POST /v1/faces HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nx",
        )
        clients = [server.connect() for _ in range(40)]
        for place, client in enumerate(clients):
            client.sendall(starts[place % len(starts)])
        begun = time.monotonic()
        assert server.ask("POST", "/v1/classify", photo).status == 200
        assert time.monotonic() - begun < 1
        for place, client in enumerate(clients):
            client.settimeout(10)
            received = b""
            while piece := client.recv(4000):
                received += piece
            client.close()
            assert b"HTTP/1.1 408 " in received, (place, received)
        assert time.monotonic() - begun < 8


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
def test_long_headers_are_refused(server: Server, end: bytes) -> None:
    with server.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 100_000 + end)
        assert client.recv(4000).startswith(b"HTTP/1.1 431 ")
    assert server.ask("GET", "/healthz", None, {"X": "a" * 30_000}).status == 200


def test_shutdown_lets_requests_end(tmp_path: Path) -> None:
    slow = slow_photo()
    with running(tmp_path, "--workers", "1") as server, ThreadPoolExecutor(3) as clients:
        workers = server.workers()
        answers = [clients.submit(server.ask, "POST", "/v1/faces", slow, min_size=20) for _ in range(2)]
        while server.metric('aicli_queue_waiting{pool="tasks"}') < 1:
            time.sleep(0.02)
        assert server.stop() in (0, -signal.SIGTERM)  # it ends by the signal once all is done
        assert [answer.result().status for answer in answers] == [200, 200]
        for pid in workers:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_the_end_is_in_the_log_whose_lines_are_all_json(tmp_path: Path, how: signal.Signals, code: int) -> None:
    with running(tmp_path, "--workers", "1") as server:
        assert server.stop(how) == code
    last = [json.loads(line) for line in server.log.read_text().splitlines()][-1]
    assert (last["event"], last["signal"]) == ("stopped", how.name)


def test_workers_end_with_a_killed_front_process(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2") as server:
        workers = server.workers()
        assert len(workers) == 2
        server.stop(signal.SIGKILL)
        until = time.monotonic() + 5
        while time.monotonic() < until and any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers):
            time.sleep(0.1)
        assert not any(Path(f"/proc/{pid}/cmdline").exists() for pid in workers)
