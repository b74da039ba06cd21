"""Ctrl-C, SIGTERM and SIGHUP for a run that has more to end than its own process."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Signals"]

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Signals:
    """In the block these raise :class:`KeyboardInterrupt`, as code in between knows no other exception of a signal.

    A library in between may lose the exception, as Python does in destructors and callbacks: ``heard`` stays. A signal
    that is ignored, as under ``nohup``, stays so. Nothing outside the main thread.
    """

    def __init__(self) -> None:
        self._number = int(signal.SIGINT)
        self._heard = False
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
        if not self._heard:  # the first of them is why the run ends
            self._number, self._heard = number, True
        raise KeyboardInterrupt

    def heard(self) -> bool:
        """Whether one of them has come."""
        return self._heard

    @property
    def code(self) -> int:
        """The exit code that a shell gives a process which ended by the signal that came; without one, by Ctrl-C."""
        return 128 + self._number
