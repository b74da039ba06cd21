"""What the service refuses, and how it says so: ``{"error": {"code": ..., "message": ...}}``."""

from __future__ import annotations

__all__ = ["Problem"]


class Problem(Exception):
    """An answer that is an error: its HTTP status, a code for programs, a message for people."""

    def __init__(self, status: int, code: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.retry_after = status, code, message, retry_after
