"""Every error that aicli raises on purpose, and the exit code that the command line gives it.

    AicliError                     1
    |-- WriteError                 1   a file cannot be written
    |-- FetchError                 1   an address does not give a model's file
    |-- BuildError                 1   the compiler refuses a guest
    |-- WorkerDied                 1   a worker process ended while it worked on one image, or while it started
    |-- ImageError                 1   this image cannot be answered; others can
    |   `-- ImageTooLargeError     1
    |-- UsageError                 2   the request itself is wrong
    |   |-- ModelError             2   no such model, no TFLite file, no classifier
    |   |   `-- LabelsError        2   the labels do not fit the model
    |   |-- GuestError             2   the guest lacks exports, has the wrong ABI version, is no module
    |   `-- UnavailableError       2   a runtime, an engine or an extra is not installed
    `-- GuestFault                 1   the guest failed while it worked on one image
        |-- GuestTrap              1   it trapped (unreachable, out of bounds, stack overflow, ...)
        |-- GuestTimeout           1   it used up its time
        |-- GuestMemoryError       1   it could not get the memory it needs
        `-- InferenceError         1   the network behind it failed

A message is one line: what happened and to which file. Where an option would help, the error has a :class:`Hint`, which
the command line, the service and Python each put into their own words.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

__all__ = [
    "AicliError",
    "BuildError",
    "FetchError",
    "GuestError",
    "GuestFault",
    "GuestMemoryError",
    "GuestTimeout",
    "GuestTrap",
    "Hint",
    "ImageError",
    "ImageTooLargeError",
    "InferenceError",
    "LabelsError",
    "ModelError",
    "UnavailableError",
    "UsageError",
    "WorkerDied",
    "WriteError",
]

Self = TypeVar("Self", bound="AicliError")


class Hint(NamedTuple):
    """What to do next: ``text`` with the option's name in the place of ``{}``.

    ``option`` is the name that :mod:`aicli.options` has for it, inside a group as ``limits.timeout``; one that the
    command line alone has is named with its command, as ``run:invoke``, or as ``:pull`` where several have it.
    """

    option: str
    text: str = "{} gives more"

    def told(self, spelled: Spelling) -> str:
        """The end of a line, empty where the reader has no such option."""
        name = spelled(self.option)
        return "" if name is None else f"; {self.text.replace('{}', name)}"


Spelling = Callable[[str], str | None]
"""Gives an option's name as the reader knows it, ``None`` where he has none."""


def in_python(option: str) -> str | None:
    """How Python spells an option."""
    return None if ":" in option else option


class OptionName(str):
    """A part of a :class:`Remark`: the name that :mod:`aicli.options` has for an option."""


class Remark(str):
    """A remark of one line beside a result, made of texts, :class:`OptionName` and other notes; ``hint`` is its end.

    As a string it has the options as Python names them.
    """

    parts: tuple[str, ...]
    hint: Hint | None

    def __new__(cls, *parts: str, hint: Hint | None = None) -> Remark:
        flat = tuple(inner for part in parts for inner in (part.parts if isinstance(part, Remark) else (part,)))
        self = super().__new__(cls, "".join(flat) + (hint.told(in_python) if hint else ""))
        self.parts, self.hint = flat, hint
        return self

    def told(self, spelled: Spelling) -> str:
        """The line to show."""
        words = (spelled(part) or part if isinstance(part, OptionName) else part for part in self.parts)
        return "".join(words) + (self.hint.told(spelled) if self.hint else "")


class AicliError(Exception):
    """The root of all errors that aicli raises on purpose.

    ``subject`` is the file or model that it is about, ``message`` says what happened, ``hint`` which option helps;
    ``str()`` is all three, with the option as Python names it.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, hint: Hint | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.subject: str | None = None

    @property
    def message(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __str__(self) -> str:
        return self.told(in_python)

    def told(self, spelled: Spelling) -> str:
        """The line to show."""
        line = self.message if self.subject is None else f"{self.subject}: {self.message}"
        return line if self.hint is None else line + self.hint.told(spelled)

    def of(self: Self, subject: object) -> Self:
        """This error, which is about ``subject`` unless it is about something else already."""
        if self.subject is None:
            self.subject = str(subject)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The error in values that JSON has."""
        return {"kind": type(self).__name__, "arguments": self.args, **self.__dict__}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> AicliError:
        """The error that :meth:`to_dict` gave."""
        kind = globals()[values["kind"]] if values["kind"] in __all__ else AicliError
        error: AicliError = kind.__new__(kind, *values["arguments"])
        error.__dict__.update({name: value for name, value in values.items() if name not in ("kind", "arguments")})
        error.hint = Hint(*error.hint) if error.hint is not None else None
        return error


class WriteError(AicliError):
    """A file cannot be written: ``path`` as it was given, and the ``reason``."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"cannot write {os.fspath(path)}: {reason}")
        self.path, self.reason = os.fspath(path), reason

    def __reduce__(self) -> tuple[type[WriteError], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class FetchError(AicliError):
    """This address does not give the file; another one may."""


class BuildError(AicliError):
    """The compiler refused a guest, or made no module of it; its own message went to standard error."""


class WorkerDied(AicliError):
    """A worker process ended while it worked on an image, or while it started; ``signal`` is what ended it, if any."""

    def __init__(self, message: str = "", *, signal: int | None = None, hint: Hint | None = None) -> None:
        super().__init__(message, hint=hint)
        self.signal = signal


class ImageError(AicliError):
    """An image cannot be read: missing, empty, truncated, or no image at all."""


class ImageTooLargeError(ImageError):
    """An image has more pixels than the limit allows."""


class UsageError(AicliError):
    """The request is wrong as it stands; no image can be answered."""

    exit_code = 2


class ModelError(UsageError):
    """A model is unknown, damaged, or not fit for the task."""


class LabelsError(ModelError):
    """A label file is missing or its length does not fit the model."""


class GuestError(UsageError):
    """A guest module cannot serve: not WebAssembly, missing exports, wrong ABI version, forbidden imports."""


class UnavailableError(UsageError):
    """A runtime, an inference engine or an optional extra is not installed."""


class GuestFault(AicliError):
    """The guest failed while it worked on one image; the next image gets a fresh instance.

    ``status`` is what the guest itself answered (docs/guest-abi.md), where it did; then ``reason`` are its words.
    """

    def __init__(self, message: str = "", *, status: int = 0, reason: str = "", hint: Hint | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status, self.reason = status, reason

    @property
    def is_refusal(self) -> bool:
        """Whether the guest says that it was asked for what cannot be (docs/guest-abi.md, status 1)."""
        return self.status == 1


class GuestTrap(GuestFault):
    """The guest trapped: unreachable, out-of-bounds access, stack overflow, division by zero."""


class GuestTimeout(GuestFault):
    """The guest used up the time it may take for one call."""


class GuestMemoryError(GuestFault):
    """The guest could not get the memory that the image needs."""


class InferenceError(GuestFault):
    """The neural network failed behind a guest's host call."""
