"""A run over many photos on Ray Data: rows of addresses in, files of records out."""

from __future__ import annotations

import _thread
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from aicli._text import printable
from aicli.cluster.luggage import Luggage, packed
from aicli.cluster.photos import Pack, Photo, table_of, unpacked
from aicli.cluster.record_folder import RecordFolder
from aicli.cluster.session import OTHER_CPUS, Cluster
from aicli.cluster.tally import MOST_LINES, State, Tally, Told
from aicli.cluster.work import Answerer, Outcome, Report, Work
from aicli.cluster.writer import RecordWriter
from aicli.errors import AicliError

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

__all__ = ["Describe", "Show", "answered", "run"]

AT_ONCE = 32
"""Photos that an actor answers before it says how far it is. As many from archives, whose bytes lie in memory, are a
task."""
MOST_PER_TASK = 512
"""Photos that an actor is given: so many are begun anew when it is killed."""
TASKS = 8, 16
"""For each actor, in a small run and in a large one: few of them cost the driver little, and many end together."""
LEAST_PER_FILE, MOST_PER_FILE, FILES = 64, 8192, 200
"""Photos in a file of records: no fewer and no more, but for the last; and about so many files between."""
ACTORS_PER_WRITER = 16
LOOK_SECONDS = 0.5
TELL_SECONDS = 10.0
AGAIN_SECONDS = 10.0
"""After which a write that was interrupted and has not ended is interrupted once more: the engine calls Python code in
places where an exception is lost."""
REPORT_SECONDS = 1.0
"""An actor reports no more often than this: there may be thousands of them."""

Describe = Callable[[Any, Outcome], tuple[str | None, dict[str, str]]]
"""Makes of a photo and what came of it the line of a failure, and remarks by their kind; picklable."""
Show = Callable[[State], None]


def run(
    cluster: Cluster,
    photos: Sequence[Photo | Pack],
    work: Work,
    folder: RecordFolder,
    *,
    timeout: float | None,
    describe: Describe,
    show: Show,
    interrupted: Callable[[], bool] = bool,
) -> None:
    """Answers the photos that ``folder`` has no answer for, and writes their records into it.

    ``timeout`` is in seconds a photo; ``show`` is told from time to time how far the run is; ``interrupted`` says
    whether a signal has come to end it. Raises what the work raises when no photo can be answered, and
    :class:`AicliError` when the engine gives up.
    """
    import pandas  # noqa: F401 - here, or two threads of Ray Data would both begin to
    import ray

    done = frozenset(folder.answered())
    plain = [photo for photo in photos if isinstance(photo, Photo) and photo.key not in done]
    packs = [photo for photo in photos if isinstance(photo, Pack)]
    if not plain and not packs:
        return
    keep_quiet()
    actors = cluster.actors()
    size = photos_per_task(len(plain), actors)
    if packs:
        size = max(size, AT_ONCE)
    else:
        actors = min(actors, -(-len(plain) // size))
    tally = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=3)(Tally)
    tally = tally.options(scheduling_strategy=here()).remote()
    dataset = answered(
        source(plain, packs, size, done),
        work,
        packed(work.recipe),
        batch=min(size, AT_ONCE),
        actors=actors,
        share=cluster.share(),
        timeout=timeout,
        report=Reporter(tally, describe),
    )

    written = dataset.map_batches(
        RecordWriter,
        fn_constructor_args=(folder, secrets.token_hex(8), tally),
        batch_size=photos_per_file(len(plain), size),
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=-(-actors // ACTORS_PER_WRITER)),
        num_cpus=OTHER_CPUS,
    )
    finish(written, Watcher(tally, show, interrupted))


def photos_per_task(photos: int, actors: int) -> int:
    """For photos that lie by themselves: what an actor is given is their addresses."""
    small, large = (max(1, -(-photos // (tasks * actors))) for tasks in TASKS)
    return min(small, max(AT_ONCE, min(large, MOST_PER_TASK)))


def photos_per_file(photos: int, size: int) -> int:
    """As many as ``size`` goes into, so that no task is torn apart."""
    return -(-max(LEAST_PER_FILE, min(MOST_PER_FILE, photos // FILES)) // size) * size


def here() -> Any:
    """Where an actor has to be that must not be lost before the driver is."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def keep_quiet() -> None:
    """What Ray Data tells on standard error is for those who write pipelines."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def source(plain: Sequence[Photo], packs: Sequence[Pack], size: int, done: frozenset[str]) -> Dataset:
    """The photos as rows, ``size`` in a block; archives are opened by tasks, one each."""
    import ray.data  # from_arrow would ask a task about each block, and processes would start for those

    parts: list[Dataset] = []
    if plain:
        parts.append(ray.data.from_blocks([table_of(plain[at : at + size]) for at in range(0, len(plain), size)]))
    if packs:
        known = ray.put(done)

        def unpack(table: pa.Table) -> Iterator[pa.Table]:
            yield from unpacked(table, ray.get(known))

        closed = ray.data.from_blocks([table_of([pack]) for pack in packs])
        parts.append(closed.map_batches(unpack, batch_size=1, batch_format="pyarrow", num_cpus=OTHER_CPUS))
    return parts[0] if len(parts) == 1 else parts[0].union(parts[1])


def answered(
    dataset: Dataset,
    work: Work,
    luggage: Luggage,
    *,
    batch: int,
    actors: int,
    share: float,
    timeout: float | None = None,
    report: Report | None = None,
) -> Dataset:
    """The dataset with each table answered by one of ``actors`` actors, which take a ``share`` of a core."""
    import ray.data

    return dataset.map_batches(
        Answerer,
        fn_constructor_args=(work, luggage, timeout, report),
        batch_size=batch,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=share,
    )


class Reporter:
    """Tells the tally what an actor has answered; at once where there is something to say, else now and then."""

    def __init__(self, tally: Any, describe: Describe) -> None:
        self._tally, self._describe = tally, describe
        self._done = 0
        self._known: set[str] = set()
        self._said = 0.0

    def __call__(self, photos: Sequence[Any], outcomes: Sequence[Outcome]) -> None:
        import ray

        failures, remarks = [], dict[str, str]()
        for photo, outcome in zip(photos, outcomes, strict=True):
            failure, about = self._describe(photo, outcome)
            failures += [failure] if failure is not None else []
            remarks |= {kind: text for kind, text in about.items() if kind not in self._known}
        self._known |= remarks.keys()
        self._done += len(photos)
        now = time.monotonic()
        if not failures and not remarks and now - self._said < REPORT_SECONDS:
            return
        done, self._done, self._said = self._done, 0, now
        node = ray.get_runtime_context().get_node_id()
        report = Told(f"{node} {os.getpid()}", node, done, len(failures), tuple(failures[:MOST_LINES]), remarks)
        self._tally.add.remote(report)

    def stopped(self, error: AicliError) -> None:
        import ray

        ray.get(self._tally.stop.remote(error))


def finish(dataset: Dataset, watcher: Watcher) -> None:
    """Runs it all. Raises the :class:`AicliError` that an actor ended with.

    In this thread, as Ray Data ends its own when Ctrl-C is heard here: one that is left would abort the process.
    """
    watcher.start()
    try:
        dataset.materialize()
    except BaseException as error:
        watcher.end()
        if watcher.problem is None and not isinstance(error, Exception):
            raise
        watcher.look()
        ended = watcher.last.end if watcher.last is not None else None
        raise watcher.problem or ended or cause_of(error) from None
    watcher.end()
    watcher.look()
    if watcher.problem is not None:
        raise watcher.problem


class Watcher(threading.Thread):
    """Tells from time to time how far a run is, and ends it with the ``problem`` that it is answered with."""

    def __init__(self, tally: Any, show: Show, interrupted: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self.problem: AicliError | None = None
        self.last: State | None = None
        self._tally, self._show, self._interrupted = tally, show, interrupted
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            if self._interrupted():
                break
            self.look()
            if self.problem is not None:
                _thread.interrupt_main()  # which is in finish, or in end
                break
        while not self._ended.wait(AGAIN_SECONDS):
            _thread.interrupt_main()

    def look(self) -> None:
        import ray

        with suppress(ray.exceptions.RayError):  # it tells how far the run is, and little more
            state = ray.get(self._tally.state.remote(), timeout=TELL_SECONDS)
            try:
                self._show(state)
            except AicliError as error:
                self.problem = self.problem or error
            self.last = state

    def end(self) -> None:
        self._ended.set()
        try:
            self.join()
            time.sleep(0)
        except KeyboardInterrupt:
            if self.problem is None:
                raise
            self.join()


def cause_of(error: BaseException) -> AicliError:
    """The project's own error behind those of the engine, else one line of what is behind them."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, AicliError):
            return seen
        error, seen = seen, getattr(seen, "cause", None) or seen.__cause__ or seen.__context__
    said = str(error).strip().splitlines()
    return AicliError(f"the cluster gave up: {type(error).__name__}: {printable(said[0] if said else '')}")
