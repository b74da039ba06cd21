"""What every group of host functions shares: guest memory, and failures that become numbers instead of exceptions."""

from __future__ import annotations

import struct
from collections.abc import Callable

from aicli._text import printable
from aicli.nn.engines import EngineDied
from aicli.nn.session import Errno, NnError, Session
from aicli.wasm.runtime import HostFunction, Memory, MemoryBoundsError

__all__ = ["HostModule"]

MAX_NAME = 1024
MOST_TOLD = 8
U32 = struct.Struct("<I")
Call = Callable[..., int | None]


class HostModule:
    """Host functions for one guest instance; ``memory`` is set as soon as the instance has one.

    No call raises. The reason of a failure is kept in ``session.last_error``.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.memory: Memory | None = None
        self.interrupted: BaseException | None = None
        self.tell: Callable[[str], None] | None = None
        """Shows a line to the user: why a call failed whose generation has no way to say so to the guest."""
        self.told: set[str] = set()

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        """Every function by module and name, as a runtime links it."""
        raise NotImplementedError

    def _guard(self, call: Call, failure: int | None = None) -> Call:
        """The same call with every failure turned into ``failure``, or into an errno where that is ``None``.

        A call that returns nothing has succeeded: 0.
        """

        def guarded(*arguments: int) -> int:
            try:
                return call(*arguments) or 0
            except NnError as error:
                errno = self._fail(error.errno, str(error))
            except EngineDied as error:
                self.session.died = str(error)
                errno = self._fail(Errno.RUNTIME_ERROR, str(error))
            except MemoryBoundsError as error:
                errno = self._fail(Errno.INVALID_ARGUMENT, str(error))
            except (KeyboardInterrupt, SystemExit) as stop:
                # It must not unwind through the runtime's native frames: the caller raises it again after the call.
                self.interrupted = stop
                errno = self._fail(Errno.RUNTIME_ERROR, "interrupted")
            except Exception as error:
                errno = self._fail(Errno.RUNTIME_ERROR, str(error).strip() or type(error).__name__)
            if failure is None:
                return errno
            self._tell()
            return failure

        return guarded

    def _tell(self) -> None:
        reason = self.session.last_error or ""
        if self.tell is not None and reason not in self.told and len(self.told) < MOST_TOLD:
            self.told.add(reason)
            self.tell(reason)

    def _fail(self, errno: Errno, reason: str) -> int:
        self.session.last_error = printable(reason, longest=1500)
        return errno

    def _memory(self) -> Memory:
        if self.memory is None:
            raise NnError(Errno.MISSING_MEMORY, "the guest exports no memory")
        return self.memory

    def _read(self, pointer: int, length: int) -> bytes:
        return self._memory().view(pointer, length).tobytes()

    def _read_name(self, pointer: int, length: int, what: str = "a model name") -> str:
        if length > MAX_NAME:
            raise NnError(Errno.TOO_LARGE, f"{what} of {length} bytes is too long")
        try:
            return self._read(pointer, length).decode()
        except UnicodeDecodeError:
            raise NnError(Errno.INVALID_ARGUMENT, f"{what} is not UTF-8") from None

    def _check_out(self, pointer: int) -> None:
        """A bad out pointer fails before anything is made that nobody could name."""
        self._memory().view(pointer, 4)

    def _write_u32(self, pointer: int, value: int) -> None:
        U32.pack_into(self._memory().view(pointer, 4).data, 0, value)
