"""A running service for the tests: a process of its own, asked through real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.training.conftest import make_photos

PROJECT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-for-the-tests-only"
PHOTO = PROJECT / "examples" / "grace_hopper.jpg"


@dataclass
class Reply:
    """An answer: its status, its headers in lower case, its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of an error."""
        return str(self.json["error"]["code"])


@dataclass
class Server:
    """One ``aicli serve`` process."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    data: Path
    tokens: dict[str, str] = field(default_factory=lambda: {"Authorization": f"Bearer {TOKEN}"})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
        **query: Any,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            address = f"{path}?{urlencode(query)}" if query else path
            connection.request(method, address, body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def metric(self, line: str) -> float:
        """The value of a series; 0 when it is not there yet."""
        for found in self.ask("GET", "/metrics").body.decode().splitlines():
            if found.startswith(f"{line} "):
                return float(found.rsplit(" ", 1)[1])
        return 0

    def events(self, name: str) -> list[dict[str, Any]]:
        """The log's lines with this event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def workers(self) -> list[int]:
        """The process ids of the workers that are not in quarantine."""
        servers = [pid for pid, command in children(self.process.pid).items() if b"fork_server" in command]
        copies = [pid for server in servers for pid in children(server)]
        return copies or [
            pid
            for pid, command in children(self.process.pid).items()
            if b"aicli.workers" in command and b"aicli-worker-" not in Path(f"/proc/{pid}/environ").read_bytes()
        ]

    def stop(self, how: int = signal.SIGTERM, timeout: float = 40) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout)


def children(parent: int) -> dict[int, bytes]:
    """The command lines of a process's children."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found[int(folder.name)] = (folder / "cmdline").read_bytes()
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start_server(folder: Path, *arguments: str) -> Server:
    """A service that is ready. It keeps its uploads in ``folder``."""
    for package in ("starlette", "httptools", "python_multipart"):
        pytest.importorskip(package)
    port, log = free_port(), folder / "log"
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "AICLI_SERVE_TOKEN": TOKEN}
    environment.pop("PYTHONWARNINGS", None)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "aicli", "serve", "--port", str(port), "--data", str(folder / "data"), *arguments],
            env=environment,
            stderr=stream,
            stdin=subprocess.DEVNULL,
        )
    server = Server(port, process, log, folder / "data")
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError):
            if server.ask("GET", "/readyz").status == 200:
                return server
        time.sleep(0.1)
    process.kill()
    process.wait()
    raise AssertionError(f"the service did not start: {log.read_text()[-2000:]}")


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Server]:
    server = start_server(folder, *arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            assert server.stop() == -signal.SIGTERM, server.log.read_text()[-2000:]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service with two workers and functions, shared by the tests that leave it as it is."""
    with running(tmp_path_factory.mktemp("serve"), "--functions", "--workers", "2") as found:
        yield found


@pytest.fixture(scope="session")
def photo() -> bytes:
    return PHOTO.read_bytes()


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Waits for what follows an answer: a request is counted and logged once it has been answered."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def form(*parts: tuple[str, str, bytes]) -> tuple[bytes, dict[str, str]]:
    """A multipart body of (field, file name, content), and its headers."""
    pieces = []
    for name, file, content in parts:
        head = f'--limit\r\nContent-Disposition: form-data; name="{name}"; filename="{file}"\r\n\r\n'
        pieces.append(head.encode() + content + b"\r\n")
    return b"".join(pieces) + b"--limit--\r\n", {"Content-Type": "multipart/form-data; boundary=limit"}


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("trainer"), "--train", "--workers", "1") as found:
        yield found


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("photos"), 5)
