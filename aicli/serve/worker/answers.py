"""What a worker of the service answers: records, and errors with their HTTP status."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aicli import errors
from aicli.serve.http.params import parameter_of
from aicli.workers.codec import Frame

__all__ = ["Handler", "failure", "respond"]

Handler = Callable[[dict[str, Any], Sequence[bytes]], Frame]

STATUS: tuple[tuple[type[Exception], int, str], ...] = (
    (errors.ImageTooLargeError, 413, "image_too_large"),
    (errors.ImageError, 422, "image"),
    (errors.LabelsError, 422, "labels"),
    (errors.ModelError, 422, "model"),
    (errors.GuestError, 422, "guest"),
    (errors.UnavailableError, 503, "unavailable"),
    (errors.UsageError, 400, "parameter"),
    (errors.GuestTimeout, 504, "guest_timeout"),
    (errors.GuestFault, 500, "guest_fault"),
    (errors.AicliError, 500, "failed"),
    (MemoryError, 413, "memory"),
)
"""The first class that fits an error gives its HTTP status and its code."""


def failure(error: Exception) -> dict[str, Any]:
    """An error as the header of an answer. What is no error of ours keeps its details to itself."""
    if isinstance(error, errors.GuestFault) and error.is_refusal:
        return {"status": 400, "error": {"code": "parameter", "message": error.reason}}
    for kind, status, code in STATUS:
        if isinstance(error, kind):
            message = error.told(parameter_of) if isinstance(error, errors.AicliError) else ""
            message = message or "there is not enough memory for this"
            return {"status": status, "error": {"code": code, "message": message}}
    print(f"aicli.serve.worker: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
    return {"status": 500, "error": {"code": "internal", "message": "the service failed on this request"}}


def respond(handlers: Mapping[str, Handler], frame: Frame) -> Frame:
    """The answer to a job, with its status and the seconds that it took; an error becomes one too."""
    job, blobs = frame
    begun = time.perf_counter()
    try:
        header, answer = handlers[job["kind"]](job, blobs)
    except Exception as error:
        header, answer = failure(error), []
    header.setdefault("status", 200)
    header["seconds"] = time.perf_counter() - begun
    return header, answer
