"""SIGTERM and SIGHUP for a run that has more to end than its own process."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Signals"]

NUMBERS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Signals:
    """In the block these raise :class:`KeyboardInterrupt`, as Ctrl-C does: code in between knows no other exception
    that a signal raises.

    A signal that is ignored, as under ``nohup``, stays so. Nothing outside the main thread.
    """

    def __init__(self) -> None:
        self._number = int(signal.SIGINT)
        self._former: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            former = {number: signal.getsignal(number) for number in NUMBERS}
            self._former = {number: handler for number, handler in former.items() if handler is not signal.SIG_IGN}
        self.listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def listen(self) -> None:
        """Again, after a library has put its own handler there."""
        for number in self._former:
            signal.signal(number, self._end)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        raise KeyboardInterrupt

    @property
    def code(self) -> int:
        """The exit code that a shell gives a process which ended by the signal that came; without one, by Ctrl-C."""
        return 128 + self._number
