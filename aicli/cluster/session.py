"""A connection to Ray: a cluster that runs, or one of this machine for one run."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from aicli._text import printable, shown
from aicli.errors import AicliError, UnavailableError, UsageError

__all__ = ["Cluster", "connected", "require_ray"]

AUTO, LOCAL = "auto", "local"
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_ENABLE_AUTO_CONNECT": "0"}
"""Ray sends nobody a report of its use, and its own lines on standard error are left out. A thread of its own that has
not heard of the end must not connect again, to whatever cluster it finds."""
REACH_SECONDS = 5.0
HEAD_SECONDS = 40.0
"""After which a head that does not answer is lost. One that is started anew, as KubeRay can do it, may come back until
then; Ray itself would end the command after 60, without a word."""
NODE_SECONDS = 3.0
"""The same for the node by which the command is connected: once it has died it is dead, and Ray waits for 10."""
LOOK_SECONDS = 2.0
CHECK_SECONDS = 120.0
"""For every node to start a Python that says what is installed there."""

WORK_CPUS, OTHER_CPUS = 0.9, 0.05
"""Shares of a core: of an actor that answers photos, and of what reads and writes. Whole cores for the first would
leave nothing for the others where there are as many actors as cores, and the run would stand still."""
SHARED_CPUS = 0.45
"""Of an actor where there are several nodes: those of a lost node, which Ray waits for, find room on the others."""


def require_ray() -> None:
    """Raises :class:`UnavailableError`, which says how to install it, where Ray Data is missing; imports nothing."""
    if find_spec("ray") is None or find_spec("pyarrow") is None:
        from aicli._extras import install_command

        raise UnavailableError(f"a cluster needs Ray Data; run: {install_command('ray')}")


class Cluster:
    """What a run is spread over: its nodes, and how many photos are worked on at once."""

    def __init__(self, jobs: int | None) -> None:
        self._jobs = jobs

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes that are alive, as Ray describes them."""
        import ray

        return [node for node in ray.nodes() if node["Alive"]]

    def actors(self) -> int:
        """As many as were asked for, else one for each core. Raises :class:`UsageError` where there is none."""
        cores = sum(int(node["Resources"].get("CPU", 0)) for node in self.nodes())
        if cores < 1:
            raise UsageError("no node of the cluster has a core to work with; add nodes to it")
        return min(self._jobs or cores, cores)

    def share(self) -> float:
        """Of a core, for an actor."""
        return WORK_CPUS if len(self.nodes()) == 1 else SHARED_CPUS


class LifeWatch(threading.Thread):
    """Looks whether anybody listens at addresses; ``lost`` is called, once, when that is over at one of them.

    ``watched`` has for each address what is there, and after how many seconds of silence it is lost. In a thread of its
    own: calls of Ray may wait for ever.
    """

    def __init__(self, watched: dict[str, tuple[str, float]], lost: Callable[[AicliError], None]) -> None:
        super().__init__(daemon=True)
        self._watched, self._lost = watched, lost
        self._ended = threading.Event()

    def run(self) -> None:
        heard = dict.fromkeys(self._watched, time.monotonic())
        while not self._ended.wait(LOOK_SECONDS):
            for address, (what, patience) in self._watched.items():
                if is_reached(address):
                    heard[address] = time.monotonic()
                elif (silent := time.monotonic() - heard[address]) >= patience:
                    self._lost(AicliError(f"{what}, {address}, has not answered for {silent:.0f} s"))
                    return

    def end(self) -> None:
        self._ended.set()
        if self.ident is not None:  # else an interrupt came before it began
            self.join()


def what_a_run_needs() -> dict[str, tuple[str, float]]:
    """For a watch: the head of the cluster that this process is connected to, and the node that it is connected by."""
    import ray

    context = ray.get_runtime_context()
    needed = {context.gcs_address: ("the head of the cluster", HEAD_SECONDS)}
    for node in ray.nodes():
        if node["NodeID"] == context.get_node_id():
            address = f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}"
            needed[address] = ("this machine's node of the cluster", NODE_SECONDS)
    return needed


def knock(address: str) -> None:
    """Raises :class:`OSError` where nobody listens, and also :class:`OverflowError` for a port that cannot be."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()


def is_reached(address: str) -> bool:
    try:
        knock(address)
    except OSError:
        return False
    return True


@contextmanager
def connected(address: str, jobs: int | None, cores: int, lost: Callable[[AicliError], None]) -> Iterator[Cluster]:
    """Connects to the cluster at ``HOST:PORT``, to the one that this machine belongs to (``auto``), or to a new one on
    ``cores`` of this machine (``local``), and leaves it in the end. Raises :class:`UsageError` of one line.

    ``lost`` is called by another thread when the head, or this machine's node, has gone for good. It has to end the
    process: whatever waits for Ray then cannot be woken.
    """
    require_ray()
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if address not in (AUTO, LOCAL):
        reach(address)
    import ray

    how: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL, "configure_logging": True}
    if address == LOCAL:
        how |= {"num_cpus": jobs or cores, "num_gpus": 0, "include_dashboard": False}
    watch = None
    try:
        join(address, how)
        watch = LifeWatch(what_a_run_needs(), lost)
        watch.start()
        cluster = Cluster(jobs)
        if address != LOCAL:
            check_versions(cluster.nodes())
        yield cluster
    finally:
        if watch is not None and address == LOCAL:
            watch.end()  # of what is ended now
        with suppress(Exception):
            ray.shutdown()  # also what an interrupted start has begun
        if watch is not None:
            watch.end()


def join(address: str, how: dict[str, Any]) -> None:
    import ray
    import ray._private.worker as driver

    vars(driver)["_worker_logs_enabled"] = False  # what Ray does about a lost process is no news on standard output
    try:
        with silence(), undisturbed():
            ray.init(address=address, **how)
    except ConnectionError:
        if address == AUTO:
            reason = "no Ray cluster runs on this machine; start one with Ray, give the address of one, or take local"
            raise UsageError(reason) from None
        raise UsageError(f"the cluster at {shown(address)} cannot be reached; check the address") from None
    except Exception as error:  # RuntimeError for versions that differ, and whatever its services meet
        raise UsageError(f"the cluster {shown(address)} cannot be used: {printable(str(error))}") from None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Ray takes SIGTERM for itself, and tells the cluster the command line as UTF-8: there may be names of photos in
    that which are none, and many."""
    import ray._private.utils as theirs

    ours: dict[str, Any] = {"set_sigterm_handler": lambda handler: None, "get_entrypoint_name": lambda: "aicli"}
    former = {name: getattr(theirs, name, None) for name in ours}
    vars(theirs).update(ours)
    try:
        yield
    finally:
        vars(theirs).update(former)


@contextmanager
def silence() -> Iterator[None]:
    """Whatever is written to standard error, by libraries in C++ too, is lost in this block."""
    sys.stderr.flush()
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def reach(address: str) -> None:
    """Raises :class:`UsageError` where nothing listens at an address: Ray itself would try for a minute."""
    if "://" in address:
        raise UsageError(
            f"{shown(address)}: give the cluster as HOST:PORT, from a machine that belongs to it; from elsewhere send "
            "the command there with: ray job submit"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(
            f"{shown(address)}: no address of a cluster; give auto, local or HOST:PORT, such as 10.0.0.1:6379"
        )
    try:
        knock(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"the cluster at {shown(address)} cannot be reached ({reason}); check the address") from None


def node_versions() -> dict[str, str]:
    """What has to be the same wherever photos are answered, for the same answers.

    Sent to the nodes by value, as aicli may be missing there.
    """
    import importlib.metadata
    import platform

    found = {"Python": platform.python_version().rpartition(".")[0]}
    for package in ("aicli-vision", "pillow", "ai-edge-litert", "pyarrow"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "missing"
    return found


def check_versions(nodes: list[dict[str, Any]]) -> None:
    """Raises :class:`UsageError` for the first node whose packages are not this machine's."""
    import ray
    from ray import cloudpickle
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ours = node_versions()
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        ask = ray.remote(num_cpus=0, max_retries=0)(node_versions)
        asked = {
            node["NodeManagerAddress"]: ask.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote()
            for node in nodes
        }
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    for name, answer in asked.items():
        try:
            theirs = ray.get(answer, timeout=CHECK_SECONDS)
        except Exception as error:
            raise UsageError(f"node {name} of the cluster does not answer: {printable(str(error))}") from None
        for package, mine in ours.items():
            if theirs[package] != mine:
                has = f"{package} {theirs[package]}" if theirs[package] != "missing" else f"no {package}"
                raise UsageError(f"node {name} has {has}, this machine {mine}; install the same on every node")
