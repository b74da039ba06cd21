"""What a call of a large function costs: `aicli run` with the code in its cache, and the service that compiled it.

    python benchmarks/functions.py [--rounds 15] [--megabytes 3]

The function follows wasm-bindgen's convention and answers with its argument; the rest of its module is code that never
runs, as the crates are that a real one was linked with. Both sides are asked in turn, so that what else the machine
does meets both. Writes one JSON object: median milliseconds, and the ratio of one to the other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STEP = "(local.set 0 (i32.add (i32.mul (local.get 0) (i32.const {0})) (i32.rotl (local.get 0) (i32.const 3))))"
STEPS, BYTES = 40, 13
"""Steps in a function, and what one takes in the binary."""
BODY = b"x" * 1000


def large_function(folder: Path, megabytes: float) -> Path:
    """A module of about this size with a function ``f(bytes) -> bytes``."""
    import wasmtime

    count = int(megabytes * (1 << 20) / (STEPS * BYTES))
    rest = "".join(
        f"(func (param i32) (result i32) {STEP.format(number % 60 + 3) * STEPS} (local.get 0))"
        for number in range(count)
    )
    text = f"""(module (memory (export "memory") 1)
        (func (export "__wbindgen_malloc") (param i32) (result i32) (i32.const 1024))
        (func (export "__wbindgen_free") (param i32 i32))
        (func (export "f") (param i32 i32 i32)
          (i32.store (local.get 0) (local.get 1)) (i32.store offset=4 (local.get 0) (local.get 2)))
        {rest})"""
    path = folder / "large.wasm"
    path.write_bytes(wasmtime.wat2wasm(text))
    return path


@contextlib.contextmanager
def service(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """The address of a service with functions and one worker."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    line = [sys.executable, "-m", "aicli", "serve", "--functions", "--workers", "1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*line, "--data", str(folder / "data")], env=environment, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/readyz"):
                break
            time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


def milliseconds(call: Callable[[], bytes]) -> float:
    begin = time.perf_counter()
    answer = call()
    took = 1000 * (time.perf_counter() - begin)
    assert answer == BODY
    return took


def processor_ms() -> float:
    """Processor time of the processes that have ended: those of `aicli run`, not the service's."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (used.ru_utime + used.ru_stime)


def measure(folder: Path, rounds: int, megabytes: float) -> dict[str, Any]:
    path = large_function(folder, megabytes)
    body = folder / "body"
    body.write_bytes(BODY)
    token = secrets.token_hex(16)
    environment = {**os.environ, "AICLI_CACHE_DIR": str(folder / "cache"), "AICLI_SERVE_TOKEN": token}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    line = [sys.executable, "-m", "aicli", "run", str(path), "--returns", "bytes", "--call", "f", str(body)]

    def run() -> bytes:
        return subprocess.run(line, env=environment, check=True, capture_output=True).stdout

    with service(folder, environment) as address:

        def post(where: str, data: bytes) -> bytes:
            request = urllib.request.Request(address + where, data, {"Authorization": f"Bearer {token}"})
            with urllib.request.urlopen(request) as answer:
                return bytes(answer.read())

        begin = time.perf_counter()
        identifier = json.loads(post("/v1/functions", path.read_bytes()))["id"]
        uploaded = 1000 * (time.perf_counter() - begin)
        first = milliseconds(run)

        def ask() -> bytes:
            return post(f"/v1/functions/{identifier}/run?call=f", BODY)

        ask(), run()
        begin = processor_ms()
        pairs = [(milliseconds(run), milliseconds(ask)) for _ in range(rounds)]
        processor = (processor_ms() - begin) / rounds
    ran, asked = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {
        "bytes": path.stat().st_size,
        "upload_ms": round(uploaded),
        "run_cold_ms": round(first),
        "run_warm_ms": round(ran, 1),
        "run_warm_processor_ms": round(processor, 1),
        "call_ms": round(asked, 1),
        "ratio": round(asked / ran, 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--megabytes", type=float, default=3.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        print(json.dumps(measure(Path(work), given.rounds, given.megabytes)))
