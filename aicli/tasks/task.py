"""What a classifier and a face detector have in common: a guest, and an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from aicli.guest.client import Guest

if TYPE_CHECKING:
    from aicli.tasks.guest_process import GuestProcess

__all__ = ["Task"]

Self = TypeVar("Self", bound="Task")


class Task:
    """Holds a guest until :meth:`close`, which ``with`` calls; else the memory is given back with the object."""

    guest: Guest | GuestProcess

    def close(self) -> None:
        """Gives back the guest's memory and the networks; a further call raises :class:`aicli.errors.UsageError`."""
        self.guest.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
