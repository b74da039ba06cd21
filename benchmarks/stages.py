"""Where the time of one task goes, stage by stage, with the guest built to say where it is.

    python benchmarks/stages.py PHOTO [--task detect-faces] [--threads 2] [--rounds 15] [--runtime wasmtime]

Needs a Rust that compiles for WebAssembly: the guest is built with ``--features profile``, in which it calls the host
at every change of stage. Those calls cost some microseconds each, so the sum is a little above what aicli takes.
Writes one JSON object: median milliseconds by stage, and the number of host calls of one image.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aicli.guest.client
from aicli import Classifier, FaceDetector
from aicli.build.toolchain import TARGET, find_toolchain
from aicli.nn.wasi_nn import WasiNn
from aicli.wasm.runtime import HostFunction

CRATE = Path(__file__).resolve().parent.parent / "guest-rust"
STAGES = ("guest, other", "resize", "input of P-Net", "scan", "crops", "NMS")
"""As ``profile.rs`` numbers them."""
COPIES = ("set_input", "get_output", "get_output_single")


@dataclass
class Clock:
    """Seconds by stage, and which stage the time since ``since`` belongs to."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    stage: str = STAGES[0]
    since: float = 0.0
    calls: int = 0

    def turn(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[self.stage] += now - self.since
        self.stage, self.since = stage, now


CLOCK = Clock()


class ProfiledNn(WasiNn):
    """The host functions, each with its time taken, and ``mark``."""

    def functions(self) -> dict[tuple[str, str], HostFunction]:
        table = {key: function.replace(call=self.timed(function)) for key, function in super().functions().items()}
        table["aicli_profile", "mark"] = HostFunction("aicli_profile", "mark", ("i32",), ("i32",), self.mark)
        return table

    def timed(self, function: HostFunction) -> Callable[..., int | None]:
        stage = "copies" if function.name in COPIES else "other host calls"

        def call(*arguments: int) -> int | None:
            CLOCK.calls += 1
            before, name = CLOCK.stage, stage
            if function.name.startswith("compute"):
                name = self.session.context(arguments[0]).name
            CLOCK.turn(name)
            try:
                return function.call(*arguments)
            finally:
                CLOCK.turn(before)

        return call

    def mark(self, stage: int) -> int:
        CLOCK.turn(STAGES[stage])
        return 0


def build_guest(folder: Path) -> Path:
    """The guest with marks, compiled into ``folder``. Raises :class:`aicli.errors.AicliError` without a compiler."""
    toolchain = find_toolchain()
    command = [str(toolchain.cargo), "build", "--release", "--locked", "--target", TARGET, "--features", "profile"]
    environment = {**toolchain.environment(), "CARGO_TARGET_DIR": str(folder)}
    subprocess.run(command, cwd=CRATE, env=environment, check=True, stderr=subprocess.DEVNULL)
    return folder / TARGET / "release" / "aicli_guest.wasm"


def measure(task: str, photo: Path, guest: Path, rounds: int, threads: int, runtime: str | None) -> dict[str, Any]:
    """Median milliseconds by stage of ``rounds`` images after three to warm up, and the host calls of one."""
    aicli.guest.client.packaged_guest = lambda: guest  # type: ignore[assignment]
    aicli.guest.client.check_guest = lambda module, task: None  # it would refuse the import of `mark`
    aicli.guest.client.WasiNn = ProfiledNn  # type: ignore[misc, attr-defined]
    worker = FaceDetector(threads=threads, runtime=runtime) if task == "detect-faces" else Classifier(
        threads=threads, runtime=runtime
    )  # fmt: skip
    rows: list[dict[str, float]] = []
    for _ in range(rounds + 3):
        CLOCK.seconds.clear()
        CLOCK.calls = 0
        begin = time.perf_counter()
        image = worker.open(photo)
        decoded = CLOCK.since = time.perf_counter()
        CLOCK.stage = "into the guest"
        answer = worker.detect(image) if isinstance(worker, FaceDetector) else worker.classify(image)
        CLOCK.turn(STAGES[0])
        row = {"decode": decoded - begin, **CLOCK.seconds}
        if isinstance(worker, FaceDetector):
            from aicli.output.pictures.drawing import draw_faces

            begin = time.perf_counter()
            draw_faces(image.to_pil(), answer.faces)  # type: ignore[union-attr]
            row["drawing"] = time.perf_counter() - begin
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row))
    stages = {name: statistics.median(row.get(name, 0.0) for row in rows[3:]) * 1e3 for name in names}
    return {"stages": stages, "host_calls": CLOCK.calls}


def plot(stages: Mapping[str, Mapping[str, float]], path: Path) -> None:
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
    parser.add_argument("photo", type=Path)
    parser.add_argument("--task", choices=("classify", "detect-faces"), default="detect-faces")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--runtime")
    parser.add_argument("--guest", type=Path, help="a guest that was built with marks before")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["AICLI_CACHE_DIR"] = str(Path(folder) / "cache")
        guest = options.guest or build_guest(Path(folder))
        result = measure(options.task, options.photo, guest, options.rounds, options.threads, options.runtime)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
