"""Every error that aicli raises on purpose, and the exit code that the command line gives it.

    AicliError                     1
    |-- WriteError                 1   a file cannot be written
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

A message is one line: what happened, to which file, and what to do next.
"""

from __future__ import annotations

import os

__all__ = [
    "AicliError",
    "GuestError",
    "GuestFault",
    "GuestMemoryError",
    "GuestTimeout",
    "GuestTrap",
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


class AicliError(Exception):
    """The root of all errors that aicli raises on purpose."""

    exit_code = 1


class WriteError(AicliError):
    """A file cannot be written: ``path`` as it was given, and the ``reason``."""

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f"cannot write {os.fspath(path)}: {reason}")
        self.path, self.reason = os.fspath(path), reason

    def __reduce__(self) -> tuple[type[WriteError], tuple[str, str]]:
        return type(self), (self.path, self.reason)


class WorkerDied(AicliError):
    """A worker process ended while it worked on an image, or while it started."""


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
    """The guest failed while it worked on one image; the next image gets a fresh instance."""


class GuestTrap(GuestFault):
    """The guest trapped: unreachable, out-of-bounds access, stack overflow, division by zero."""


class GuestTimeout(GuestFault):
    """The guest used up the time it may take for one call."""


class GuestMemoryError(GuestFault):
    """The guest could not get the memory that the image needs."""


class InferenceError(GuestFault):
    """The neural network failed behind a guest's host call."""
