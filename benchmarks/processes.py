"""Whole processes: how long they take, what they have in memory at most, and the machine they run on."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
BARE = "bare classify script"


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(HERE.parent)}


# A process begins with the memory peak of the one that starts it, so a small one has to start those that are measured.
STARTER = """
import json, os, subprocess, sys, time
begin = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(json.dumps([time.perf_counter() - begin, usage.ru_maxrss / 1024, status]))
"""


def run_process(command: list[str]) -> tuple[float, float]:
    """Seconds from start to exit, and the peak of resident memory in MB."""
    starter = [sys.executable, "-I", "-S", "-c", STARTER, *command]
    done = subprocess.run(starter, stdout=subprocess.PIPE, env=environment(), check=True)
    seconds, peak, status = json.loads(done.stdout)
    if status:
        raise SystemExit(f"{' '.join(command)}: it failed")
    return seconds, peak


def run_together(commands: list[list[str]]) -> float:
    """Seconds until the last of several commands has ended that start at once."""
    begin = time.perf_counter()
    null = subprocess.DEVNULL
    for process in [subprocess.Popen(command, stdout=null, stderr=null, env=environment()) for command in commands]:
        if process.wait():
            raise SystemExit(f"{process.args!r}: it failed")
    return time.perf_counter() - begin


def program() -> list[str]:
    """The command as a user starts it; without an installed script, the module."""
    script = shutil.which("aicli", path=str(Path(sys.executable).parent))
    return [script] if script else [sys.executable, "-m", "aicli"]


def cold(title: str, names: dict[str, list[str]], rounds: int) -> list[str]:
    """Whole processes from start to exit, interleaved; ratios to the bare script, else to the first of them.

    Every other turn goes backwards: whoever runs after a heavy process finds a slower machine.
    """
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for turn in range(rounds + 1):
        for name, command in list(names.items())[:: 1 if turn % 2 else -1]:
            result = run_process(command)
            if turn:
                runs[name].append(result)
    reference, short = (BARE, "the bare script") if BARE in names else (next(iter(names)), "the first")
    floor = [seconds for seconds, _ in runs[reference]]
    lines = [f"### {title}", "", f"| command | median s | min to max | ratio to {short} | peak MB |"]
    lines.append("|---|---|---|---|---|")
    for name, results in runs.items():
        times = [seconds for seconds, _ in results]
        ratio = statistics.median(a / b for a, b in zip(times, floor, strict=True))
        memory = max(peak for _, peak in results)
        lines.append(
            f"| {name} | {statistics.median(times):.3f} | {min(times):.3f} to {max(times):.3f} "
            f"| {ratio:.2f} | {memory:.0f} |"
        )
    return [*lines, ""]


def many(task: str, sources: list[Path], folder: Path, count: int, rounds: int) -> list[str]:
    """Throughput of ``--jobs 2`` against ``--jobs 1`` on ``count`` photos of 42 sizes, whole processes.

    Two commands that share nothing, each with half the photos, show what the machine itself gives.
    """
    from PIL import Image

    folder.mkdir()
    images = [Image.open(path).convert("RGB") for path in sources]
    for number in range(count):
        image = images[number % len(images)]
        scale = 640 * (1 + number % 7 / 50) / max(image.size)
        size = (round(image.width * scale), round(image.height * scale))
        image.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number:04}.jpg", quality=88)
    lines = [f"### aicli {task} on {count} photos of 640 to 720 pixels", ""]
    lines += ["| command | photos a second | ratio |", "|---|---|---|"]
    photos, lists = sorted(folder.iterdir()), [folder.parent / "even.txt", folder.parent / "odd.txt"]
    for part, target in enumerate(lists):
        target.write_text("".join(f"{photo}\n" for photo in photos[part::2]))
    base = [sys.executable, "-m", "aicli", task, "--quiet", "--format", "jsonl"]
    for threads in (["--threads", "1"], []):
        single = [*base, *threads, "--jobs", "1"]
        times: dict[str, list[float]] = {"--jobs 1": [], "--jobs 2": [], "--jobs 1, twice, half the photos each": []}
        runs = [[[*single, str(folder)]], [[*base, *threads, "--jobs", "2", str(folder)]]]
        runs.append([[*single, "--files-from", str(target)] for target in lists])
        for turn in range(rounds):  # every other turn goes backwards, as in cold()
            for commands, taken in list(zip(runs, times.values(), strict=True))[:: -1 if turn % 2 else 1]:
                taken.append(run_together(commands))
        for name, seconds in times.items():
            ratio = statistics.median(a / b for a, b in zip(times["--jobs 1"], seconds, strict=True))
            command = " ".join(["aicli", task, *threads, name])
            lines.append(f"| {command} | {count / statistics.median(seconds):.1f} | {ratio:.2f} |")
    private = job_memory([*base, "--threads", "1", "--jobs", "3", str(folder)])
    lines += ["", "Without `--threads`, one job gives each network both cores, two jobs one each.", ""]
    if private:
        lines += [f"A job has at most {private:.0f} MB in memory that it shares with no other process.", ""]
    return lines


def job_memory(command: list[str]) -> float:
    """The most private memory of a worker process in MB while a command runs; 0 where the system does not tell."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment())
    most = 0.0
    while process.poll() is None:
        time.sleep(0.05)
        # The command starts one process, and that one the workers.
        for worker in [pid for server in children(process.pid) for pid in children(server)]:
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{worker}/smaps_rollup").read_text().splitlines()
                most = max(most, sum(int(line.split()[1]) for line in lines if line.startswith("Private")) / 1024)
    return most


def children(process: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in path.read_text().split()]
    return found


def machine() -> list[str]:
    packages = ["ai-edge-litert", "tflite-runtime", "wasmtime", "wasmer", "pillow", "numpy"]
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        models = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line]
        processor = models[0] if models else processor
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return [
        f"Machine: {processor}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}; "
        f"load average at the start {load}.",
        f"Packages: {', '.join(found)}.",
        "",
    ]
