"""A function of a module, called with values; what it answers goes to standard output."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from aicli._text import counted
from aicli.errors import GuestFault, LabelsError
from aicli.run.conventions import Convention, Guest
from aicli.run.guests import RunRequest, instantiate
from aicli.run.supervise import supervise
from aicli.run.values import Argument, Value, encode_answer, parse_word
from aicli.wasm import Module
from aicli.wasm.runtime import ExternType, GuestExit

__all__ = ["call_function"]

INITIALIZE = "_initialize"
STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


def call_function(
    request: RunRequest,
    module: Module,
    item: ExternType,
    convention: type[Convention],
    warn: Callable[[str], None],
) -> int:
    """Calls a function and writes what it answers; 0. What the guest prints goes to standard error meanwhile.

    Raises :class:`aicli.errors.UsageError` when the arguments do not fit, :class:`GuestFault` when the function fails
    or answers an error.
    """
    arguments = [*request.values, *(parse_word(word) for word in request.arguments)]
    names = read_names(request.labels) if request.labels else None

    def call() -> int:
        with answer_stream(apart=convention.is_apart) as stream:
            try:
                values = answer(request, module, item, convention, arguments, warn)
            except GuestExit as end:
                reason = f"it ended with exit code {end.code} instead of an answer"
                raise GuestFault(reason).of(request.guest) from None
            if names is not None:
                values = [label(value, names, request.labels) for value in values]
            write(stream, encode_answer(values, exact=request.returns == "bytes"))
        return 0

    return supervise(call, request.limits, request.suspects)


def answer(
    request: RunRequest,
    module: Module,
    item: ExternType,
    convention: type[Convention],
    arguments: Sequence[Argument],
    warn: Callable[[str], None],
) -> list[Value]:
    """What the function answers, in an instance of its own."""
    binding = convention()
    with instantiate(request, module, warn, binding.functions(module)) as instance:
        binding.guest = Guest(instance, module)
        if item.name != INITIALIZE and any(export.name == INITIALIZE for export in module.exports):
            instance.call(INITIALIZE)
        return binding.call(binding.guest, item, arguments, request.returns)


@contextmanager
def answer_stream(*, apart: bool) -> Iterator[int]:
    """Where the answer is written: standard output, which is standard error to the guest where it is kept ``apart``."""
    sys.stdout.flush()
    kept = os.dup(STANDARD_OUTPUT)
    try:
        if apart:
            os.dup2(STANDARD_ERROR, STANDARD_OUTPUT)
        yield kept
    finally:
        os.dup2(kept, STANDARD_OUTPUT)
        os.close(kept)


def write(stream: int, content: bytes) -> None:
    """Raises :class:`GuestFault` when the answer is larger than a file may be here."""
    left = memoryview(content)
    try:
        while left:
            left = left[os.write(stream, left) :]
    except BrokenPipeError:
        return  # whoever reads has had enough
    except OSError as error:
        if error.errno != errno.EFBIG:
            raise GuestFault(f"its answer cannot be written ({error.strerror})") from None
        raise GuestFault(f"its answer of {counted(len(content), 'byte')} is larger than an answer may be") from None


def read_names(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError as reason:
        raise LabelsError(f"{path}: cannot read the labels ({reason.strerror})") from None


def label(value: Value, names: list[str], path: Path | None) -> str:
    """The line of the label file that a number means, counted from 0."""
    if not isinstance(value, int):
        raise LabelsError(f"{path}: the answer is not a number, so no line of this file belongs to it")
    if not 0 <= value < len(names):
        raise LabelsError(f"{path}: the answer is class {value}, and the file has only {counted(len(names), 'line')}")
    return names[value]
