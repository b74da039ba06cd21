"""Fuzzing by hand: ``python -m tests.fuzz SURFACE --calls N --seed S --folder DIR``; run again, it goes on."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.fuzz.driver import fuzz
from tests.fuzz.surfaces import SURFACES, replay_corpus


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("surface", choices=[*SURFACES, "all", "corpus"])
    parser.add_argument("--calls", type=int, default=10_000, help="until so many got past the checks of arguments")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where to keep what was reached, and the numbers worth keeping")
    options = parser.parse_args()
    if options.surface == "corpus":
        reports = replay_corpus()
        for name, report in reports.items():
            print(f"{name}: {report.describe()}", *report.failures.items(), sep="\n  ")
        return int(any(report.failures for report in reports.values()))
    failed = False
    for name in SURFACES if options.surface == "all" else [options.surface]:
        report = fuzz(SURFACES[name], options.seed, options.calls, options.folder)
        print(f"{name}: {report.describe()}", flush=True)
        for number, why in report.failures.items():
            print(f"  seed {options.seed} case {number}: {why}")
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
