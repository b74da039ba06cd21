"""Modules that are handed a model and an image as bytes: ``alloc`` and ``infer_from_ptrs``.

``infer_from_ptrs(model_ptr, model_len, image_ptr, image_len) -> i32`` answers the number of a class, which is a line of
the label file counted from 0; a negative number is a failure.
"""

from __future__ import annotations

from pathlib import Path

from aicli.errors import GuestError, GuestFault, GuestMemoryError, GuestTrap, Hint, ImageError, LabelsError, ModelError
from aicli.run.abis import has_infer
from aicli.run.command import RunRequest, load_guest, modules_of
from aicli.run.host import CommandHost
from aicli.run.supervise import supervise
from aicli.wasm import Instance, MemoryBoundsError
from aicli.wasm.runtime import GuestExit, Module, WasiConfig, signed

__all__ = ["infer_label"]

SIGNATURES = {"alloc": (("i32",), ("i32",)), "infer_from_ptrs": (("i32",) * 4, ("i32",))}


def infer_label(request: RunRequest, model_file: Path, image: Path, labels: Path | None = None) -> str:
    """The label that the module gives, or the number of the class without labels.

    Raises :class:`GuestError` when the module lacks the exports, :class:`GuestFault` when it fails.
    """
    model = read(model_file, ModelError, "the model")
    photo = read(image, ImageError, "the image")
    names = read_names(labels) if labels else None
    module = load_guest(request.guest, request.runtime, request.limits)
    check_exports(request.guest, module)

    def call() -> int:
        host = CommandHost(
            modules_of(module),
            request.models,
            request.folders,
            engine=request.engine,
            threads=request.threads,
            limits=request.limits,
        )
        config = WasiConfig((request.guest.name,), request.environment, request.folders)
        try:
            instance = module.instantiate(host.functions(), request.limits, config)
            host.connect(instance.memory)
            if any(item.name == "_initialize" and item.kind == "func" for item in module.exports):
                instance.call("_initialize")
            return infer(instance, model, photo)
        except GuestExit as end:
            raise GuestFault(f"{request.guest}: it ended with exit code {end.code} instead of an answer") from None
        except MemoryBoundsError as error:
            raise GuestFault(f"{request.guest}: its alloc gave a bad pointer: {error}") from None
        except GuestTrap as trap:
            reason = host.session.last_error
            raise GuestTrap(f"{trap}" + (f" (before it: {reason})" if reason else "")).of(request.guest) from None
        finally:
            host.raise_interrupt()

    index = supervise(call, request.limits)
    if index < 0:
        raise GuestFault(f"{request.guest}: infer_from_ptrs failed with {index}")
    if names is None:
        return str(index)
    if index >= len(names):
        raise LabelsError(f"{labels}: the answer is class {index}, and the file has only {len(names)} lines")
    return names[index]


def infer(instance: Instance, model: bytes, photo: bytes) -> int:
    """Both files into the guest's memory, and its signed answer."""
    places = []
    for data in (model, photo):
        pointer = instance.call("alloc", len(data)) or 0
        if pointer == 0 and data:
            raise GuestMemoryError(f"the guest has no memory for {len(data)} bytes", hint=Hint("limits.memory"))
        places.append(pointer)
    if instance.memory is None:
        raise GuestError("the guest exports no memory")
    for pointer, data in zip(places, (model, photo), strict=True):
        instance.memory.view(pointer, len(data))[:] = memoryview(data)
    result = instance.call("infer_from_ptrs", places[0], len(model), places[1], len(photo))
    answer: int = signed(result or 0, "i32")
    return answer


def check_exports(guest: Path, module: Module) -> None:
    functions = {item.name: (item.params, item.results) for item in module.exports if item.kind == "func"}
    if not has_infer(module.exports):
        raise GuestError(f"{guest}: --infer needs the exports alloc and infer_from_ptrs")
    for name, wanted in SIGNATURES.items():
        if functions[name] != wanted:
            raise GuestError(f"{guest}: its {name} has another type than --infer calls; see docs/run.md")


def read(path: Path, error: type[ModelError] | type[ImageError], what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as reason:
        raise error(f"{path}: cannot read {what} ({reason.strerror})") from None


def read_names(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8", "replace").splitlines()
    except OSError as reason:
        raise LabelsError(f"{path}: cannot read the labels ({reason.strerror})") from None
