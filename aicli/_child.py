"""Processes that run one function of this program: how they start and end, and the limits that they set themselves."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import socket

__all__ = ["Child", "describe_end", "die_with_parent", "limit", "limit_processor", "python_command", "socket_pair"]
__all__ += ["wait_briefly"]

C = TypeVar("C", bound="Child")
BRIEF = 0.1
"""Seconds that somebody with a deadline waits for a process that was killed."""
BUFFER = 1 << 20
"""Bytes that a connection holds."""

# With -c the current folder comes first in the search for modules, and it may be a stranger's: it is taken away before
# even json is imported. Then the search goes where this process's does.
_CODE = """\
import sys; sys.path[:] = filter(None, sys.path); import json; sys.path[:] = json.loads(sys.argv.pop(1))
from {module} import {function} as main; main()"""


def python_command(entry: str, *arguments: str) -> list[str]:
    """The command of a process that runs ``entry``, ``package.module:function``, with ``sys.argv[1:]`` as given."""
    module, _, function = entry.partition(":")
    return [sys.executable, "-c", _CODE.format(module=module, function=function), json.dumps(sys.path), *arguments]


class Child:
    """A process, its standard input and output, which on POSIX are one socket, and a way to end it.

    ``end`` ends the process and tells how it ended: an exit code, a signal as a negative number, ``None``: unknown. It
    is called once.
    """

    def __init__(
        self, pid: int, end: Callable[[], int | None], connection: socket.socket | None, *pipes: IO[bytes]
    ) -> None:
        self.pid, self.connection = pid, connection
        self.stdin, self.stdout = (connection.makefile("wb"), connection.makefile("rb")) if connection else pipes
        self.on_close: Callable[[], object] = int
        self._end: Callable[[], int | None] | None = end
        self._code: int | None = None
        self._lock = threading.Lock()

    @classmethod
    def start(cls: type[C], entry: str, *, env: Mapping[str, str] | None = None, group: bool = False) -> C:
        """A fresh Python process that runs ``entry``; with ``group`` what it starts itself ends with it.

        Raises :class:`OSError` when the system gives none.
        """
        import subprocess

        ours, theirs = socket_pair() if sys.platform != "win32" else (None, None)
        end = subprocess.PIPE if theirs is None else theirs.fileno()
        try:
            process = subprocess.Popen(python_command(entry), stdin=end, stdout=end, env=env, start_new_session=group)
        finally:
            if theirs is not None:
                theirs.close()

        def kill() -> int:
            if group and sys.platform != "win32":
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            return process.wait()

        return cls(process.pid, kill, ours, *(pipe for pipe in (process.stdin, process.stdout) if pipe is not None))

    @contextmanager
    def limited(self, seconds: float | None) -> Iterator[None]:
        """Ends the process unless the block, which talks to it, ends within so many seconds.

        Raises :class:`TimeoutError` then, and :class:`EOFError` when the process ends before.
        """
        if seconds is None:
            try:
                yield
            except OSError:
                raise EOFError from None
            return
        decided = threading.Lock()  # by whoever gets it first: the block or the clock
        clock = threading.Timer(seconds, self._cut, [decided])
        clock.daemon = True
        clock.start()
        try:
            yield
        except (EOFError, OSError):
            raise (EOFError if decided.acquire(blocking=False) else TimeoutError) from None
        finally:
            clock.cancel()
        if not decided.acquire(blocking=False):
            raise TimeoutError

    def _cut(self, decided: threading.Lock) -> None:
        """Ends the process; whoever waits for its words does not wait until it has gone as well."""
        if decided.acquire(blocking=False):
            if self.connection is not None:
                with suppress(OSError):
                    self.connection.shutdown(2)  # both ways
            self.kill()

    def kill(self) -> int | None:
        """Ends the process and tells how it ended. Safe from any thread, and more than once."""
        with self._lock:
            if self._end is not None:
                self._code = self._end()
                self._end = None
            return self._code

    def close(self) -> None:
        """Gives the streams of an ended process back, then does what ``on_close`` says."""
        for stream in (self.stdin, self.stdout, self.connection):
            if stream is not None:
                with suppress(OSError, ValueError):  # what was not sent, or another thread that reads
                    stream.close()
        done, self.on_close = self.on_close, int
        done()

    def end(self) -> int | None:
        """Ends the process and gives its streams back; how it ended."""
        code = self.kill()
        self.close()
        return code


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection that holds photos on their way."""
    import socket

    pair = socket.socketpair()
    for end in pair:
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, BUFFER)
    return pair


def limit(values: Mapping[str, int]) -> None:
    """Lowers limits of :mod:`resource`, by their names, for the rest of this process's life; none is raised.

    Nothing where the system has none (Windows). A limit that the system refuses stays as it was.
    """
    try:
        import resource
    except ImportError:
        return
    for name, value in values.items():
        with suppress(OSError, ValueError):
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (bound, bound))


def limit_processor(seconds: float) -> None:
    """Lets this process use so many seconds of processor time from now on; it may be called again for the next work."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    soft = int(used.ru_utime + used.ru_stime + seconds) + 1
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def die_with_parent() -> None:
    """Has the kernel end this process when the thread that started it is gone, even if it hangs (prctl(2), Linux)."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def describe_end(code: int | None) -> str:
    """How a process ended, in words: by its exit code, a signal as a negative number, or ``None``."""
    if code is None:
        return "nobody knows how"
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def wait_briefly(wait: Callable[[], object]) -> None:
    """Waits for the end of a process that was killed; a thread goes on with it when that takes longer than a moment.

    Each thread of the process needs a turn of the processor to end, and its memory is taken back a page at a time. On a
    busy machine that is time in which whoever has a deadline would be late.
    """
    thread = threading.Thread(target=wait, name="aicli-reaper", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is at its end and starts no threads any more
        wait()
    else:
        thread.join(BRIEF)
