"""One line on a terminal's standard error that says how far the run is. Nothing anywhere else.

Written by hand: it needs no import, gives way to every line of output, and never is wider than the terminal.
"""

from __future__ import annotations

import os
import sys
import time

from aicli._text import counted

__all__ = ["Progress", "duration"]

ERASE = "\r\x1b[2K"
PAUSE = 0.1
BAR = 20


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3:05``, ``1:02:03``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Progress:
    """The line; ``total`` may be set later, when the images are counted."""

    def __init__(self, enabled: bool) -> None:
        self.enabled = enabled and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self.total: int | None = None
        self._begun = time.monotonic()
        self._drawn = 0.0
        self._shown = False

    def hide(self) -> None:
        """Before anything else is written to the terminal."""
        if self._shown:
            sys.stderr.write(ERASE)
            sys.stderr.flush()
            self._shown = False

    def show(self, done: int, failed: int, where: str = "") -> None:
        """Draws the line, ``where`` at its end, unless it is recent enough or there is but one image."""
        now = time.monotonic()
        if not self.enabled or self.total == 1 or now - self._drawn < PAUSE:
            return
        self._drawn = now
        text = self.line(done, failed, now - self._begun)
        text = f"{text}  {where}".rstrip()[: self._columns() - 1]
        sys.stderr.write(f"{ERASE}{text}")
        sys.stderr.flush()
        self._shown = True

    def line(self, done: int, failed: int, seconds: float) -> str:
        rate = done / seconds if seconds > 0 else 0.0
        parts = [counted(done, "image")]
        if self.total:
            share = min(1.0, done / self.total)
            full = round(BAR * share)
            parts = [f"[{'#' * full}{'.' * (BAR - full)}] {done}/{self.total}"]
        parts.append(f"{rate:.1f}/s")
        if self.total and rate:
            parts.append(f"{duration(max(0, self.total - done) / rate)} left")
        if failed:
            parts.append(f"{failed} failed")
        return "  ".join(parts)

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(sys.stderr.fileno()).columns or 80
        except (OSError, ValueError):
            return 80
