"""The ``aicli`` program, which is also ``python -m aicli``."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from aicli._blas import start_no_threads


def roomy(function: Callable[[], NoReturn]) -> Callable[[], NoReturn]:
    """The function with a frame of 128 kB, of which it uses nothing, so that those of all it calls lie side by side.

    Python 3.11 and later have frames in chunks of 16 kB, and make a chunk as large as its first frame needs. A loop
    whose calls begin in one chunk and end in the next has the system map and unmap memory at every turn: 800 times in
    one run on one photo. Memory that is not written to costs nothing.
    """
    if sys.version_info >= (3, 11):
        function.__code__ = function.__code__.replace(co_stacksize=1 << 14)
    return function


@roomy
def main() -> NoReturn:
    """Runs the command line and ends the process with its code.

    Imports make many objects and no garbage, so the collector starts later than usual; and nothing is torn down that
    the system frees anyway, which saves a tenth of the time of a run on one photo.
    """
    gc.set_threshold(200_000)
    start_no_threads()
    open_closed_streams()
    if sys.argv[1:] and not sys.argv[1].startswith("-"):
        from aicli._ahead import load_ahead

        load_ahead(sys.argv[1:])
    from aicli.cli.main import run

    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # the reader had enough, as `| head` has
    except OSError as error:
        os.write(2, f"aicli: cannot write to standard output: {error.strerror}\n".encode())
        code = code or 1
    with suppress(OSError):
        sys.stderr.flush()
    os._exit(code)


def open_closed_streams() -> None:
    """Gives the null device to the standard streams that the shell has closed (``>&-``).

    Else Python has none there, and the next file that is opened takes the number: results would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


if __name__ == "__main__":
    main()
