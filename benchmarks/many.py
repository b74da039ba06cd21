"""Many photos in one run: whether its rate and its memory stay, and how soon the first answer comes.

    python benchmarks/many.py [--photos 20000] [--task detect-faces] [-- further options of the command]
    python benchmarks/many.py --first 100000     seconds to the first answer: so many files in one folder, and one

The photos are small, so that what the program does for each of them counts and not the network.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
PHOTO = HERE.parent / "examples" / "grace_hopper.jpg"
STEP = 1000


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE.parent)}


def fill(folder: Path, count: int) -> None:
    """So many names for a few dozen small photos."""
    photo = Image.open(PHOTO).convert("RGB")
    sizes = [photo.resize((96 + number, 112), Image.Resampling.BICUBIC) for number in range(42)]
    originals = folder.with_name(f"{folder.name}-originals")
    for target in (folder, originals):
        target.mkdir()
    for number, image in enumerate(sizes):
        image.save(originals / f"{number}.jpg", quality=88)
    for number in range(count):
        os.link(originals / f"{number % len(sizes)}.jpg", folder / f"IMG_{number:06}.jpg")


def resident(process: int) -> dict[str, float]:
    """MB that each process of a run has in memory: the command, what it starts, and what that starts."""
    found, family = {}, [process]
    for number in family:
        try:
            found[str(number)] = int(Path(f"/proc/{number}/statm").read_text().split()[1]) * 4096 / 1e6
            for path in Path(f"/proc/{number}/task").glob("*/children"):
                family += [int(child) for child in path.read_text().split()]
        except OSError:
            continue
    return found


def watch(task: str, count: int, more: list[str]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "photos"
        fill(folder, count)
        command = [
            sys.executable,
            "-m",
            "aicli",
            task,
            "--quiet",
            "--format",
            "jsonl",
            "--jobs",
            "2",
            *more,
            str(folder),
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), cwd=HERE.parent)
        assert process.stdout
        print("| photos | photos a second | MB in memory, process by process |\n|---|---|---|")
        begun, rates = 0.0, []
        for number, _ in enumerate(process.stdout):
            if number % STEP == 0:
                now = time.perf_counter()
                if number:
                    rates.append(STEP / (now - begun))
                    sizes = ", ".join(f"{size:.1f}" for size in resident(process.pid).values())
                    print(f"| {number} | {rates[-1]:.1f} | {sizes} |", flush=True)
                begun = now
        process.wait()
    print(f"\nthe rate of all after the first {STEP} against theirs: {statistics.mean(rates[1:]) / rates[0]:.3f}")


def first(count: int, rounds: int = 5) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder, one = Path(temporary) / "many", Path(temporary) / "one"
        fill(folder, count)
        fill(one, 1)
        times: dict[str, list[float]] = {"one photo": [], f"{count} files": []}
        for _ in range(rounds):
            for source, taken in zip((one, folder), times.values(), strict=True):
                command = [sys.executable, "-m", "aicli", "classify", "--quiet", "--format", "jsonl", str(source)]
                begun = time.perf_counter()
                process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), cwd=HERE.parent)
                assert process.stdout
                process.stdout.readline()
                taken.append(time.perf_counter() - begun)
                process.kill()
                process.wait()
    for name, taken in times.items():
        print(f"first answer, {name}: {statistics.median(taken):.2f} s ({min(taken):.2f} to {max(taken):.2f})")
    alone, among = times.values()
    print(f"more: {statistics.median(b - a for a, b in zip(alone, among, strict=True)):.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--task", choices=("classify", "detect-faces"), default="classify")
    parser.add_argument("--first", type=int, help="measure the first answer among so many files instead")
    parser.add_argument("more", nargs="*", help="further options of the command, after --")
    options = parser.parse_args()
    if options.first:
        first(options.first)
    else:
        watch(options.task, options.photos, options.more)


if __name__ == "__main__":
    main()
