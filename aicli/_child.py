"""Fresh Python processes that run one function of this program, and the limits that they set themselves."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress

__all__ = ["limit", "limit_processor", "python_command", "wait_briefly"]

BRIEF = 0.1
"""Seconds that somebody with a deadline waits for a process that was killed."""

# With -c the current folder comes first in the search for modules, and it may be a stranger's: it is taken away before
# even json is imported. Then the search goes where this process's does.
_CODE = """\
import sys; sys.path[:] = filter(None, sys.path); import json; sys.path[:] = json.loads(sys.argv.pop(1))
from {module} import {function} as main; main()"""


def python_command(entry: str, *arguments: str) -> list[str]:
    """The command of a process that runs ``entry``, ``package.module:function``, with ``sys.argv[1:]`` as given."""
    module, _, function = entry.partition(":")
    return [sys.executable, "-c", _CODE.format(module=module, function=function), json.dumps(sys.path), *arguments]


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
