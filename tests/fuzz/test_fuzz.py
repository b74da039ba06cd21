"""A run of every fuzzer, and its driver. ``AICLI_FUZZ_CALLS=10000`` is the run before a change lands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.driver import Outcome, fuzz, replay
from tests.fuzz.surfaces import CORPUS, SURFACES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies of the process try the cases")

PAST = int(os.environ.get("AICLI_FUZZ_CALLS", "500"))
"""Calls, models and requests of each surface that must get past the checks of arguments."""
SLOW = {"images": 500}
"""Surfaces whose every call runs networks: more of them by hand, with ``python -m tests.fuzz``."""
GOALS = {name: min(PAST, SLOW.get(name, PAST)) for name in SURFACES}
PROCESSOR_SECONDS = 600
"""Five minutes of two processors, for 10,000 of each surface."""
PROJECT = Path(__file__).parent.parent.parent
DESCRIBED = re.compile(r"(\d+) cases, (\d+) calls, (\d+) past the checks of arguments")


def fuzz_apart(name: str, past: int, seed: int) -> tuple[int, int]:
    """Calls, and those past the checks. In a fresh process: copies of one that has run networks may stand still."""
    line = [sys.executable, "-m", "tests.fuzz", name, "--calls", str(past), "--seed", str(seed)]
    done = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)
    print(done.stdout, end="")
    assert done.returncode == 0, done.stdout + done.stderr
    found = DESCRIBED.search(done.stdout)
    assert found is not None
    return int(found[2]), int(found[3])


def test_what_was_kept_still_holds() -> None:
    """Files and cases that once failed, crashed an engine process, or showed an answer of a new kind."""
    line = [sys.executable, "-m", "tests.fuzz", "corpus"]
    done = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    tried = {name: count for name, _, count in (line.partition(": ") for line in done.stdout.splitlines())}
    for name, described in tried.items():
        if name.endswith("(files)"):
            assert int(described.split()[0]) == len(list((CORPUS / name.split()[0]).iterdir()))
    assert {name.split()[0] for name in tried} == set(SURFACES)


def test_nothing_gives_way() -> None:
    before = os.times()
    # Models take longest: half of them each in two runs. Two runs at a time, as they also wait.
    runs = [("models", PAST // 2, 2), ("models", PAST // 2, 3), *((name, GOALS[name], 2) for name in SURFACES)]
    runs.remove(("models", PAST, 2))
    calls: Counter[str] = Counter()
    past: Counter[str] = Counter()
    with ThreadPoolExecutor(2) as pool:
        for (name, _, _), (tried, passed) in zip(runs, pool.map(fuzz_apart, *zip(*runs, strict=True)), strict=True):
            calls[name] += tried
            past[name] += passed
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    print(f"{calls.total()} cases, {past.total()} past the checks, {seconds:.0f} s of the processor")
    for name in SURFACES:
        assert past[name] >= GOALS[name] and past[name] > 0.4 * calls[name], (name, past[name], calls[name])
    assert calls.total() >= 10 * PAST
    assert seconds < PROCESSOR_SECONDS * max(1, PAST / 10_000)


class Pretended:
    """A surface with faults: one case raises, one ends its process."""

    name = "pretended"

    def prepare(self) -> None:
        self.count = 0

    def run(self, random: Random) -> Outcome:
        number = random.randrange(1000)
        self.count += 1
        if number % 97 == 0:
            raise AssertionError(f"fault {number}")
        if number % 89 == 0:
            os.abort()
        outcome = Outcome()
        outcome.note("call", number % 3, number % 2 == 0, f"reason {number}")
        return outcome


def test_the_driver_names_the_cases_that_fail_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    surface = Pretended()
    whole = fuzz(surface, 7, 200)
    assert whole.failures and any("it ended the process (-6)" in why for why in whole.failures.values())
    assert any("fault" in why for why in whole.failures.values())
    again = replay(surface, 7, whole.failures)
    assert set(again.failures) == set(whole.failures)
    assert replay(surface, 7, whole.kept).signatures == whole.signatures
    # In two runs, the second of which goes on where the first has ended.
    fuzz(surface, 7, 100, tmp_path)
    resumed = fuzz(surface, 7, 200, tmp_path)
    assert resumed.describe() == whole.describe() and resumed.failures == whole.failures


def test_the_driver_ends_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.fuzz.driver.PATIENCE", 0.3)

    class Hanging(Pretended):
        def run(self, random: Random) -> Outcome:
            time.sleep(60)
            raise AssertionError

    assert "longer than" in replay(Hanging(), 1, [3]).failures[3]
