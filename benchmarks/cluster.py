"""``--cluster`` beside ``--jobs`` on one machine: what the engine costs once, and its rate after that.

    python benchmarks/cluster.py --photos 2000 --task classify

Each way answers a quarter of the photos and then all of them: the line through the two has the rate as its slope, and
what is left for no photo at all is the fixed cost. It is drawn through seconds and through core-seconds, which all
processes of a run used together: those hold on a machine that is busy with other things too. The nodes have had a run
before, so that their own start is not taken for work. They share this machine's cores, so two of them are no faster
than one; what is seen is whether the engine gets in the way. ``local``, which starts Ray anew, answers a quarter only.

What the command itself does for a photo is seen by many that are not there: nobody has work with those but who lists
them and hands them out.
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
SETTLE_SECONDS = 2.0
"""For the processes of a run to end, in a cluster that stays."""

GRANTED = """Taken for granted: every core is as fast as here and has photos all the time; buckets,
network and disk are not the limit; the addresses are listed already; Ray's own processes take as much of a large
cluster as of a small one."""


KINDS = {
    " -m aicli ": "the command",
    "aicli.workers.": "worker processes of aicli",
    "(Answerer)": "actors that answer",
    "(RecordWriter)": "actors that write",
    "ray::": "other Python processes of Ray",
    "default_worker": "other Python processes of Ray",
    "": "services of Ray",
}
"""Processes by what their command line holds; the first that fits."""


class Used(NamedTuple):
    """What a run took: time, cores in all processes, and in those of each kind, with their number."""

    seconds: float
    core_seconds: float
    kinds: dict[str, tuple[int, float]]

    def of(self, unit: int) -> float:
        return self.core_seconds if unit else self.seconds


class Measured(NamedTuple):
    """Two numbers of photos, and what each took."""

    way: str
    few: int
    for_few: Used
    many: int
    for_many: Used

    def rate(self, of: int) -> float:
        """Photos a second, or with ``of`` 1 a core-second, in the steady state."""
        return (self.many - self.few) / max(self.for_many.of(of) - self.for_few.of(of), 1e-9)

    def fixed(self, of: int) -> float:
        return max(0.0, self.for_few.of(of) - self.few / self.rate(of))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--task", choices=["classify", "detect-faces"], default="classify")
    parser.add_argument("--nodes", type=int, nargs="*", default=[1, 2], help="sizes of clusters, one after the other")
    parser.add_argument("--absent", type=int, nargs="*", default=[20000, 60000], help="photos that are not there")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folders = [photos(Path(scratch) / str(count), count) for count in (options.photos // 4, options.photos)]
        clock = CoreClock()
        found = [measured(clock, f"--jobs {CORES}", options.task, folders, "-j", str(CORES))]
        say("--cluster local", folders[0], used(clock, options.task, folders[0], "--cluster", "local"))
        warm = photos(Path(scratch) / "warm", 8)
        command = []
        for nodes in options.nodes:
            with cluster([max(1, CORES // nodes)] * nodes) as address:
                used(clock, options.task, warm, "--cluster", address)
                way = f"--cluster, {nodes} node{'s' if nodes > 1 else ''}"
                found.append(measured(clock, way, options.task, folders, "--cluster", address))
                for count in options.absent if nodes == options.nodes[-1] else ():
                    names = absent(Path(scratch), count)
                    command.append(used(clock, options.task, names, "--cluster", address).kinds["the command"][1])
                    print(
                        f"the command: {command[-1]:.1f} core-seconds for {count} photos that are not there", flush=True
                    )
        each = (command[-1] - command[0]) / (options.absent[-1] - options.absent[0]) if len(command) > 1 else None
    show(found, options.task, each)


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


def absent(folder: Path, count: int) -> Path:
    """A list of photos that are not there, and of one that is."""
    names = folder / f"{count}.txt"
    source = PROJECT / "examples" / "chelsea.png"
    names.write_text(
        "".join(f"{name}\n" for name in (source, *(folder / f"no/{number}.jpg" for number in range(count))))
    )
    return names


def measured(clock: CoreClock, way: str, task: str, folders: list[Path], *how: str) -> Measured:
    found = []
    for folder in folders:
        found.append(used(clock, task, folder, *how))
        say(way, folder, found[-1])
    few, many = (len(list(folder.iterdir())) for folder in folders)
    return Measured(way, few, found[0], many, found[1])


def say(way: str, photos: Path, used: Used) -> None:
    print(f"{way}: {photos.name} photos in {used.seconds:.1f} s, {used.core_seconds:.1f} core-seconds:")
    print("; ".join(f"{cores:.1f} in {number} {kind}" for kind, (number, cores) in used.kinds.items()), flush=True)


def used(clock: CoreClock, task: str, photos: Path, *how: str) -> Used:
    """What the command takes for the photos of a folder, or of a list."""
    out = photos.parent / f"{photos.stem}-records"
    name = f"{out}/" if "--cluster" in how else f"{out}.jsonl"
    inputs = [str(photos)] if photos.is_dir() else ["--files-from", str(photos)]
    command = [sys.executable, "-m", "aicli", task, *inputs, "-O", name, "--overwrite", "-q", *how]
    begun, before = time.perf_counter(), clock.read()
    with subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL) as run:
        if run.wait() != (0 if photos.is_dir() else 1):
            raise SystemExit(f"{' '.join(command)} ended with {run.returncode}")
    seconds = time.perf_counter() - begun
    time.sleep(SETTLE_SECONDS)
    kinds = by_kind(before, clock.read())
    return Used(seconds, sum(cores for _, cores in kinds.values()), kinds)


Clocked = dict[tuple[int, int], tuple[str, float]]
"""The kind of each process and the core-seconds that it has used, by its number and when it began."""


def by_kind(before: Clocked, after: Clocked) -> dict[str, tuple[int, float]]:
    """What was used in between: the number of processes that took part, and their core-seconds."""
    found: dict[str, tuple[int, float]] = {}
    for process, (kind, used) in after.items():
        number, cores = found.get(kind, (0, 0.0))
        used -= before.get(process, ("", 0.0))[1]
        found[kind] = (number + (used > 0.0), cores + used)
    return dict(sorted(found.items(), key=lambda item: -item[1][1]))


class CoreClock(threading.Thread):
    """Adds up what the processes that this one has started use, also those that are ended by a signal."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._used: Clocked = {}
        self._lock = threading.Lock()
        self.start()

    def run(self) -> None:
        while True:
            self.read()
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
            with suppress(OSError):  # its name changes with what it does, and is gone when it has ended
                line = (
                    (Path("/proc") / str(process) / "cmdline")
                    .read_bytes()
                    .replace(b"\0", b" ")
                    .decode("utf-8", "replace")
                )
                kind = next(kind for part, kind in KINDS.items() if part in line)
                former, _ = self._used.get((process, begun), ("", 0.0))
                if not line:
                    kind = former or kind
                self._used[process, begun] = kind, used

    def read(self) -> Clocked:
        with self._lock:
            self._look()
            return dict(self._used)


def show(found: list[Measured], task: str, each: float | None) -> None:
    few, many = found[0].few, found[0].many
    print(f"\n{CORES} cores, {machine()}, Python {platform.python_version()}")
    for of, unit in enumerate(("s", "core-seconds")):
        alone = found[0].rate(of)
        print(f"\n| {task}, {unit} | {few} photos | {many} photos | fixed | photos per {unit} | of `--jobs` |")
        print("| --- | --- | --- | --- | --- | --- |")
        for item in found:
            rate = f"{item.rate(of):.1f} | {item.rate(of) / alone:.2f}"
            small, large = item.for_few.of(of), item.for_many.of(of)
            print(f"| `{item.way}` | {small:.1f} | {large:.1f} | {item.fixed(of):.1f} | {rate} |")
    if each is not None:
        print(f"\nthe command: {1000 * each:.3f} ms of a core for each photo")
        for item in found[1:]:
            model(item, each)


def machine() -> str:
    """The processor by its name, as far as the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def model(item: Measured, each: float) -> None:
    """A million photos on 100 nodes by arithmetic, and what that takes for granted."""
    cores, photos = NODES * CORES, 1_000_000
    answering = photos / (cores * item.rate(1))
    print(f"\n{NODES} nodes of {CORES} cores, a million photos, by `{item.way}`:")
    print(f"answering {answering:.0f} s, handing out {photos * each:.0f} s in the one command, whichever is longer;")
    print(f"and {item.fixed(0):.0f} s to start and to end. {GRANTED}")


if __name__ == "__main__":
    main()
