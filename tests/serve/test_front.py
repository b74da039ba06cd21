"""What the front process finds by itself: the name it is asked by, photos that lost bytes, clients that go away."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("starlette")

from aicli.serve.endpoints.photos import LEAST_KINDS, has_many_kinds
from aicli.serve.http.origins import host_name
from aicli.serve.service import UNWATCHED, Watch
from aicli.serve.settings import Settings


@pytest.mark.parametrize("allowed", ["photos.example.org", "Photos.Example.org."])
def test_an_allowed_name_may_end_with_the_dot_of_the_root(allowed: str) -> None:
    names = Settings(Path("unused"), allow_hosts=(allowed,)).host_names
    assert names is not None
    for host in ("photos.example.org", "Photos.Example.org.", "photos.example.org.:8080", "photos.example.org:80"):
        assert host_name(host) in names
    for host in ("photos.example.org..", "localhost.", "127.0.0.1.", "localhost.evil.example.", "[::1].", "", "."):
        assert host_name(host) not in names


def test_kinds_of_bytes_are_counted_as_a_set_counts_them() -> None:
    chance = random.Random(3)
    steps = b"".join(bytes([kind]) * 2048 for kind in range(LEAST_KINDS))
    bodies = [b"", steps, steps + b"\xff", steps + bytes(5000), steps[1:] + b"\xff", b"\xff" * 2047 + steps]
    for _ in range(300):
        kinds = chance.sample(range(256), chance.choice((1, 3, 199, 200, 201, 202, 256)))
        bodies.append(bytes(kinds) + bytes(chance.choices(kinds, k=chance.randrange(6000))))
        bodies.append(bytes(chance.choices(kinds[:2], k=chance.randrange(6000))) + bytes(kinds))
    for body in bodies:
        assert has_many_kinds(body) == (len(set(body)) > LEAST_KINDS)


class Counted(bytes):
    """Bytes that note how many of their parts were looked at one by one."""

    singly = 0

    def __getitem__(self, part: Any) -> Any:
        return Counted(super().__getitem__(part))

    def translate(self, table: Any, delete: bytes = b"") -> Counted:  # type: ignore[override]
        return Counted(super().translate(table, delete))

    def __iter__(self) -> Any:
        Counted.singly += len(self)
        return super().__iter__()


def test_kinds_of_bytes_take_no_look_at_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "singly", 0)
    assert not has_many_kinds(Counted(b"A" * 2048 + b"BC" * (1 << 20)))
    assert 0 < Counted.singly <= 3 * 2048


def test_a_watch_that_fails_is_logged_and_the_work_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("aicli.serve"), "propagate", True)  # whatever another test has set

    async def fails() -> Any:
        raise OSError("no more to receive")

    async def work() -> bool:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: strays.append(told))
        with Watch(SimpleNamespace(receive=fails)) as watch:  # type: ignore[arg-type]
            while watch._watcher is None or not watch._watcher.done():  # type: ignore[attr-defined]
                await asyncio.sleep(UNWATCHED / 10)
        del watch._watcher  # type: ignore[attr-defined]
        gc.collect()
        return watch.struck

    strays: list[Any] = []
    with caplog.at_level("ERROR", "aicli.serve"):
        assert not asyncio.run(work())
    assert not strays
    assert [(record.message, record.exc_info is not None) for record in caplog.records] == [("unhandled", True)]


def test_a_client_that_goes_away_ends_the_work() -> None:
    async def leaves() -> Any:
        return {"type": "http.disconnect"}

    async def work() -> bool:
        with Watch(SimpleNamespace(receive=leaves)) as watch:  # type: ignore[arg-type]
            await asyncio.sleep(60)
        return watch.struck

    assert asyncio.run(work())


def test_a_watch_leaves_nothing_to_the_collector() -> None:
    """Which runs after some thousand requests, so that the memory of each would wait for it."""

    async def stays() -> Any:
        await asyncio.sleep(60)

    async def work() -> bool:
        with Watch(SimpleNamespace(receive=stays)) as watch:  # type: ignore[arg-type]
            while watch._watcher is None:  # type: ignore[attr-defined]
                await asyncio.sleep(UNWATCHED / 10)
            await asyncio.sleep(UNWATCHED / 10)
        seen = weakref.ref(watch)
        del watch
        for _ in range(10):
            await asyncio.sleep(0)
        return seen() is None

    gc.disable()
    try:
        assert asyncio.run(work())
    finally:
        gc.enable()
