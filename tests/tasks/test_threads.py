"""Objects that several threads use, one after the other, on every runtime: wasmer binds its instances to one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from aicli import Classifier, FaceDetector
from aicli.guest.client import Guest
from aicli.nn.engines import Engine, load_engine

T = TypeVar("T")


def in_another_thread(call: Callable[[], T]) -> T:
    found: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("task", [Classifier, FaceDetector])
def test_threads_take_turns(task: type[Any], runtime: str, fresh: bool, examples: Path) -> None:
    photo = examples / "astronaut.png"
    made_here = task(runtime=runtime, fresh_guest=fresh)
    first = made_here(photo)
    assert in_another_thread(lambda: made_here(photo)) == first
    assert made_here(photo) == in_another_thread(lambda: made_here(photo)) == first
    made_there = in_another_thread(lambda: task(runtime=runtime))
    assert made_there(photo) == first
    assert made_here.guest.memory_size >= 0 and in_another_thread(lambda: made_there.guest.memory_size) >= 0
    in_another_thread(made_there.guest.prepare)
    assert made_there(photo) == first


def test_another_thread_goes_on_with_the_same_interpreter(runtime: str, examples: Path) -> None:
    engine = load_engine()
    made: list[object] = []

    def count(**arguments: Any) -> Any:
        made.append(arguments)
        return engine.make(**arguments)

    classifier = Classifier(runtime=runtime)
    classifier.guest = Guest(
        "classify", {"classifier": classifier.model.path}, engine=Engine("x", "1", count), runtime=runtime
    )
    first = classifier(examples / "chelsea.png")
    for _ in range(3):
        assert in_another_thread(lambda: classifier(examples / "chelsea.png")) == first
    assert len(made) == 1
