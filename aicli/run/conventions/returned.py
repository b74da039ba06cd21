"""Host functions through which a guest hands over its answer: ``return_result`` and ``return_error``."""

from __future__ import annotations

from collections.abc import Callable

from aicli.errors import GuestFault
from aicli.run.conventions.base import Convention, Described, Guest, failure
from aicli.run.values import Value
from aicli.wasm.runtime import ExternType, HostFunction

__all__ = ["ReturningConvention"]

RESULT, ERROR = "return_result", "return_error"


class ReturningConvention(Convention):
    """A convention whose functions return nothing and call the host with what they have to say."""

    modules: tuple[str, ...] = ("env",)
    counts: tuple[int, int] = (2, 2)
    """How many parameters the two functions have."""

    def __init__(self) -> None:
        super().__init__()
        self._values: list[Value] | None = None
        self._error: tuple[int | None, bytes] | None = None
        self._fault: GuestFault | None = None

    @classmethod
    def returns(cls, module: Described) -> str | None:
        """The module that the two functions are imported from; ``None`` when they are not, or have another type."""
        for item in module.imports:
            if item.module in cls.modules and item.name == RESULT and len(item.params) == cls.counts[0]:
                return item.module
        return None

    def functions(self, module: Described) -> dict[tuple[str, str], HostFunction]:
        owner = self.returns(module)
        if owner is None:
            return {}
        calls = ((RESULT, self.counts[0], self._take_result), (ERROR, self.counts[1], self._take_error))
        return {
            (owner, name): HostFunction(owner, name, ("i32",) * count, (), self._guarded(call, owner))
            for name, count, call in calls
        }

    def _guarded(self, call: Callable[[Guest, str, tuple[int, ...]], None], owner: str) -> Callable[..., None]:
        """The call with its faults kept for later: a host function must not raise."""

        def guarded(*arguments: int) -> None:
            if self.guest is None:
                return  # called while the instance is made: nobody has asked yet
            try:
                call(self.guest, owner, arguments)
            except GuestFault as fault:
                self._fault = fault
            except MemoryError:
                self._fault = GuestFault("there is no memory for the guest's answer")

        return guarded

    def _take_result(self, guest: Guest, owner: str, arguments: tuple[int, ...]) -> None:
        self._values = self.read_result(guest, owner, arguments[0], arguments[1])

    def _take_error(self, guest: Guest, owner: str, arguments: tuple[int, ...]) -> None:
        with_code = self.counts[1] == 4
        pointer, length = arguments[with_code : with_code + 2]
        self._error = arguments[0] if with_code else None, guest.read(pointer, length)

    def read_result(self, guest: Guest, owner: str, pointer: int, length: int) -> list[Value]:
        return [guest.read(pointer, length)]

    def ask(self, guest: Guest, item: ExternType, *arguments: int) -> list[Value]:
        """Calls the function and gives what it handed over meanwhile, the last where it did so more than once.

        Raises :class:`GuestFault` when that was an error or lies outside the guest's memory.
        """
        self._values = self._error = self._fault = None
        guest.call(item.name, *arguments)
        if self._fault is not None:
            raise self._fault
        if self._error is not None:
            raise failure(item, self._error[1], self._error[0])
        return self._values or []
