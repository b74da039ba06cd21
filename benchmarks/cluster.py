"""``--cluster`` beside ``--jobs`` on one machine: what the engine costs once, and its rate after that.

    python benchmarks/cluster.py --photos 2000 --task classify

Each way answers a quarter of the photos and then all of them: the line through the two has the rate as its slope, and
what is left for no photo at all is the fixed cost. It is drawn through seconds and through core-seconds, which all
processes of a run used together: those hold on a machine that is busy with other things too. The nodes share this
machine's cores, so two of them are no faster than one; what is seen is whether the engine gets in the way.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

PROJECT = Path(__file__).resolve().parents[1]
NODES = 100
CORES = len(os.sched_getaffinity(0))

GRANTED = """Taken for granted: every core is as fast as here and has photos all the time; buckets,
network and disk are not the limit; the addresses are listed already; Ray's own processes take as much of a large
cluster as of a small one."""


class Used(NamedTuple):
    """What a run took: time, cores in all processes, and in the command's own, which hands out the photos."""

    seconds: float
    core_seconds: float
    command: float


class Measured(NamedTuple):
    """Two numbers of photos, and what each took."""

    way: str
    few: int
    for_few: Used
    many: int
    for_many: Used

    def rate(self, of: int) -> float:
        """Photos a second, or with ``of`` 1 a core-second, in the steady state."""
        return (self.many - self.few) / max(self.for_many[of] - self.for_few[of], 1e-9)

    def fixed(self, of: int) -> float:
        return max(0.0, self.for_few[of] - self.few / self.rate(of))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--task", choices=["classify", "detect-faces"], default="classify")
    parser.add_argument(
        "--nodes", type=int, nargs="+", default=[1, 2], help="sizes of the clusters, one after the other"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folders = [photos(Path(scratch) / str(count), count) for count in (options.photos // 4, options.photos)]
        clock = CoreClock()
        found = [measured(clock, f"--jobs {CORES}", options.task, folders, "-j", str(CORES))]
        for count in options.nodes:
            with cluster([max(1, CORES // count)] * count) as address:
                way = f"--cluster, {count} node{'s' if count > 1 else ''}"
                found.append(measured(clock, way, options.task, folders, "--cluster", address))
    show(found, options.task)


def photos(folder: Path, count: int) -> Path:
    """The example photos under ``count`` names."""
    folder.mkdir(parents=True)
    sources = sorted(path for path in (PROJECT / "examples").iterdir() if path.suffix in (".jpg", ".png"))
    for number in range(count):
        source = sources[number % len(sources)]
        shutil.copy(source, folder / f"{number}{source.suffix}")
    return folder


@contextmanager
def cluster(nodes: list[int]) -> Iterator[str]:
    """A cluster with a node for each number of cores."""
    from ray.cluster_utils import Cluster

    made: Any = Cluster()
    try:
        for cores in nodes:
            made.add_node(num_cpus=cores, include_dashboard=False)
        made.wait_for_nodes()
        yield str(made.address)
    finally:
        made.shutdown()


def measured(clock: CoreClock, way: str, task: str, folders: list[Path], *how: str) -> Measured:
    used = []
    for folder in folders:
        out = folder.parent / f"{folder.name}-records"
        name = f"{out}/" if "--cluster" in how else f"{out}.jsonl"
        command = [sys.executable, "-m", "aicli", task, str(folder), "-O", name, "--overwrite", "-q", *how]
        begun, cores = time.perf_counter(), clock.read()
        with subprocess.Popen(command, cwd=PROJECT) as run:
            if run.wait():
                raise SystemExit(f"{way} ended with {run.returncode}")
        used.append(Used(time.perf_counter() - begun, clock.read() - cores, clock.of(run.pid)))
        seconds, core_seconds, own = used[-1]
        what = (
            f"{way}: {folder.name} photos in {seconds:.1f} s, {core_seconds:.1f} core-seconds, {own:.1f} of the command"
        )
        print(what, flush=True)
    few, many = (len(list(folder.iterdir())) for folder in folders)
    return Measured(way, few, used[0], many, used[1])


class CoreClock(threading.Thread):
    """Adds up what the processes that this one has started use, also those that are ended by a signal."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._used: dict[tuple[int, int], float] = {}
        self.start()

    def run(self) -> None:
        while True:
            self._look()
            time.sleep(0.1)

    def _look(self) -> None:
        tick = os.sysconf("SC_CLK_TCK")
        parents: dict[int, int] = {}
        found: dict[int, tuple[int, float]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    parents[int(entry.name)] = int(fields[1])
                    found[int(entry.name)] = (int(fields[19]), sum(map(int, fields[11:13])) / tick)
        known = {process for process, begun in self._used if found.get(process, (None, 0))[0] == begun}
        ours, grown = {os.getpid(), *known}, True
        while grown:
            more = {child for child, parent in parents.items() if parent in ours} - ours
            ours |= more
            grown = bool(more)
        for process in (ours - {os.getpid()}) & found.keys():
            begun, used = found[process]
            self._used[process, begun] = used

    def of(self, process: int) -> float:
        return sum(used for (number, _), used in self._used.items() if number == process)

    def read(self) -> float:
        self._look()
        return sum(self._used.values())


def show(found: list[Measured], task: str) -> None:
    few, many = found[0].few, found[0].many
    print(f"\n{CORES} cores, {machine()}, Python {platform.python_version()}")
    for of, unit in enumerate(("s", "core-seconds")):
        alone = found[0].rate(of)
        print(f"\n| {task}, {unit} | {few} photos | {many} photos | fixed | photos per {unit} | of `--jobs` |")
        print("| --- | --- | --- | --- | --- | --- |")
        for item in found:
            rate = f"{item.rate(of):.1f} | {item.rate(of) / alone:.2f}"
            print(
                f"| `{item.way}` | {item.for_few[of]:.1f} | {item.for_many[of]:.1f} | {item.fixed(of):.1f} | {rate} |"
            )
    for item in found[1:]:
        model(item)


def machine() -> str:
    """The processor by its name, as far as the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def model(item: Measured) -> None:
    """A million photos on 100 nodes by arithmetic, and what that takes for granted."""
    cores, photos = NODES * CORES, 1_000_000
    own = (item.for_many.command - item.for_few.command) / (item.many - item.few)
    answering, handing_out = photos / (cores * item.rate(1)), photos * own
    print(f"\n{NODES} nodes of {CORES} cores, a million photos, by `{item.way}`:")
    print(f"answering {answering:.0f} s, handing out {handing_out:.0f} s in the one command, whichever is longer;")
    print(f"and {item.fixed(0):.0f} s to start and to end. {GRANTED}")


if __name__ == "__main__":
    main()
