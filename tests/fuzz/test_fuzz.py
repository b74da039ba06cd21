"""A run of every fuzzer, long enough that ten thousand calls get past the checks of arguments; and its driver."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from tests.fuzz.driver import Outcome, fuzz, replay
from tests.fuzz.surfaces import SURFACES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="copies of the process try the cases")

CALLS = int(os.environ.get("AICLI_FUZZ_CALLS", "10000"))
SLOW = {"images": 500}
"""Surfaces whose every call runs networks: more of them by hand, with ``python -m tests.fuzz``."""
PROJECT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", SURFACES)
def test_nothing_gives_way(name: str) -> None:
    # In a fresh process: copies of one that has run networks may stand still, as its threads are not copied.
    calls = min(CALLS, SLOW.get(name, CALLS))
    line = [sys.executable, "-m", "tests.fuzz", name, "--calls", str(calls), "--seed", "2"]
    done = subprocess.run(line, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    share = re.search(r"past the checks of arguments \((\d+)%\)", done.stdout)
    assert share is not None and int(share[1]) > 40


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
