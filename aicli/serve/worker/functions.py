"""Uploaded modules in a quarantined process: their compiled code, their streams, their answers.

A module is compiled when it is uploaded, by a process that runs nothing of it, and the service keeps the code for
processes of this kind alone. Each call is answered by an instance of its own.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from aicli.errors import GuestError, GuestFault
from aicli.guest.client import TASKS, check_guest
from aicli.options import SandboxOptions
from aicli.run import RunRequest, describe_functions, parse_value, run_guest
from aicli.run.abis import find_missing
from aicli.wasm import Module, Runtime
from aicli.wasm.cache import default_cache, load_module, module_key
from aicli.workers.codec import Frame

__all__ = ["Code", "describe_module", "run_module"]

ERROR_TEXT = 2000


class Code:
    """A module's compiled code, under a key that says for which runtime and processor it was compiled."""

    def __init__(self, runtime: Runtime, wasm: bytes, sandbox: SandboxOptions) -> None:
        self._runtime, self._wasm, self._limits = runtime, wasm, sandbox.limits
        self.key = module_key(runtime, runtime.prepare(wasm, sandbox.limits))

    def give(self, key: str, code: bytes) -> None:
        """Puts code that the service kept where this process looks for it, unless it was compiled for another one."""
        cache = default_cache()
        if cache is not None and key == self.key and code and cache.read(key) is None:
            cache.write(key, code)

    def load(self) -> Module:
        return load_module(self._runtime, self._wasm, self._limits, default_cache())

    def take(self) -> bytes:
        """The code, once the module was loaded; empty where this process could not keep it."""
        cache = default_cache()
        return (cache.read(self.key) if cache is not None else None) or b""


def describe_module(module: Module) -> dict[str, list[str]]:
    """The ``tasks`` that a module can be run for, and the ``functions`` that it has.

    Raises :class:`GuestError` when there is none of either, or it cannot run here.
    """
    names = {item.name for item in module.exports if item.kind == "func"}
    functions = [item.name for item in describe_functions(module)]
    others = [task for task, there in (("command", "_start" in names), ("function", functions)) if there]
    tasks = [task for task, export in TASKS.items() if export in names and serves(module, export, must=not others)]
    if others:
        missing = find_missing(module)
        if missing:
            raise GuestError(f"the {others[0]} cannot run here: {missing}")
    if not tasks and not others:
        exports = ", ".join([*TASKS.values(), "_start"])
        raise GuestError(f"the module exports none of {exports}, and no functions of a known calling convention")
    return {"tasks": tasks + others, "functions": functions}


def serves(module: Module, export: str, must: bool) -> bool:
    """Whether a module is a guest of a task; one that is something else too may have linked such a guest in."""
    try:
        check_guest(module, export)
    except GuestError:
        if must:
            raise
        return False
    return True


def run_module(job: dict[str, Any], path: Path, blobs: Sequence[bytes], sandbox: SandboxOptions) -> Frame:
    """A command with the first blob as its standard input, or the function ``job["call"]`` with ``job["values"]``.

    A value is a text, or the number of a blob; a model is the path of a file, or the number of a blob.
    """
    is_function = job["task"] == "function"
    values = [parse_value(value) if isinstance(value, str) else blobs[value] for value in job["values"]]
    models = {name: Path(found) if isinstance(found, str) else blobs[found] for name, found in job["models"].items()}
    request = RunRequest(
        path,
        models=models,
        call=job["call"] if is_function else None,
        values=tuple(values) if is_function else (),
        returns="bytes" if is_function else "",
        engine=sandbox.engine,
        limits=sandbox.limits,
    )
    with streams(b"" if is_function else blobs[0]) as (out, err):
        try:
            # With what it writes itself, so that an answer has the reason that a legacy call could not give to it.
            code = run_guest(request, lambda text: print(text, file=sys.stderr, flush=True))
        except GuestFault as fault:
            words = complaint(err)
            if words:
                fault.args = (f"{fault.message}; it wrote: {words}", *fault.args[1:])
            raise
        words = complaint(err)
        out.seek(0)
        answer = out.read()
    if code:
        raise GuestFault(f"the command ended with exit code {code}" + (f": {words}" if words else ""))
    return {"type": "output"}, [answer]


@contextmanager
def streams(body: bytes) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """This process's standard streams become files for a while: ``body`` to read, and two to write, which it gives."""
    sys.stderr.flush()
    with ExitStack() as files:
        given, out, err = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write(body)
        given.seek(0)
        kept = [os.dup(descriptor) for descriptor in range(3)]
        try:
            for descriptor, stream in enumerate((given, out, err)):
                os.dup2(stream.fileno(), descriptor)
            yield out, err
        finally:
            for descriptor, old in enumerate(kept):
                os.dup2(old, descriptor)
                os.close(old)


def complaint(err: IO[bytes]) -> str:
    """What a guest wrote to standard error, as much as an answer has room for."""
    err.seek(0)
    return err.read(ERROR_TEXT).decode("utf-8", "replace").strip()
