"""A head node that dies in the middle of a run: the command ends with a line, and another cluster goes on."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from aicli.cluster import session
from aicli.errors import AicliError
from tests.cluster.conftest import Aicli, head, hooked, require_ray, rows_of, start
from tests.cluster.test_run import many, photos_answered, wait_for


@pytest.fixture
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Makes clusters of some nodes with a core each."""
    require_ray()
    patch = hooked(tmp_path_factory)
    made: list[Any] = []

    def make(nodes: int) -> Any:
        made.append(cluster := head())
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
        cluster.wait_for_nodes()
        return cluster

    yield make
    for cluster in made:
        with suppress(Exception):
            cluster.shutdown()
    patch.undo()


@pytest.mark.slow
def test_a_head_that_dies(clusters: Any, aicli: Aicli, examples: Path, tmp_path: Path) -> None:
    """Its processes, on the machine where the command runs: the node is missed first."""
    photos, out = many(tmp_path / "photos", examples, 90, "slow"), tmp_path / "labels"
    cluster = clusters(2)
    command = ("classify", photos, "-O", out, "--cluster")
    run = start(*command, cluster.address)
    try:
        wait_for(lambda: out.exists() and photos_answered(out) >= 60)
        for kind in ("gcs_server", "raylet"):
            for process in cluster.head_node.all_processes[kind]:
                os.kill(process.process.pid, signal.SIGKILL)
        _, err = run.communicate(timeout=60)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 1
    assert err.count("\n") == 1 and err.startswith("aicli: this machine's node of the cluster, "), err
    assert err.endswith(f" s; the records so far are in {out}, continue with --resume\n")
    before = photos_answered(out)
    assert not (out / "_SUCCESS").exists()
    cluster.shutdown()

    resumed = aicli(*command, clusters(1).address, "--resume")
    assert resumed.code == 0 and f"{before} answered before" in resumed.err, resumed.err
    assert [row["image"] for row in rows_of(out)] == sorted(f"{photos}/slow{number}.png" for number in range(90))


class Clock:
    """Time that passes only where a watch waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return False

    def monotonic(self) -> float:
        return self.now


def test_who_listens_no_more_is_lost_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that comes back in between is not."""
    clock = Clock()
    monkeypatch.setattr(session, "time", clock)
    monkeypatch.setattr(
        session, "is_reached", lambda address: address == "node" or clock.now < 10 or 40 < clock.now < 60
    )
    told: list[AicliError] = []
    watch = session.LifeWatch({"10.0.0.1:6379": ("the head", 40.0), "node": ("this node", 3.0)}, told.append)
    monkeypatch.setattr(watch, "_ended", clock)
    watch.run()
    assert [str(error) for error in told] == ["the head, 10.0.0.1:6379, has not answered for 40 s"]
    assert clock.now == 98


def test_whether_anybody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert session.is_reached(address)
    assert not session.is_reached(address)
