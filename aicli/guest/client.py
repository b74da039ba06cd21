"""The typed client of a guest's exports: who owns which memory, and when it is freed.

docs/guest-abi.md is the specification of every record here. The host owns two blocks in guest memory (the pixels and
the request), made with ``aicli_alloc`` and used again from image to image; the guest owns its results, which are valid
until the next call and therefore read at once.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aicli._record import Record
from aicli._text import counted, printable
from aicli.errors import GuestError, GuestFault, GuestMemoryError, Hint, InferenceError, UsageError
from aicli.guest.requests import CLASSIFY, ClassifyRequest, DetectRequest
from aicli.nn.session import Session, SpareContexts, StageTime, networks_budget
from aicli.nn.wasi_nn import MODULE as WASI_NN
from aicli.nn.wasi_nn import WasiNn
from aicli.wasm import PAGE, Instance, Limits, Memory, MemoryBoundsError, Module, Runtime, load_runtime
from aicli.wasm.binary import read_module
from aicli.wasm.cache import default_cache, load_module

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aicli.nn.engines import AnyEngine

__all__ = ["ABI_VERSION", "Guest", "check_guest", "packaged_guest"]

ABI_VERSION = 1
TASKS = {"classify": "aicli_classify", "detect-faces": "aicli_detect_faces"}
I32 = "i32"
EXPORTS = {
    "aicli_abi_version": ((), (I32,)),
    "aicli_alloc": ((I32,), (I32,)),
    "aicli_dealloc": ((I32, I32), ()),
}
TASK_TYPE = ((I32,), (I32,))

FEATURES = "aicli_features"
KNOWS_LAYOUT = 1
"""Bit of :data:`FEATURES`: the guest reads classify requests of :data:`aicli.guest.requests.EXTENDED` bytes."""
KNOWS_PIXELS = 2
"""Bit of :data:`FEATURES`: the guest reads detect requests whose networks take the pixels as they are."""
RESULT = struct.Struct("<6I")
NETWORK_FAILED, NO_MEMORY, NO_NUMBER = 2, 3, 5
"""What a guest answers when it fails."""
PREDICTION = np.dtype([("index", "<u4"), ("score", "<f4")])
FACE = np.dtype("<f4")
FACE_FLOATS = 15


class Block(Record):
    """A piece of guest memory that the host has reserved."""

    pointer: int
    size: int


class Running:
    """One live instance of a guest with its own models and the host's two blocks in its memory."""

    def __init__(self, module: Module, session: Session, limits: Limits, source: str) -> None:
        host = WasiNn(session)
        self.host = host
        self.source = source
        self.blocks: dict[str, Block] = {}
        self.instance: Instance = module.instantiate(host.functions(), limits)
        memory = self.instance.memory
        if memory is None:
            raise GuestError(f"{source}: the guest exports no memory named 'memory'")
        host.memory = memory
        self.memory: Memory = memory
        self.limit, self.timeout = limits.memory, limits.timeout
        if any(item.name == "_initialize" and item.kind == "func" for item in module.exports):
            self.call("_initialize")
        version = self.call("aicli_abi_version")
        if version != ABI_VERSION:
            raise GuestError(
                f"{source}: the guest speaks ABI version {version}, this aicli speaks {ABI_VERSION}; rebuild the guest"
            )

        self.features = 0
        if any(item.name == FEATURES and item.kind == "func" for item in module.exports):
            self.features = self.call(FEATURES)
        self.takes_pixels = False
        """Whether its networks take the pixels as they are."""

    def give_pixels(self, models: Mapping[str, Path] | None) -> None:
        """Has these networks, which take the pixels as they are, stand for the others, if the guest knows of such."""
        if models is not None and self.features & KNOWS_PIXELS:
            self.host.session.models, self.takes_pixels = models, True

    def require_pixels(self) -> None:
        """Raises :class:`GuestError` unless it takes pixels: the packaged guest's other networks were not checked."""
        if not self.takes_pixels:
            raise GuestError(
                "it is older than this aicli and knows no networks that take pixels; run: aicli build-guest"
            )

    def require(self, request: ClassifyRequest) -> None:
        """Raises :class:`GuestError` where this guest does not know what the request says."""
        if request.extension and not self.features & KNOWS_LAYOUT:
            raise GuestError(
                f"{self.source}: this guest does not know {request.extension}, which the model has; it exports no"
                f" {FEATURES} that says so (docs/guest-abi.md)"
            )

    def call(self, name: str, *arguments: int) -> int:
        if self.timeout is not None:
            self.host.session.set_deadline(time.monotonic() + self.timeout)
        result = self.instance.call(name, *arguments)
        if self.host.interrupted is not None:
            raise self.host.interrupted
        return result or 0

    def block(self, purpose: str, size: int) -> int:
        """A pointer to at least ``size`` bytes for this purpose, made larger when they do not suffice."""
        present = self.blocks.get(purpose)
        if present is not None and present.size >= size:
            return present.pointer
        self.drop(purpose)
        pointer = self.call("aicli_alloc", size)
        if pointer == 0:
            text = f"the guest has no memory for {counted(size, 'byte')} within its limit of {self.limit}"
            raise GuestMemoryError(text, hint=Hint("limits.memory"))
        self._check_block(pointer, size)
        self.blocks[purpose] = Block(pointer, size)
        return pointer

    def drop(self, purpose: str) -> None:
        """Gives the memory for this purpose back to the guest, if it has any."""
        present = self.blocks.pop(purpose, None)
        if present is not None:
            self.call("aicli_dealloc", present.pointer, present.size)

    def touch(self, purpose: str, size: int) -> None:
        """Has the system provide memory for this purpose now."""
        if size > 0:
            self.memory.view(self.block(purpose, size), size)[:] = 0

    def _check_block(self, pointer: int, size: int) -> None:
        """An allocator that hands out foreign or overlapping memory would corrupt the image silently."""
        self.memory.view(pointer, size)
        for other in self.blocks.values():
            if pointer < other.pointer + other.size and other.pointer < pointer + size:
                raise GuestFault("the guest's aicli_alloc gave out the same memory twice")

    def run(self, export: str, pixels: NDArray[np.uint8], request: ClassifyRequest | DetectRequest) -> bytes:
        """Calls a task's export for one image and returns its records as bytes."""
        height, width, _ = pixels.shape
        self.host.session.last_error = None
        try:
            place = self.block("pixels", pixels.nbytes)
            if self.takes_pixels and isinstance(request, DetectRequest):
                packed = request.pack(place, width, height, raw=True)
            else:
                packed = request.pack(place, width, height)
            record = self.block("request", max(CLASSIFY.size, len(packed)))
            self.memory.view(place, pixels.nbytes)[:] = pixels.reshape(-1)
            self.memory.view(record, len(packed))[:] = memoryview(packed)
            size = PREDICTION.itemsize if export == TASKS["classify"] else FACE.itemsize * FACE_FLOATS
            answer = self.read_result(self.call(export, record), size, request.most_records())
        except MemoryBoundsError as error:
            raise GuestFault(f"the guest gave a pointer outside its memory: {error}") from None
        except GuestFault:
            self._require_engine()
            raise
        self._require_engine()
        return answer

    def _require_engine(self) -> None:
        """Raises :class:`InferenceError` when an engine process has ended, whatever the guest made of that."""
        died = self.host.session.died
        if died is not None:
            raise InferenceError(f"the network failed: {died}") from None

    def read_result(self, pointer: int, record_size: int, most: int) -> bytes:
        status, count, records, message, length, extra = RESULT.unpack(self.memory.view(pointer, RESULT.size).tobytes())
        if status != 0:
            text = self.memory.view(message, min(length, 1000)).tobytes().decode(errors="replace")
            raise self.failure(status, printable(text, longest=300), extra)
        if count > most:
            raise GuestFault(
                f"the guest answered with {counted(count, 'record')} where {most} are the most there can be"
            )
        return self.memory.view(records, count * record_size).tobytes()

    def failure(self, status: int, text: str, errno: int) -> GuestFault:
        text = text or "it gives no reason"
        if status == NETWORK_FAILED:
            cause = self.host.session.last_error
            return InferenceError(f"the network failed: {cause or text} (errno {errno})", status=status)
        if status == NO_MEMORY:
            return GuestMemoryError(f"the guest ran out of memory: {text}", status=status, hint=Hint("limits.memory"))
        if status == NO_NUMBER:
            what = "the model's scores are not numbers: its input range is another, or its weights are damaged"
            hint = Hint("input_range", "give the right range with {}, or take another model")
            return InferenceError(what, status=status, hint=hint)
        return GuestFault(f"the guest failed with status {status}: {text}", status=status, reason=text)


class Guest:
    """A guest ready for one task and one set of models; call it for many images, from one thread at a time.

    After a fault the instance is dropped, and the next image gets a fresh one. So does another thread, where the
    runtime binds an instance to the one that made it; the interpreters go on.
    """

    def __init__(
        self,
        task: str,
        models: Mapping[str, Path | bytes],
        *,
        engine: AnyEngine,
        threads: int | None = None,
        path: Path | None = None,
        runtime: Runtime | str | None = None,
        limits: Limits | None = None,
        fresh: bool = False,
        start: bool = True,
        spare: SpareContexts | None = None,
        pixel_models: Mapping[str, Path] | None = None,
    ) -> None:
        """``task`` is ``classify`` or ``detect-faces``; ``path`` a guest of one's own instead of the packaged one.

        With ``fresh`` every image gets an instance with memory of its own; the interpreters stay, emptied. Without
        ``start`` none of the guest's code runs before :meth:`prepare` or the first image. ``spare`` has contexts for
        the first instance, or will have them before it is used. ``pixel_models`` are the same networks for a guest that
        knows to give them the pixels as they are.

        Raises :class:`GuestError` when the module cannot serve the task.
        """
        self._task = TASKS[task]
        self._limits = limits or Limits()
        self._engine = engine
        self._models, self._pixel_models = models, pixel_models
        self._threads = threads or engine.default_threads()
        self._source = str(path) if path else "the packaged guest"
        self._is_packaged = path is None
        # aicli's own guest is known to take no more than an image needs.
        self._budget = None if path is None else networks_budget(self._limits.memory)
        self._spare = spare or SpareContexts() if fresh else None
        self._last_bytes = self._last_memory = 0
        self.runtime = runtime if runtime is not None and not isinstance(runtime, str) else load_runtime(runtime)
        with self._named():
            self._module = load_module(
                self.runtime, read_guest(path), self._limits, default_cache(), trusted=path is None
            )
            check_guest(self._module, self._task)
        self._closed = False
        self._running: Running | None = None
        self._answered: Running | None = None
        self.times: dict[str, StageTime] = {}
        if start:
            self._start(spare)

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Puts the guest's name into errors that speak of the module as such."""
        try:
            yield
        except GuestError as error:
            raise error.of(self._source) from None

    def close(self) -> None:
        """Gives back the instance with its memory and the networks; nothing can be asked of it any more."""
        self._closed = True
        self._running = self._answered = self._spare = None

    def _start(self, spare: SpareContexts | None = None) -> Running:
        if self._closed:
            raise UsageError("it was closed; make another one")
        self._clear()
        spare = spare or self._spare
        session = Session(self._engine, self._models, self._threads, self.times, spare, memory=self._budget)
        try:
            with self._named():
                self._running = Running(self._module, session, self._limits, self._source)
                self._running.give_pixels(self._pixel_models)
                if self._is_packaged and self._pixel_models is not None:
                    self._running.require_pixels()
        except MemoryBoundsError as error:
            raise GuestFault(str(error)).of(self._source) from None
        return self._running

    def _clear(self) -> None:
        """Empties what the last image of a ``fresh`` guest has used; not sooner, as somebody waits for its answer."""
        if self._answered is not None:
            self._answered.host.session.release()
            self._answered = None

    def _take(self) -> Running:
        """The instance for the next image, which is nobody's until it has answered."""
        running, self._running = self._running, None
        if running is None:
            running = self._start()
        elif not running.instance.belongs_here:
            session = running.host.session
            session.spare = self._spare or SpareContexts()
            session.release()
            running = self._start(session.spare)
        self._running = None
        return running

    def _run(self, pixels: NDArray[np.uint8], request: ClassifyRequest | DetectRequest) -> bytes:
        running = self._take()
        self._last_bytes = pixels.nbytes
        try:
            result = running.run(self._task, pixels, request)
        except InferenceError:
            if self._spare is not None:
                self._spare = SpareContexts()  # they may have died with their process
            raise
        if self._spare is None:
            self._running = running
        else:
            self._last_memory = running.memory.size()
            self._answered = running
        return result

    @property
    def has_warm_copies(self) -> bool:
        """Whether a copy of this process (a fork) can go on with the networks that this one has loaded.

        Not with networks of several threads or in another process, which the copy would not have; and only the
        packaged guest is trusted to answer before it is asked.
        """
        return self._threads == 1 and self._is_packaged and not self._engine.contained

    def prepare(self) -> None:
        """Makes the instance for the next image, if there is none, with memory for one as large as the last.

        The system gives memory page by page when it is first written: it is written here, not while somebody waits.
        """
        if self._running is None:
            running = self._start()
            running.touch("pixels", self._last_bytes)
            running.touch("scratch", self._last_memory - running.memory.size() - PAGE)
            running.drop("scratch")

    def require(self, request: ClassifyRequest) -> None:
        """Raises :class:`GuestError` unless the guest can serve such requests."""
        with self._named():
            (self._running or self._start()).require(request)

    def classify(self, pixels: NDArray[np.uint8], request: ClassifyRequest) -> list[tuple[int, float]]:
        """Classes and scores of one image (uint8, height x width x 3, RGB), best first.

        Raises a :class:`GuestFault` when the guest traps, breaks the ABI, or takes too much memory or time.
        """
        records = np.frombuffer(self._run(pixels, request), PREDICTION)
        if np.any(records["index"] >= request.output.classes) or not np.all(np.isfinite(records["score"])):
            raise GuestFault("the guest answered with an impossible class or score")
        return [(int(record["index"]), float(record["score"])) for record in records]

    def detect_faces(self, pixels: NDArray[np.uint8], request: DetectRequest) -> NDArray[np.float32]:
        """Faces of one image as float32 rows of 15: box x1 y1 x2 y2, score, five landmarks x y; best first.

        Raises a :class:`GuestFault` as :meth:`classify` does.
        """
        rows = np.frombuffer(self._run(pixels, request), FACE).reshape(-1, FACE_FLOATS)
        if not np.all(np.isfinite(rows)):
            raise GuestFault("the guest answered with an impossible box or score")
        return rows

    @property
    def memory_size(self) -> int:
        """Bytes of guest memory in use now, whole pages; 0 for an instance that another thread must be asked about."""
        running = self._running
        return running.memory.size() // PAGE * PAGE if running and running.instance.belongs_here else 0


@lru_cache(maxsize=1)
def packaged_guest() -> Path:
    """The guest that travels with the package."""
    return Path(__file__).parent.parent / "_bundled" / "aicli_guest.wasm"


def read_guest(path: Path | None) -> bytes:
    if path is not None:
        return read_module(path)
    try:
        return packaged_guest().read_bytes()
    except OSError as error:
        hint = "reinstall aicli, or run: aicli build-guest"
        raise GuestError(f"cannot read the guest ({error.strerror}); {hint}") from None


def check_guest(module: Module, task: str) -> None:
    """Raises :class:`GuestError` unless the module has what docs/guest-abi.md asks for and imports nothing else."""
    exports = {item.name: item for item in module.exports}
    if "memory" not in exports or exports["memory"].kind != "memory":
        raise GuestError("the guest exports no memory named 'memory'; see docs/guest-abi.md")
    for name, (params, results) in {**EXPORTS, task: TASK_TYPE}.items():
        item = exports.get(name)
        if item is None or item.kind != "func":
            raise GuestError(f"the guest exports no function {name}; see docs/guest-abi.md")
        if (item.params, item.results) != (params, results):
            raise GuestError(f"the guest's {name} has another type than docs/guest-abi.md says")
    features = exports.get(FEATURES)
    if features is not None and (features.kind, features.params, features.results) != ("func", (), (I32,)):
        raise GuestError(f"the guest's {FEATURES} has another type than docs/guest-abi.md says")
    for item in module.imports:
        if item.module != WASI_NN:
            raise GuestError(f"the guest imports {item.module}.{item.name}; a guest may import {WASI_NN} only")
