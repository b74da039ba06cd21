"""Compiling a stranger's module in a process of its own, which has a limit on its time and memory.

A compiler's work may grow with the cube of a function's size, and nothing stops it inside this process: less than
6 KiB of WebAssembly took two minutes, 4 MB took 5 GB of memory.
"""

from __future__ import annotations

import json
import subprocess
import sys

from aicli._child import limit, python_command
from aicli.errors import AicliError, GuestError
from aicli.wasm import load_runtime
from aicli.wasm.runtime import GIB, Runtime

__all__ = ["MEMORY", "SECONDS", "SMALL", "compile_apart"]

SECONDS = 30.0
MEMORY = GIB
SMALL = 1024
"""Bytes of a module that is compiled in this process, as it cannot take long: half a second at the worst."""

COMPILED, REFUSED = b"C", b"R"


def compile_apart(runtime: Runtime, prepared: bytes) -> bytes:
    """The compiled code, for :meth:`Runtime.deserialize`.

    Raises :class:`GuestError` when it is no module that can run, and when compiling it takes more than 30 seconds or,
    on Linux, 1 GiB.
    """
    command = python_command("aicli.wasm.apart:main", runtime.name, str(MEMORY))
    try:
        done = subprocess.run(
            command, input=prepared, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise GuestError(f"compiling it takes longer than {SECONDS:g} seconds; make its functions smaller") from None
    except OSError as error:
        raise GuestError(f"it cannot be compiled: no process can be started ({error.strerror})") from None
    kind, rest = done.stdout[:1], done.stdout[1:]
    if kind == COMPILED:
        return rest
    if kind == REFUSED:
        raise AicliError.from_dict(json.loads(rest))
    raise GuestError(f"compiling it needs more than {MEMORY >> 20} MiB of memory; make its functions smaller")


def main() -> None:
    """Compiles what standard input holds with the runtime, and within the memory, that the arguments name.

    Standard output says what came of it.
    """
    runtime = load_runtime(sys.argv[1])
    if sys.platform == "linux":  # elsewhere nothing counts what a process may write to, and the time is the limit
        limit({"RLIMIT_DATA": int(sys.argv[2]), "RLIMIT_CORE": 0})
    try:
        answer = COMPILED + runtime.compile(sys.stdin.buffer.read()).serialize()
    except GuestError as error:
        answer = REFUSED + json.dumps(error.to_dict()).encode()
    sys.stdout.buffer.write(answer)
    sys.stdout.flush()
