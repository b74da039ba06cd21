"""A worker process: takes one job after the other from its socket (``-m aicli.serve.worker.child FD OPTIONS``)."""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from aicli import errors
from aicli._blas import start_no_threads
from aicli.serve.worker.wire import Frame, pack, receive

__all__ = ["main"]

Handler = Callable[[dict[str, Any], list[bytes]], Frame]

STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.ImageTooLargeError, 413, "image_too_large"),
    (errors.ImageError, 422, "image"),
    (errors.LabelsError, 422, "labels"),
    (errors.ModelError, 422, "model"),
    (errors.GuestError, 422, "guest"),
    (errors.UnavailableError, 503, "unavailable"),
    (errors.UsageError, 400, "parameters"),
    (errors.GuestTimeout, 504, "guest_timeout"),
    (errors.GuestFault, 500, "guest_fault"),
    (errors.AicliError, 500, "failed"),
    (MemoryError, 413, "memory"),
)
"""The first class that fits an error gives its HTTP status and its code."""


BAD_REQUEST = "the guest failed with status 1: "
"""How a guest's answer 'bad request' (docs/guest-abi.md) reads: the parameters do not fit the photo."""


def failure(error: Exception) -> dict[str, Any]:
    """An error as the header of an answer. What is no error of ours keeps its details to itself."""
    if isinstance(error, errors.GuestFault) and str(error).startswith(BAD_REQUEST):
        return {"status": 400, "error": {"code": "parameters", "message": str(error)[len(BAD_REQUEST) :]}}
    for kind, status, code in STATUS:
        if isinstance(error, kind):
            message = str(error) or "there is not enough memory for this"
            return {"status": status, "error": {"code": code, "message": message}}
    print(f"aicli.serve.worker.child: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return {"status": 500, "error": {"code": "internal", "message": "the service failed on this request"}}


def die_with_parent() -> None:
    """Has the kernel end this process when the front process is gone, even if it hangs then (prctl(2), Linux)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def serve(connection: socket.socket, handlers: dict[str, Handler], idle: Callable[[], None]) -> None:
    """Jobs until the front process closes the connection; ``idle`` is called after each answer."""
    stream: Any = connection.makefile("rb", buffering=1 << 20)
    send(connection, {"ready": True})
    while (frame := receive(stream)) is not None:
        job, blobs = frame
        send(connection, {"started": True})
        begun = time.perf_counter()
        try:
            header, answer = handlers[job["kind"]](job, blobs)
        except Exception as error:
            header, answer = failure(error), []
        header.setdefault("status", 200)
        header["seconds"] = time.perf_counter() - begun
        send(connection, header, answer)
        idle()


def send(connection: socket.socket, header: dict[str, Any], blobs: list[bytes] | None = None) -> None:
    for piece in pack(header, blobs or []):
        connection.sendall(piece)


def main(arguments: list[str]) -> None:
    start_no_threads()
    connection = socket.socket(fileno=int(arguments[0]))
    options = json.loads(arguments[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    try:
        if options.get("quarantine"):
            from aicli.serve.worker.quarantine import make_handlers
        else:
            from aicli.serve.worker.trusted import make_handlers
        handlers, idle = make_handlers(options)
    except Exception as error:
        send(connection, {"ready": False, "message": str(error)})
        return
    try:
        serve(connection, handlers, idle)
    except (BrokenPipeError, ConnectionResetError):
        return


if __name__ == "__main__":
    main(sys.argv[1:])
