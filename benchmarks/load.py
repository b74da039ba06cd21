"""Load test of ``aicli serve`` over real sockets: throughput, latency against load, overhead, memory.

python benchmarks/load.py                  everything: serve.md and latency.svg
python benchmarks/load.py --minutes 5      stops after that time; the same again goes on where it stopped
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from benchmarks.pieces import PIECES, Piece, read_piece, run_sections  # noqa: E402
from benchmarks.processes import machine  # noqa: E402

PHOTO = PROJECT / "examples" / "grace_hopper.jpg"
FAMILY = ("front", "what workers are copies of", "worker", "worker", "quarantine")
"""The processes of a service with two workers, in the order in which they are started."""
CLIENTS = (1, 2, 4, 8, 16, 32)


@dataclass
class Run:
    """Latencies in seconds of one run with a number of clients, and its length."""

    clients: int
    seconds: float
    latencies: list[float]
    failures: int

    @property
    def throughput(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def row(self) -> str:
        values = (self.quantile(share) * 1000 for share in (0.5, 0.9, 0.99))
        times = " | ".join(f"{value:.1f}" for value in values)
        return f"| {self.clients} | {self.throughput:.1f} | {times} | {self.failures} |"


@contextlib.contextmanager
def serving(workers: int) -> Iterator[tuple[int, int]]:
    """A service of its own; its port and process id."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["--port", str(port), "--workers", str(workers), "--data", folder, "--queue", "256"]
        process = subprocess.Popen(
            [sys.executable, "-m", "aicli", "serve", *arguments],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stderr=subprocess.DEVNULL,
        )
        try:
            for _ in range(200):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                    break
                time.sleep(0.1)
            yield port, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def body_length(head: bytes) -> int:
    return next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))


async def one_client(port: int, request: bytes, until: float, limit: list[int], run: Run) -> None:
    """Requests one after the other on one kept connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < until and limit[0] > 0:
        limit[0] -= 1
        begun = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = body_length(head)
        await reader.readexactly(length)
        if head.startswith(b"HTTP/1.1 200 "):
            run.latencies.append(time.perf_counter() - begun)
        else:
            run.failures += 1
    writer.close()


async def load(port: int, path: str, clients: int, seconds: float, limit: int = 1 << 60) -> Run:
    request = request_of(PHOTO.read_bytes(), path)
    run, begun = Run(clients, 0, [], 0), time.perf_counter()
    left = [limit]
    await asyncio.gather(*(one_client(port, request, begun + seconds, left, run) for _ in range(clients)))
    run.seconds = time.perf_counter() - begun
    return run


def resident(parent: int) -> dict[str, float]:
    """MiB of the front process and of its workers."""
    found, family = {}, {parent}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda folder: int(folder.name)):
        with contextlib.suppress(OSError):
            fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(folder.name) == parent or int(fields[1]) in family:  # workers are copies of a child of the front
                family.add(int(folder.name))
                name = "front" if int(folder.name) == parent else f"worker {folder.name}"
                found[name] = int((folder / "statm").read_text().split()[1]) * 4096 / (1 << 20)
    return found


def post(connection: socket.socket, request: bytes) -> float:
    """Seconds from a request to the last byte of its answer."""
    begun = time.perf_counter()
    connection.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += connection.recv(1 << 16)
    head, _, body = answer.partition(b"\r\n\r\n")
    length = body_length(head)
    while len(body) < length:
        body += connection.recv(1 << 16)
    return time.perf_counter() - begun


def request_of(body: bytes, path: str = "/v1/classify") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def layer_time(port: int, rounds: int = 100) -> float:
    """Median in ms of a request whose body has the photo's size and is no photo: all of the way, none of the work."""
    request, times = request_of(b"x" * PHOTO.stat().st_size), []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(rounds):
            times.append(post(connection, request))
            time.sleep(0.02)
    return statistics.median(times) * 1000


def answer_at_once(listener: socket.socket) -> None:
    """The least that a server can be: one process, one connection, every request read and answered by two calls."""
    connection, _ = listener.accept()
    body = b" " * 400
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    request = b""
    while piece := connection.recv(1 << 16):
        request += piece
        head, blank, rest = request.partition(b"\r\n\r\n")
        if blank and len(rest) >= body_length(head):
            connection.sendall(answer)
            request = b""


def floor_time() -> float:
    """Median in ms of the same requests to :func:`answer_at_once`: what client and kernel take, and no service."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = get_context("spawn").Process(target=answer_at_once, args=(listener,), daemon=True)
        server.start()
        try:
            return layer_time(listener.getsockname()[1])
        finally:
            server.kill()


def warm_time(port: int, rounds: int = 100) -> tuple[float, float]:
    """Medians in ms of the task in this process and over HTTP on a kept connection.

    Taken in turns, because the machine may slow down, and with pauses, so that neither disturbs the other.
    """
    from aicli.tasks.classify import Classifier

    body = PHOTO.read_bytes()
    request = request_of(body)
    classifier = Classifier(threads=1)
    classifier(body)
    here, there = [], []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for _ in range(rounds):
            begun = time.perf_counter()
            json.dumps(classifier(body).to_dict())
            here.append(time.perf_counter() - begun)
            time.sleep(0.02)
            there.append(post(connection, request))
            time.sleep(0.02)
    return statistics.median(here) * 1000, statistics.median(there) * 1000


def plot(series: dict[str, list[Run]], path: Path) -> None:
    """Latency against load as SVG: median (line) and 99th percentile (dashed) of each series, log-log."""
    from math import log

    width, height, left, low = 640, 400, 60, 50
    runs = [run for found in series.values() for run in found]
    top = max(run.quantile(0.99) for run in runs) * 1300
    least = min(run.quantile(0.5) for run in runs) * 800

    def place(run: Run, share: float) -> str:
        x = left + (width - left - 20) * log(run.clients) / log(max(CLIENTS))
        y = (height - low) * (1 - log(run.quantile(share) * 1000 / least) / log(top / least))
        return f"{x:.1f},{y + 10:.1f}"

    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">']
    parts.append(f'<rect width="{width}" height="{height}" fill="#fff"/>')
    for clients in CLIENTS:
        x = left + (width - left - 20) * log(clients) / log(max(CLIENTS))
        parts.append(f'<text x="{x:.0f}" y="{height - 20}" font-size="12" text-anchor="middle">{clients}</text>')
    for tick in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000):
        if least < tick < top:
            y = (height - low) * (1 - log(tick / least) / log(top / least)) + 10
            parts.append(f'<path d="M{left} {y:.1f}H{width - 20}" stroke="#ddd"/>')
            parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" font-size="12" text-anchor="end">{tick}</text>')
    for color, (name, found) in zip(("#0a6b3b", "#1f5fa8", "#a8471f"), series.items(), strict=False):
        for share, dash in ((0.5, ""), (0.99, ' stroke-dasharray="5 4"')):
            points = " ".join(place(run, share) for run in found)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
        y = 24 + 18 * list(series).index(name)
        parts.append(f'<text x="{left + 12}" y="{y}" font-size="13" fill="{color}">{name}</text>')
    label = "clients at once; latency in ms: median, and dashed the 99th percentile"
    parts.append(f'<text x="{width / 2}" y="{height - 4}" font-size="12" text-anchor="middle">{label}</text></svg>')
    path.write_text("\n".join(parts) + "\n")


HEADER = """# The service under load

Written by `python benchmarks/load.py`, which says how. The clients ran on the same cores, the photo is
`examples/grace_hopper.jpg` (61 KB), every worker has one thread.
"""


def latency(seconds: float, path: str, picture: Path) -> Piece:
    """Runs with more and more clients, one worker and two."""
    series: dict[str, list[Run]] = {}
    lines = []
    for workers in (1, 2):
        with serving(workers) as (port, _):
            asyncio.run(load(port, path, 2, 1))
            runs = [asyncio.run(load(port, path, clients, seconds)) for clients in CLIENTS]
        lines += [
            f"## {workers} worker(s), `{path}`",
            "",
            "| clients | requests/s | median ms | 90 % ms | 99 % ms | failures |",
        ]
        lines += ["| --- | --- | --- | --- | --- | --- |", *(run.row() for run in runs), ""]
        series[f"{workers} worker(s)"] = runs
    plot(series, picture)
    one, two = (runs[CLIENTS.index(8)] for runs in series.values())
    tail = two.quantile(0.99) / two.quantile(0.5)
    lines += [
        f"At 8 clients two workers answer {two.throughput / one.throughput:.2f} times as many requests as one, and the"
    ]
    lines += [f"99th percentile is {tail:.2f} times the median.", "", f"![latency against load]({picture.name})", ""]
    return Piece(lines)


def workers_in_turn(path: str, seconds: float = 4, rounds: int = 5) -> Piece:
    """One worker and two, each a few seconds in turn, because the machine's speed changes from minute to minute."""
    with serving(1) as (one, _), serving(2) as (two, _):
        for port in (one, two):
            asyncio.run(load(port, path, 8, 1))
        runs = [[asyncio.run(load(port, path, 8, seconds)).throughput for port in (one, two)] for _ in range(rounds)]
    ratios = sorted(second / first for first, second in runs)
    text = f"Two workers against one at 8 clients, in turn: {statistics.median(ratios):.2f}"
    return Piece([f"{text} ({ratios[0]:.2f} to {ratios[-1]:.2f}).", ""])


def overhead() -> Piece:
    with serving(1) as (port, _):
        here, there = warm_time(port)
        layer = layer_time(port)
    floor = floor_time()
    both = f"{here:.2f} ms in one process and {there:.2f} ms over HTTP, taken in turns: {there - here:.2f} ms more"
    lines = ["## One request more", "", f"A photo takes {both}."]
    lines.append(f"A request of the photo's size that is no photo takes {layer:.2f} ms by the client's clock; of these")
    return Piece([*lines, f"{floor:.2f} are its way there and back, to a process that answers at once.", ""])


def memory(requests: int, path: str) -> Piece:
    lines = ["## Memory", "", f"MiB resident after so many requests from 8 clients to `{path}`, two workers:", ""]
    with serving(2) as (port, pid):
        failures = 0
        for done in range(0, requests + 1, requests // 5):
            sizes = resident(pid)
            if not done:
                named = len(sizes) == len(FAMILY)
                lines += [f"| requests | {' | '.join(FAMILY if named else sizes)} |", "| --- " * (len(sizes) + 1) + "|"]
            lines.append(f"| {done} | {' | '.join(f'{size:.1f}' for size in sizes.values())} |")
            if done < requests:
                failures += asyncio.run(load(port, path, 8, 1e9, requests // 5)).failures
    return Piece([*lines, "", f"{failures} of them failed.", ""])


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--seconds", type=float, default=5, help="length of each run")
    options.add_argument("--path", default="/v1/classify", help="endpoint and its query")
    options.add_argument("--requests", type=int, default=20_000, help="watch memory over this many requests")
    options.add_argument("--minutes", type=float, help="begin no section after so many minutes")
    options.add_argument("--report", type=Path, default=Path(__file__).parent / "serve.md")
    options.add_argument("--plot", type=Path, default=Path(__file__).parent / "latency.svg")
    given = options.parse_args()
    pieces = PIECES / "load"
    sections: dict[str, Callable[[], Piece]] = {
        "latency": lambda: latency(given.seconds, given.path, given.plot),
        "workers": lambda: workers_in_turn(given.path),
        "overhead": overhead,
        "memory": lambda: memory(given.requests, given.path),
    }
    if not run_sections(sections, given.minutes, pieces):
        return
    lines = [HEADER, *machine(), *(line for name in sections for line in read_piece(pieces, name).lines)]
    given.report.write_text("\n".join(lines))
    for path in pieces.iterdir():
        path.unlink()


if __name__ == "__main__":
    main()
