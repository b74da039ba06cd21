"""Long measurements in pieces: what a section has found lies in a file until the report is made of all of them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

PIECES = Path(__file__).resolve().parent.parent / "build" / "bench"


class Piece(NamedTuple):
    """What a section has found: its part of the report, and the stages for the plot."""

    lines: list[str]
    stages: Mapping[str, Mapping[str, float]] = MappingProxyType({})


def read_piece(pieces: Path, name: str) -> Piece:
    return Piece(**json.loads((pieces / f"{name}.json").read_text()))


def run_sections(sections: Mapping[str, Callable[[], Piece]], minutes: float | None, pieces: Path) -> bool:
    """Runs the sections that no file has yet, and begins none after so many minutes; whether there is none left."""
    begun = time.monotonic()
    pieces.mkdir(parents=True, exist_ok=True)
    left = [name for name in sections if not (pieces / f"{name}.json").exists()]
    for number, name in enumerate(left):
        if minutes is not None and time.monotonic() - begun > 60 * minutes:
            print(f"not run yet: {', '.join(left[number:])}; the same command goes on", file=sys.stderr)
            return False
        piece = sections[name]()
        print("\n".join(piece.lines), flush=True)
        (pieces / f"{name}.json").write_text(json.dumps({"lines": piece.lines, "stages": {**piece.stages}}))
    return True
