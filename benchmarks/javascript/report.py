"""Writes report.md of what bench.py measured."""

from __future__ import annotations

import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

TARGETS = (
    ("Node.js, native, 1 thread", "Python, 1 thread", 1.1),
    ("Node.js, native, 2 threads", "Python, 2 threads", 1.1),
    ("Node.js, LiteRT.js", "Python, 1 thread", 4.0),
)
CASES = {"labels": "labels", "face": "faces, 1 person", "group": "faces, 29 people"}
HEAD = """# The JavaScript package, measured

Written by `python benchmarks/javascript/bench.py` ({node}, Python {python}; {cores} cores, {machine}). The cores were
shared with other work: compare only what stands in one table, which was measured in one run, a call of each in turn.
"""
PEERS = """
What a user of JavaScript would take today, as npm installs it with its weights, over tfjs' WebAssembly backend and,
once, its plain one. Decoding by sharp is part of every call. The detectors see a photo at a fixed size: BlazeFace at
256 pixels a side, the tiny one at 608, the SSD at 512; nsfwjs has a MobileNetV2
of 224 pixels with five classes, none of them military. Its net and aicli's are alike in depth and input, not in
weights.

Not measured: `@tensorflow/tfjs-node` fetches its library from storage.googleapis.com as it is installed, which this
machine does not reach; `@tensorflow-models/mobilenet` brings no weights; MediaPipe's `tasks-vision` brings its
WebAssembly, but no model, and needs a browser.
"""


def write(folder: Path, report: Path) -> None:
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json") if path.stem in PARTS}
    node = found.get("speed", {}).get("node", "Node.js")
    cores, machine = os.cpu_count(), f"{platform.machine()} {platform.system()}"
    head = HEAD.format(node=f"Node.js {node}", python=platform.python_version(), cores=cores, machine=machine)
    sections = [head, *(PARTS[name](found[name]) for name in PARTS if name in found)]
    report.write_text("\n".join(sections), encoding="utf-8")


def speed(found: dict[str, Any]) -> str:
    rows = found["rows"]
    lines = [
        "## A photo, from its file to the answer",
        "",
        f"Median milliseconds of {found['rounds']} rounds, warm. Checked first: the label, the faces that were found",
        "of the one person and of the 29 people of solvay.jpg, and boxes around nobody.",
        "",
        "| package | " + " | ".join(CASES.values()) + " | label | 1 person | of 29 | nobody | MB |",
        "| --- |" + " ---: |" * 3 + " --- |" + " ---: |" * 4,
    ]
    for name, row in rows.items():
        times = [f"{row['median'][case]:.1f}" if case in row["median"] else "" for case in CASES]
        faces = [str(row["check"].get(key, "")) for key in ("face", "people", "others")]
        label = row["check"]["labels"] or ""
        lines.append(f"| {name} | {' | '.join(times)} | {label} | {' | '.join(faces)} | {row['rss'] / 2**20:.0f} |")
    lines += ["", "| beside | " + " | ".join(CASES.values()) + " | aim |", "| --- |" + " ---: |" * 4]
    for name, other, most in TARGETS:
        if name in rows and other in rows:
            ratios = [f"{rows[name]['median'][case] / rows[other]['median'][case]:.2f}" for case in CASES]
            lines.append(f"| {name} / {other} | {' | '.join(ratios)} | {most:g} |")
    lines += [f"\n{name} failed: {reason}" for name, reason in found["failed"].items()]
    return "\n".join(lines) + "\n" + PEERS


def memory(found: dict[str, Any]) -> str:
    steps = list(found["native"])
    lines = [
        "## Memory over 1,000 photos",
        "",
        "Resident MB of a Node.js process with a detector (`minSize` 40) and a classifier, one thread, after so many",
        "photos, each looked at for faces and labels.",
        "",
        "| engine | " + " | ".join(steps) + " |",
        "| --- |" + " ---: |" * len(steps),
    ]
    for engine, values in found.items():
        lines.append(f"| {engine} | " + " | ".join(f"{value / 2**20:.0f}" for value in values.values()) + " |")
    return "\n".join(lines) + "\n"


def browser(found: dict[str, Any]) -> str:
    runs = found["runs"]
    lines = [
        "## The first answer in a browser",
        "",
        f"Chromium {found['chromium']}, without a screen; the site of `aicli page` on the loopback, served by",
        "`python3 -m http.server`, which compresses nothing. Median seconds (lowest to highest) of "
        f"{len(runs['faces cold'])} starts of the",
        "browser with an empty profile, and of as many once more with that profile. The module: from its import to",
        "the answer, on an empty page. The page: from the navigation",
        "to the boxes of a photo that is dropped as soon as the page is there. The aim is 4 s.",
        "",
        "| | empty profile | known | then, ms a photo |",
        "| --- | ---: | ---: | ---: |",
    ]
    titles = {"faces": "module, faces", "labels": "module, labels", "page": "page, faces"}
    for task, title in titles.items():
        cells = [spread([run["first"] / 1000 for run in runs[f"{task} {state}"]]) for state in ("cold", "warm")]
        times = [run["warm"] for run in runs[f"{task} warm"] if "warm" in run]
        cells.append(f"{statistics.median(times):.0f}" if times else "")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


PARTS = {"speed": speed, "memory": memory, "browser": browser}
