"""A run on a cluster whose parts are killed at random, resumed until it is finished: nothing may be lost or doubled.

    python benchmarks/cluster_chaos.py --photos 5000 --seed 1

Small photos of odd names are made, some of them broken, some named twice, some in an archive. One machine answers them;
then a cluster of a head and two nodes does, while workers, actors, other processes of Ray, nodes and the command itself
are killed, stopped or frozen in turns that the seed decides (when they meet which process is chance). The run is
repeated with ``--resume`` until nothing but the broken photos has failed. In the end the records are compared, value
for value, and what is left running is looked for. Exit code 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

PROJECT = Path(__file__).resolve().parents[1]
ODD = (
    "{}.jpg",
    "50% {}.jpg",
    "%2F{}.jpg",
    "line\nbreak {}.jpg",
    "日本 ü {}.jpg",
    "a#b?c&{}.jpg",
    "[{}]*.jpg",
    " '\"{} .JPG",
)
"""Names that a listing, an address or a record may stumble over; and one that is no UTF-8."""
TURNS = {"worker": 3, "actor": 3, "ray": 2, "frozen": 1, "node": 2, "driver": 3}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
ACTOR = "ray::MapWorker"
CHILD = "aicli.workers.child"
SOME = 0.04
"""Of the photos: broken, and named twice, and in the archive."""

ATTEMPTS = 3
"""To start a node: on a busy machine Ray gives up waiting for it."""
LEFT_SECONDS = 30.0
"""For what a run leaves to end, also one that was interrupted, on a machine that is busy."""

MARK = f"AICLI_CHAOS={os.getpid()}".encode()
"""In the environment of everything that is started here."""


class Photos(NamedTuple):
    """What the command is given, and how many of the records are failures that stay."""

    arguments: list[str]
    number: int
    broken: int


class Process(NamedTuple):
    """A process that was started from here, however many processes lie between."""

    number: int
    parent: int
    command: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--task", choices=["classify", "detect-faces"], default="classify")
    parser.add_argument("--every", type=float, default=8.0, help="seconds between two kills, on average")
    parser.add_argument("--kills", type=int, default=1000, help="no more than these, the first of each kind in turn")
    parser.add_argument("--kinds", nargs="+", choices=TURNS, default=list(TURNS), help="what is killed")
    parser.add_argument("--keep", type=Path, help="folder for photos and records, else a temporary one")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background of a script, and so inherited
    with tempfile.TemporaryDirectory() as scratch:
        home = options.keep or Path(scratch)
        photos = make(home, options.photos, random.Random(options.seed))
        print(f"{photos.number} photos, {photos.broken} broken; seed {options.seed}", flush=True)
        alone = home / "alone.jsonl"
        command = (options.task, *photos.arguments, "-O", str(alone), "-j", "2", "--overwrite", "-q")
        code = aicli(*command, stderr=subprocess.DEVNULL).wait()
        assert code == 1, f"one machine ended with {code}"
        with Chaos(options, photos, home / "records") as chaos:
            chaos.run()
        return report(chaos, photos, lines_of(alone.read_text()))


def make(home: Path, count: int, dice: random.Random) -> Photos:
    """Photos of 64 to 200 pixels, cut out of the examples."""
    folder = home / "photos"
    folder.mkdir(parents=True)
    sources = [Image.open(path).convert("RGB") for path in sorted((PROJECT / "examples").glob("*.[jp][pn]g"))]
    twice: list[str] = []
    broken = 0
    with tarfile.open(home / "shard.tar", "w") as archive:
        for number in range(count):
            data = picture(dice, dice.choice(sources))
            if dice.random() < SOME:
                data, broken = data[: dice.randrange(len(data) // 4)], broken + 1
            name = dice.choice(ODD).format(number) if dice.random() < 0.5 else f"{number}.jpg"
            if dice.random() < SOME:
                entry = tarfile.TarInfo(f"deep/{number}.jpg")
                entry.size = len(data)
                archive.addfile(entry, BytesIO(data))
                continue
            path = os.fsencode(folder / name)
            if dice.random() < SOME / 4:
                path = os.fsencode(folder) + b"/\xff%d.jpg" % number
            Path(os.fsdecode(path)).write_bytes(data)
            if dice.random() < SOME:
                twice.append(os.fsdecode(path))
    shard = str(home / "shard.tar")
    arguments = [str(folder), shard, *twice, shard]
    listed = subprocess.run(
        [sys.executable, "-c", LISTING, *arguments], capture_output=True, text=True, check=True, cwd=PROJECT
    )
    return Photos(arguments, int(listed.stdout), broken)


LISTING = "import sys; from aicli.image.inputs import expand; print(len(list(expand(sys.argv[1:]))))"


def picture(dice: random.Random, source: Image.Image) -> bytes:
    size = dice.randint(64, 200)
    side = dice.randint(size, min(source.size))
    x, y = (dice.randint(0, edge - side) for edge in source.size)
    file = BytesIO()
    cut = source.crop((x, y, x + side, y + side)).resize((size, size))
    cut.save(file, "JPEG", quality=dice.randint(60, 95))
    return file.getvalue()


def aicli(*arguments: str, **how: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "aicli", *arguments], cwd=PROJECT, text=True, **how)


class Chaos:
    """The cluster, the command that runs on it, and the kills."""

    def __init__(self, options: argparse.Namespace, photos: Photos, out: Path) -> None:
        self.options, self.photos, self.out = options, photos, out
        self.dice = random.Random(options.seed)
        self.kills: Counter[str] = Counter()
        self.ends: list[str] = []
        self.left: list[str] = []
        self.noise: list[str] = []
        """Lines on standard error that are not the command's own."""

    def __enter__(self) -> Chaos:
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        os.environ["AICLI_CHAOS"] = str(os.getpid())
        self.cluster = head()
        self.nodes = [self.add_node(), self.add_node()]
        self.cluster.wait_for_nodes()
        return self

    def __exit__(self, *exc_info: object) -> None:
        with suppress(Exception):
            self.cluster.shutdown()

    def add_node(self) -> Any:
        for _ in range(ATTEMPTS):
            with suppress(Exception):
                return self.cluster.add_node(num_cpus=1, object_store_memory=200 << 20)
        raise AssertionError("no node could be started")

    def run(self) -> None:
        """Until a run ends by itself, with no other failure than those of the broken photos."""
        shutil.rmtree(self.out, ignore_errors=True)
        self.begun = time.monotonic()
        while not self.finished():
            assert len(self.ends) < 50, self.ends
            self.one()
        deadline = time.monotonic() + LEFT_SECONDS
        while (left := left_running()) and time.monotonic() < deadline:
            time.sleep(0.5)
        self.left = left

    def finished(self) -> bool:
        success = self.out / "_SUCCESS"
        return success.exists() and json.loads(success.read_text())["failed"] <= self.broken_records()

    def broken_records(self) -> int:
        """Failures that stay: a broken photo that is named twice has two."""
        alone = self.out.parent / "alone.jsonl"
        return sum('"error"' in line for line in alone.read_text().splitlines())

    def one(self) -> None:
        address = self.cluster.address
        with tempfile.TemporaryFile("w+") as said:
            command = [self.options.task, *self.photos.arguments, "-O", str(self.out), "--to", "jsonl"]
            run = aicli(*command, "--cluster", address, "--resume", stdout=said, stderr=said)
            while True:
                try:
                    run.wait(self.dice.uniform(0.5, 1.5) * self.options.every)
                    break
                except subprocess.TimeoutExpired:
                    self.kill_something(run)
            said.seek(0)
            lines = said.read().splitlines()
        last = lines[-1] if lines else ""
        self.ends.append(f"{run.returncode}: {last[:200]}")
        print(
            f"{time.monotonic() - self.begun:6.0f} s  ended with {run.returncode}, {len(lines)} lines: {last}",
            flush=True,
        )

    def kill_something(self, run: subprocess.Popen[str]) -> None:
        if sum(self.kills.values()) >= self.options.kills:
            return
        kinds = [kind for kind in self.options.kinds if not self.kills[kind]] or self.options.kinds
        kind = self.dice.choices(kinds, [TURNS[kind] for kind in kinds])[0]
        if kind == "driver":
            how = SIGNALS[self.kills[kind] % len(SIGNALS)]
            os.kill(run.pid, how)
            what = how.name
        elif kind == "node":
            node = self.nodes.pop(self.dice.randrange(len(self.nodes)))
            self.cluster.remove_node(node, allow_graceful=False)
            self.nodes.append(self.add_node())
            what = "another one came"
        else:
            what = self.kill_process(kind)
            if not what:
                return
        self.kills[kind] += 1
        self.say(f"{kind}: {what}")

    def say(self, what: str) -> None:
        print(f"{time.monotonic() - self.begun:6.0f} s  {what}", flush=True)

    def kill_process(self, kind: str) -> str:
        actors = self.actors()
        chosen = {
            "actor": actors,
            "frozen": actors,
            "worker": [process for actor in actors for process in below(actor.number)],
            "ray": [process for process in ours() if other(process)],
        }[kind]
        if not chosen:
            return ""
        process = self.dice.choice(chosen)
        with suppress(ProcessLookupError):
            os.kill(process.number, signal.SIGSTOP if kind == "frozen" else signal.SIGKILL)
            if kind == "frozen":
                time.sleep(5.0)
                os.kill(process.number, signal.SIGCONT)
        return process.command[:60]

    def actors(self) -> list[Process]:
        """Those that hold a task."""
        return [process for process in ours() if process.command.startswith(ACTOR)]


def head() -> Any:
    """A cluster of one node."""
    from ray.cluster_utils import Cluster

    for _ in range(ATTEMPTS):
        with suppress(Exception):
            made: Any = Cluster()
            made.add_node(num_cpus=1, include_dashboard=False, object_store_memory=200 << 20)
            return made
    raise AssertionError("no head could be started")


def left_running() -> list[str]:
    return [process.command[:60] for process in ours() if "ray::Map" in process.command or CHILD in process.command]


def other(process: Process) -> bool:
    """Whether it is one of Ray's; an agent takes its node along."""
    return process.command.startswith("ray::") and "Agent" not in process.command


def ours() -> list[Process]:
    """All processes that were started from here, by their numbers: also those whose parent has died."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if MARK in (entry / "environ").read_bytes():
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                    parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                    found.append(Process(int(entry.name), parent, command))
    return sorted(found)


def below(ancestor: int) -> list[Process]:
    """Those of them that descend from one."""
    inside: set[int] = {ancestor}
    processes = ours()
    for _ in processes:
        more = {process.number for process in processes if process.parent in inside} - inside
        if not more:
            break
        inside |= more
    return [process for process in processes if process.number in inside - {ancestor}]


def lines_of(text: str) -> list[str]:
    """Records in an order of their own, as one text each."""
    return sorted(json.dumps(json.loads(line), sort_keys=True) for line in text.splitlines())


def report(chaos: Chaos, photos: Photos, expected: list[str]) -> int:
    found = lines_of("".join(path.read_text() for path in chaos.out.glob("part-*.jsonl")))
    counts = json.loads((chaos.out / "_SUCCESS").read_text())
    missing, more = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    kills = ", ".join(f"{count} {kind}" for kind, count in sorted(chaos.kills.items()) if count)
    seconds = time.monotonic() - chaos.begun
    print(f"\n{photos.number} photos in {seconds:.0f} s and {len(chaos.ends)} runs; killed: {kills}")
    print(f"_SUCCESS: {counts}")
    unknown = [path.name for path in chaos.out.rglob("*") if path.is_file() and not is_ours(path.name)]
    for what, names in {
        "missing": missing,
        "too many": more,
        "left running": chaos.left,
        "files": unknown,
        "noise": chaos.noise,
    }.items():
        print(f"{what}: {len(list(names))} {list(names)[:5] if names else ''}".rstrip())
    wrong = missing or more or chaos.left or unknown or chaos.noise or counts["photos"] != photos.number
    print("records differ from one machine's" if wrong else "every photo once, records equal to one machine's")
    return 1 if wrong else 0


def is_ours(name: str) -> bool:
    return name in ("_SUCCESS", "run.json") or name.startswith("part-")


if __name__ == "__main__":
    sys.exit(main())
