"""A guard against slow-downs that counts instead of timing, so that a busy machine cannot fool it.

    make counts                     # in an environment with the versions of counts-requirements.txt
    python benchmarks/counts.py [--renew] [--without-valgrind] [--checkout FOLDER]

Compares with benchmarks/counts.json: instructions under callgrind of the program's start, its first photo and a later
one; the guest's instructions, host calls, invocations, bytes and allocations of one image; modules imported at a start.
More than 5 % more is a slow-down, and of host calls, invocations and allocations one more is: exit code 1. Instructions
are compared only on a machine like the one that the table is for. docs/development.md says when to renew the table.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from benchmarks.callgrind import PHOTOS, instructions  # noqa: E402

TABLE = HERE / "counts.json"
REQUIREMENTS = HERE / "counts-requirements.txt"
BOUND = 0.05
NOISE = 150_000
"""Instructions that may come or go from run to run: on a busy machine a thread waits some times more."""
COUNTABLE = {"host calls", "invocations", "allocations"}
PROGRAM = """
from aicli._blas import start_no_threads
start_no_threads()
from aicli.wasm.wasmtime import runtime
runtime.TICK = 1e9
from aicli.__main__ import main
main()
"""
"""The program without the thread that keeps the guest's time: it wakes up the more often the slower the machine is, and
under callgrind a photo takes so long that the guest's minute would end."""
INSTRUCTIONS = "instructions: "
PROCESSOR = ("avx2", "bmi2", "erms", "f16c", "fma")
"""What libraries choose their code by."""
MACHINE = ("Python", "C library", "valgrind", "processor")
"""What instructions depend on besides the packages, and the other counts do not."""
Table = dict[str, dict[str, int]]


class Change(NamedTuple):
    """A count that is not what the table says; ``before`` is 0 for one that the table lacks."""

    row: str
    name: str
    before: int
    now: int

    @property
    def is_slower(self) -> bool:
        return self._more_than_bound(self.before, self.now)

    @property
    def is_faster(self) -> bool:
        return self._more_than_bound(self.now, self.before)

    def _more_than_bound(self, low: int, high: int) -> bool:
        if self.name in COUNTABLE:
            return high > low
        noise = NOISE if self.row.startswith(INSTRUCTIONS) else 0
        return high - low > max(BOUND * self.before, noise)

    def __str__(self) -> str:
        share = f" ({100 * (self.now / self.before - 1):+.1f} %)" if self.before else ""
        return f"{self.row}: {self.name} {self.before:,} -> {self.now:,}{share}"


def compare(before: Table, now: Table) -> list[Change]:
    """Every count that both have and that differs, and those that only ``now`` has, as grown from 0."""
    changes = []
    for row, counts in now.items():
        for name, value in counts.items():
            known = before.get(row, {}).get(name, 0)
            if value != known:
                changes.append(Change(row, name, known, value))
    return changes


def environment_of_counts() -> dict[str, str]:
    """Everything that instructions depend on: the packages, and what a machine has."""
    names = [line.partition("==")[0] for line in REQUIREMENTS.read_text().splitlines() if "==" in line]
    found = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    found["Python"] = f"{platform.python_version()}, {platform.python_compiler()}"
    found["C library"] = " ".join(platform.libc_ver())
    found["valgrind"] = valgrind_version()
    found["processor"] = " ".join([platform.machine(), *processor_flags()])
    return found


def valgrind_version() -> str:
    if shutil.which("valgrind") is None:
        return "not installed"
    done = subprocess.run(["valgrind", "--version"], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def processor_flags() -> list[str]:
    info = Path("/proc/cpuinfo")
    words = set(info.read_text().split()) if info.exists() else set()
    return [flag for flag in PROCESSOR if flag in words]


def child_environment(checkout: Path, folder: Path) -> dict[str, str]:
    """The same for everybody: what a user has set must not count."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(checkout),
        "PYTHONHASHSEED": "0",
        "AICLI_CACHE_DIR": str(folder / "cache"),
        "AICLI_RUNTIME": "wasmtime",
        "AICLI_ENGINE": "litert",
    }


def count_exactly(checkout: Path, folder: Path, environment: dict[str, str]) -> Table:
    script = [sys.executable, str(HERE / "exact_counts.py")]
    guest = profiled_guest(checkout, folder)
    if guest is None:
        print("counts: left out, it needs Rust for WebAssembly: the guest's allocations", file=sys.stderr)
    else:
        script += ["--profiled", str(guest)]
    done = subprocess.run(
        script, env={**environment, "AICLI_CACHE_DIR": str(folder / "fuel")}, stdout=subprocess.PIPE, check=True
    )
    found: Table = json.loads(done.stdout)
    return {f"guest: {name}": counts for name, counts in found.items()}


def profiled_guest(checkout: Path, folder: Path) -> Path | None:
    """The guest of this checkout, built to count its allocations; ``None`` without a compiler."""
    crate, target = checkout / "guest-rust", "wasm32-unknown-unknown"
    path = f"/usr/bin{os.pathsep}{os.environ['PATH']}"  # the distribution's Rust, which has the library for WebAssembly
    build = ["cargo", "build", "--release", "--locked", "--offline", "--features", "profile", "--target", target]
    try:
        subprocess.run(
            build,
            cwd=crate,
            env={**os.environ, "PATH": path, "CARGO_TARGET_DIR": str(folder / "target")},
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return folder / "target" / target / "release" / "aicli_guest.wasm"


def make_photos(folder: Path) -> dict[str, list[str]]:
    """A command for each task, over :data:`callgrind.PHOTOS` photos that are the same."""
    from PIL import Image

    portrait = ROOT / "examples" / "grace_hopper.jpg"
    half = Image.open(portrait).convert("RGB").resize((256, 300), Image.Resampling.BOX)
    group = Image.new("RGB", (512, 300))
    for left in (0, 256):
        group.paste(half, (left, 0))
    for number in range(PHOTOS):
        shutil.copy(portrait, folder / f"portrait-{number}.jpg")
        group.save(folder / f"group-{number}.jpg", quality=90)
    return {
        task: ["-c", PROGRAM, task, "--threads", "1", *(str(folder / f"{photo}-{n}.jpg") for n in range(PHOTOS))]
        for task, photo in (("classify", "portrait"), ("detect-faces", "group"))
    }


def count_modules(folder: Path, environment: dict[str, str]) -> Table:
    """How many modules each command imports."""
    photo = str(folder / "portrait-0.jpg")
    found = {}
    for name, arguments in {
        "--help": ["--help"],
        "classify": ["classify", photo],
        "detect-faces": ["detect-faces", photo],
    }.items():
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "aicli", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
        found[f"start: aicli {name}"] = {"modules imported": len(lines) - 1}
    return found


def count_instructions(tasks: dict[str, list[str]], folder: Path, environment: dict[str, str]) -> Table:
    # The guest is compiled for the processor that valgrind shows, once, so that it is in the cache as it usually is.
    compile_guest = [sys.executable, "-c", "from aicli import FaceDetector; FaceDetector(threads=1)"]
    subprocess.run(
        ["valgrind", "--tool=none", "-q", *compile_guest],
        cwd=folder,
        env=environment,
        check=True,
        stderr=subprocess.DEVNULL,
    )
    runs = {"--help": ["-m", "aicli", "--help"], **tasks}
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        parts = threads.map(
            lambda name: instructions(runs[name], folder / f"{name}.out", environment, PHOTOS if name in tasks else 0),
            runs,
        )
        found = dict(zip(runs, parts, strict=True))
    table: Table = {f"{INSTRUCTIONS}aicli --help": dict(found["--help"][0])}
    for task in tasks:
        start, first, later, _ = found[task]
        rows = {"start": start, "the first photo": first, "a later photo": later}
        table |= {f"{INSTRUCTIONS}aicli {task}, {what}": dict(counts) for what, counts in rows.items()}
    return table


def measure(checkout: Path, *, with_valgrind: bool) -> Table:
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(checkout / "aicli")], check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = child_environment(checkout, folder)
        tasks = make_photos(folder)
        table = {**count_modules(folder, environment), **count_exactly(checkout, folder, environment)}
        if with_valgrind:
            table |= count_instructions(tasks, folder, environment)
    return {row: dict(sorted(counts.items())) for row, counts in table.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--renew", action="store_true", help="write the table instead of comparing with it")
    parser.add_argument("--without-valgrind", action="store_true", help="all but the instructions: half a minute")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="which sources are measured")
    options = parser.parse_args()
    here = environment_of_counts()
    if not options.without_valgrind and here["valgrind"] == "not installed":
        raise SystemExit("counts: valgrind is not installed (apt-get install valgrind); or give --without-valgrind")
    if options.renew:
        if options.without_valgrind:
            raise SystemExit("counts: a table without instructions is no table; leave out --without-valgrind")
        TABLE.write_text(
            json.dumps(
                {"environment": here, "counts": measure(options.checkout.resolve(), with_valgrind=True)}, indent=2
            )
            + "\n"
        )
        print(f"written: {TABLE.relative_to(ROOT)}")
        return
    saved = json.loads(TABLE.read_text())
    raise SystemExit(check(saved, here, options.checkout.resolve(), with_valgrind=not options.without_valgrind))


def check(saved: dict[str, Any], here: dict[str, str], checkout: Path, *, with_valgrind: bool) -> int:
    """Compares and says what it found; the exit code."""
    others = {
        name: (was, here.get(name, "nothing")) for name, was in saved["environment"].items() if here.get(name) != was
    }
    packages = [f"{name} {now} instead of {was}" for name, (was, now) in others.items() if name not in MACHINE]
    if packages:
        print(f"counts: the table is for other packages: {', '.join(packages)}", file=sys.stderr)
        print("counts: `make counts` makes an environment with the right ones", file=sys.stderr)
        return 2
    if with_valgrind and others:
        told = "; ".join(f"{name}: {now} instead of {was}" for name, (was, now) in others.items())
        print(f"counts: instructions are not compared, as the table is for another machine: {told}", file=sys.stderr)
        print("counts: to compare two versions here, renew the table with the older one first", file=sys.stderr)
        with_valgrind = False
    now = measure(checkout, with_valgrind=with_valgrind)
    changes = compare(saved["counts"], now)
    slower = [change for change in changes if change.is_slower]
    faster = [change for change in changes if change.is_faster]
    for change in slower:
        print(f"more:  {change}")
    for change in faster:
        print(f"fewer: {change}")
    compared = sum(len(counts) for row, counts in now.items() if row in saved["counts"])
    print(f"{compared} counts compared, {len(slower)} too many")
    if faster and not slower:
        print("Renew the table, so that what was won is guarded: make counts-renew")
    return 1 if slower else 0


if __name__ == "__main__":
    main()
