"""What the service refuses, and how it says so: ``{"error": {"code": ..., "message": ...}}``."""

from __future__ import annotations

import json

from aicli.serve.http.answers import ErrorAnswer

__all__ = ["Problem"]


class Problem(Exception):
    """An answer that is an error: its HTTP status, a code for programs, a message for people."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after

    def body(self) -> bytes:
        answer: ErrorAnswer = {"error": {"code": self.code, "message": self.message}}
        return json.dumps(answer).encode()

    def headers(self) -> dict[str, str]:
        found = {"content-type": "application/json", "cache-control": "no-store"}
        if self.retry_after is not None:
            found["retry-after"] = str(self.retry_after)
        if self.status == 401:
            found["www-authenticate"] = "Bearer"
        return found
