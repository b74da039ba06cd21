"""Worker processes, whether they are copies of one that has loaded everything or load it themselves."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from aicli import Classifier, FaceDetector
from aicli.errors import AicliError, GuestTimeout, UsageError, WorkerDied
from aicli.nn.engines import Engine
from aicli.options import ClassifyOptions
from aicli.tasks.many import TaskRecipe, in_order
from aicli.workers.pool import Refused, WorkerPool
from aicli.workers.start import can_fork

linux = pytest.mark.skipif(not can_fork(), reason="workers are not copied here")


class Recipe(NamedTuple):
    """Answers with what it is told; ``note`` stands for what the handle loads. ``mark`` is a file made at the start."""

    note: str = "loaded"
    mark: Path | None = None

    def start(self) -> Handle:
        if self.mark is not None:
            self.mark.touch()
        if self.note == "refuse":
            raise UsageError("this cannot be started")
        if self.note == "no processes":
            os.fork = no_process
        return Handle(self.note)


def no_process() -> int:
    raise BlockingIOError(errno.EAGAIN, "nothing left")


class Handle:
    def __init__(self, note: str) -> None:
        self.notes = (note,)
        self.loaded_by = os.getpid()
        self.warm = False

    def warm_up(self) -> None:
        self.warm = True
        if self.notes == ("cold",):
            raise AicliError("nothing to warm up with")
        if self.notes == ("deadly",):
            os.kill(os.getpid(), signal.SIGFPE)

    def __call__(self, job: Any) -> Any:
        if job == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if job == "leave":
            os._exit(7)
        if job == "sleep":
            time.sleep(60)
        if job == "fail":
            raise AicliError("no")
        if job == "print":
            print("not an answer", flush=True)
        return job, os.getpid(), self.loaded_by, self.warm


@pytest.fixture(params=[pytest.param(True, marks=linux, id="copies"), pytest.param(False, id="processes")])
def fork(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def run(jobs: list[Any], *, fork: bool, size: int = 2, timeout: float | None = None) -> Iterator[Any]:
    with WorkerPool(Recipe(), size, timeout, fork=fork) as pool:
        for _, future in in_order(pool, jobs, size):
            yield future.exception() or future.result()


def is_gone(process: int) -> bool:
    for _ in range(200):
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


def test_answers_come_in_order_from_several_processes(fork: bool) -> None:
    answers = list(run(list(range(20)), fork=fork))
    assert [answer[0] for answer in answers] == list(range(20))
    workers = {answer[1] for answer in answers}
    assert len(workers) == 2 and os.getpid() not in workers
    assert all(is_gone(worker) for worker in workers)


def test_copies_share_what_one_process_has_loaded(fork: bool) -> None:
    answers = list(run(list(range(20)), fork=fork))
    if fork:
        assert len({answer[2] for answer in answers}) == 1
    assert all((answer[1] != answer[2], answer[3]) == (fork, fork) for answer in answers)


def test_a_process_that_ends_costs_one_image(fork: bool) -> None:
    answers = list(run([1, "crash", 2, "leave", 3, "fail", "print", 4], fork=fork))
    assert [answer[0] for answer in answers if isinstance(answer, tuple)] == [1, 2, 3, "print", 4]
    crash, leave, fail = (answer for answer in answers if not isinstance(answer, tuple))
    assert isinstance(crash, WorkerDied) and "signal 11" in str(crash)
    assert isinstance(leave, WorkerDied) and "exit code 7" in str(leave)
    assert str(fail) == "no"


def test_a_late_image_is_given_up(fork: bool) -> None:
    begun = time.monotonic()
    answers = list(run([1, "sleep", 2], fork=fork, timeout=1.0))
    assert isinstance(answers[1], GuestTimeout) and "longer than 1 s" in str(answers[1])
    assert (answers[0][0], answers[2][0]) == (1, 2)
    assert time.monotonic() - begun < 30


def test_leaving_ends_whatever_works(fork: bool) -> None:
    with WorkerPool(Recipe(), 2, fork=fork) as pool:
        worker = pool.submit(1).result()[1]
        sleeping = pool.submit("sleep")
        time.sleep(0.2)
    assert is_gone(worker)
    assert isinstance(sleeping.exception(5), WorkerDied)


def test_a_recipe_that_cannot_be_started(fork: bool) -> None:
    with WorkerPool(Recipe("refuse"), 2, fork=fork) as pool:
        for future in [pool.submit(1), pool.submit(2)]:
            with pytest.raises(Refused, match="cannot be started"):
                future.result(30)


def test_notes_arrive_and_a_failed_warm_up_is_no_failure(fork: bool) -> None:
    with WorkerPool(Recipe("cold"), 2, fork=fork) as pool:
        assert pool.submit(5).result()[0] == 5
        assert pool.notes == ("cold",)


@linux
def test_loading_begins_before_the_first_job(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with WorkerPool(Recipe(mark=mark), 2, fork=True):
        end = time.monotonic() + 30
        while not mark.exists() and time.monotonic() < end:
            time.sleep(0.01)
    assert mark.exists()


@linux
def test_a_server_that_was_ended_is_started_again() -> None:
    with WorkerPool(Recipe(), 2, fork=True) as pool:
        _, _, server, _ = pool.submit(1).result()
        os.kill(server, signal.SIGKILL)
        answers = [pool.submit(job) for job in ("leave", "leave", 2, 3)]
        assert [future.result()[0] for future in answers[2:]] == [2, 3]
        assert all(isinstance(future.exception(), WorkerDied) for future in answers[:2])


@linux
def test_a_warm_up_that_ends_its_process_costs_no_image() -> None:
    with WorkerPool(Recipe("deadly"), 2, fork=True) as pool:
        answers = [future.result() for future in [pool.submit(job) for job in range(4)]]
    assert [answer[0] for answer in answers] == [0, 1, 2, 3]
    assert all(answer[1] == answer[2] for answer in answers)  # fresh processes, which have not warmed up


@linux
def test_a_system_without_processes_is_told() -> None:
    with WorkerPool(Recipe("no processes"), 2, fork=True) as pool:
        for job in range(3):
            with pytest.raises(AicliError, match=r"cannot start a worker process \(.*\); use fewer jobs"):
                pool.submit(job).result()


@linux
def test_workers_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    code = (
        "import sys, os; sys.path[:0] = sys.argv[1:]\n"
        "from test_pool import Recipe, WorkerPool\n"
        "pool = WorkerPool(Recipe(), 2, fork=True)\n"
        "print(*pool.submit(1).result()[1:3], flush=True)\n"
        "pool.submit('sleep')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", code, str(here), str(here.parents[1])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL
    processes = [int(word) for word in done.stdout.split()]
    assert len(processes) == 2
    assert all(is_gone(process) for process in processes)


def private_kilobytes(process: int) -> int:
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private"))


@linux
def test_a_copy_has_the_networks_in_common_with_the_others(tmp_path: Path) -> None:
    """One more job costs less than half of what a process of its own does, with the packaged classifier."""
    from PIL import Image

    Image.new("RGB", (300, 300)).save(tmp_path / "a.png")
    found = {}
    for fork in (True, False):
        recipe = TaskRecipe(Measured, ClassifyOptions(threads=1))
        with WorkerPool(recipe, 2, fork=fork) as pool:
            found[fork] = pool.submit(tmp_path / "a.png").result()
    assert found[True] < found[False] / 2


class Measured:
    """A classifier that answers with the memory that its process shares with no other, in kilobytes."""

    def __init__(self, **keywords: Any) -> None:
        self.classifier = Classifier(**keywords)

    def warm_up(self) -> None:
        self.classifier.warm_up()

    def __call__(self, image: Any) -> int:
        self.classifier(image)
        return private_kilobytes(os.getpid())


@pytest.mark.parametrize("task", [Classifier, FaceDetector])
@pytest.mark.parametrize("threads", [1, 2])
def test_only_networks_without_threads_are_warmed_up(
    task: type[Classifier | FaceDetector], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    make = Engine.interpreter

    def counted(engine: Engine, model: Path | bytes, number: int) -> Any:
        made.append(number)
        return make(engine, model, number)

    monkeypatch.setattr(Engine, "interpreter", counted)
    loaded = task(threads=threads)
    planned = {threads} if task is Classifier else set()  # with its memory, as the input's shape is known
    assert set(made) == planned
    made.clear()
    loaded.warm_up()
    assert set(made) == ({1} - planned if threads == 1 else set())
    assert loaded.guest.times == {}
    made.clear()
    loaded(np.zeros((64, 64, 3), np.uint8))
    assert set(made) == (set() if threads == 1 else {2} - planned)
