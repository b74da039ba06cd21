"""The driver of every fuzzer here: seeded, resumable, with a corpus that is kept.

A surface makes a case from random numbers and checks what must hold. Case ``n`` of a seed is always the same, so the
corpus is a list of numbers: those whose outcome was new when they were first tried, and those that failed. Cases run in
copies of this process, some hundred in each, because a case may end or hang the process; the driver then knows which.
"""

from __future__ import annotations

import json
import os
import select
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NoReturn, Protocol

__all__ = ["Corpus", "FileSurface", "Outcome", "Report", "Surface", "fuzz", "replay"]

BATCH = 200
PATIENCE = 30.0
"""Seconds that one case may take before it counts as hanging."""


@dataclass
class Outcome:
    """What came of one case: calls by function, those that got past the checks of arguments, and what they said."""

    calls: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    signatures: set[str] = field(default_factory=set)

    def note(self, name: str, answer: object, passed: bool, reason: str = "") -> None:
        self.calls[name] += 1
        self.passed[name] += passed
        words = "".join(letter for letter in reason if not letter.isdigit())
        self.signatures.add(f"{name} {answer} {words[:60]}")


class Surface(Protocol):
    """Something that strangers can reach."""

    name: str

    def prepare(self) -> None:
        """Once in each process."""

    def run(self, random: Random) -> Outcome:
        """Tries one case; raises whatever must not happen."""


class FileSurface(Surface, Protocol):
    """A surface whose cases are bytes."""

    def try_bytes(self, name: str, data: bytes, random: Random) -> Outcome:
        """As :meth:`run`; ``name`` ends as such files do."""


class Corpus:
    """Files that were worth keeping, as a surface: case ``n`` is the ``n``-th."""

    def __init__(self, surface: FileSurface, files: list[Path]) -> None:
        self.name, self.prepare = surface.name, surface.prepare
        self.files, self._surface = files, surface

    def run_file(self, number: int, random: Random) -> Outcome:
        path = self.files[number]
        return self._surface.try_bytes(path.name, path.read_bytes(), random)

    def run(self, random: Random) -> Outcome:
        return self.run_file(random.randrange(len(self.files)), random)


@dataclass
class Report:
    """The totals of a run; ``failures`` are the numbers of cases and what went wrong."""

    cases: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    signatures: set[str] = field(default_factory=set)
    kept: list[int] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)

    def add(self, number: int, outcome: Outcome) -> None:
        self.cases += 1
        self.calls += outcome.calls
        self.passed += outcome.passed
        if not outcome.signatures <= self.signatures:
            self.kept.append(number)
            self.signatures |= outcome.signatures

    def describe(self) -> str:
        calls, passed = sum(self.calls.values()), sum(self.passed.values())
        return (
            f"{self.cases} cases, {calls} calls, {passed} past the checks of arguments ({passed / max(calls, 1):.0%}), "
            f"{len(self.signatures)} kinds of answer, {len(self.failures)} failures"
        )


def case(surface: Surface, seed: int, number: int) -> Outcome:
    random = Random(f"{surface.name} {seed} {number}")
    return surface.run_file(number, random) if isinstance(surface, Corpus) else surface.run(random)


def replay(surface: Surface, seed: int, numbers: Iterable[int]) -> Report:
    """Runs these cases."""
    report = Report()
    queue = list(numbers)
    while queue:
        done = run_batch(surface, seed, queue[:BATCH], report)
        del queue[:done]
    return report


def fuzz(surface: Surface, seed: int, calls: int, folder: Path | None = None) -> Report:
    """Tries cases until so many calls got past the checks, or goes on where ``folder`` says that another run ended."""
    report, first = Report(), 0
    state = folder / f"{surface.name}-{seed}.json" if folder else None
    if state and state.exists():
        report, first = load(state)
    while sum(report.passed.values()) < calls:
        first += run_batch(surface, seed, list(range(first, first + BATCH)), report)
        if state:
            save(state, report, first)
    return report


def run_batch(surface: Surface, seed: int, numbers: list[int], report: Report) -> int:
    """Runs cases in a process of their own until one ends it; how many were run."""
    with tempfile.TemporaryDirectory(prefix="aicli-fuzz-") as scratch:
        return run_batch_in(scratch, surface, seed, numbers, report)


def run_batch_in(scratch: str, surface: Surface, seed: int, numbers: list[int], report: Report) -> int:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        tempfile.tempdir = scratch
        work(surface, seed, numbers, writer)
    os.close(writer)
    done, rest, why = 0, b"", ""
    try:
        while done < len(numbers):
            ready, _, _ = select.select([reader], [], [], PATIENCE)
            part = os.read(reader, 1 << 16) if ready else b""
            if not part:
                why = "it ended the process" if ready else f"it took longer than {PATIENCE:g} s"
                break
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                take(report, numbers[done], json.loads(line))
                done += 1
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if done < len(numbers):
        report.failures[numbers[done]] = f"{why} ({status})"
        report.cases += 1
        done += 1
    return done


def take(report: Report, number: int, answer: dict[str, object]) -> None:
    if "failure" in answer:
        report.failures[number] = str(answer["failure"])
    calls, passed, signatures = (answer[name] for name in ("calls", "passed", "signatures"))
    report.add(number, Outcome(Counter(calls), Counter(passed), set(signatures)))  # type: ignore[call-overload]


def work(surface: Surface, seed: int, numbers: list[int], writer: int) -> NoReturn:
    """A process of cases: a line for each on the pipe; its own streams are the cases'."""
    try:
        quiet = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(quiet, descriptor)
        surface.prepare()
        for number in numbers:
            answer: dict[str, object] = {}
            try:
                outcome = case(surface, seed, number)
            except BaseException:
                outcome = Outcome()
                answer["failure"] = traceback.format_exc()[-3000:]
            answer |= {"calls": outcome.calls, "passed": outcome.passed, "signatures": sorted(outcome.signatures)}
            data = json.dumps(answer).encode() + b"\n"
            while data:
                data = data[os.write(writer, data) :]
        time.sleep(PATIENCE)  # the driver ends this process, which has nothing left to say
    finally:
        os._exit(1)


def save(path: Path, report: Report, first: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {**vars(report), "signatures": sorted(report.signatures), "next": first}
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(data, indent=1))
    temporary.replace(path)


def load(path: Path) -> tuple[Report, int]:
    data = json.loads(path.read_text())
    first = data.pop("next")
    failures = {int(number): text for number, text in data.pop("failures").items()}
    counts: dict[str, Any] = {name: Counter(data.pop(name)) for name in ("calls", "passed")}
    return Report(**counts, failures=failures, signatures=set(data.pop("signatures")), **data), first
