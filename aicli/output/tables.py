"""Results as a table for people: a section per image, every section with the same columns.

    photos/grace_hopper.jpg
      1  military uniform                                  91.3%  very high
      2  Windsor tie                                        2.1%  low

    solvay.jpg: 29 faces
           score       x1       y1       x2       y2   width  height
      1   100.0%    521.6    344.8    548.2    379.2      27      34

A path has the whole line, and a run over many images scrolls by aligned. Whatever comes from outside is shown with
its control characters escaped and never read as rich markup.
"""

from __future__ import annotations

import io
import os
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from aicli._text import visible
from aicli.output.writer import Writer
from aicli.results import Classification, Detection

__all__ = ["TableWriter"]

_CONFIDENCE_STYLES = {"very high": "green", "high": "green", "medium": "yellow", "low": "dim"}
_LABEL_COLUMNS = 52  # a wider label column would only move the score away from its label
_BESIDE_LABEL = 27  # what the other columns of a classification take
_WITH_SIDES = 64  # so many columns hold the sides of a face beside its box


class TableWriter(Writer):
    """The ``table`` format."""

    def __init__(self, stream: TextIO, *, width: int | None = None, frames: bool = False) -> None:
        super().__init__(stream, frames=frames)
        self._width = width
        self._colour = _colour(stream)
        self._last_section_lines = 0

    def result(self, item: Classification | Detection, extra: dict[str, Any] | None = None) -> None:
        heading = Text(visible(item.image), style="bold")
        if self._frames:
            heading += Text(f", frame {item.frame}")
        width = self._console_width()
        parts = (
            _detection(heading, item, width) if isinstance(item, Detection) else _classification(heading, item, width)
        )
        if extra and isinstance(extra.get("output"), str):
            parts.append(Text(f"  saved as {visible(extra['output'])}", style="dim"))
        self._section(parts, width)

    def _console_width(self) -> int:
        return self._width or Console(file=self._stream).width

    def _section(self, parts: list[RenderableType], width: int) -> None:
        """Print one image's lines; a blank line sets it apart unless it and the one before are single lines."""
        lines = io.StringIO()
        console = Console(file=lines, width=width, highlight=False, markup=False, emoji=False, **self._colour)
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Text))  # a path is not cut; the terminal may wrap it
        text = "".join(f"{line.rstrip()}\n" for line in lines.getvalue().split("\n")[:-1])
        count = text.count("\n")
        blank = "\n" if self._last_section_lines and max(count, self._last_section_lines) > 1 else ""
        self._last_section_lines = count
        self._emit(blank + text)


def _colour(stream: TextIO) -> dict[str, Any]:
    """Console options for the colours that rich would choose for the stream itself; none under NO_COLOR."""
    probe = Console(file=stream)
    system = None if os.environ.get("NO_COLOR") else probe.color_system
    return {"force_terminal": system is not None, "color_system": system, "legacy_windows": False}


def _grid(*widths_and_sides: tuple[int, str]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for width, side in widths_and_sides:
        grid.add_column(width=width, justify="right" if side == "right" else "left", overflow="fold")
    return grid


def _percent(score: float) -> str:
    return f"{score * 100:.1f}%"


def _classification(heading: Text, item: Classification, width: int) -> list[RenderableType]:
    if not item.predictions:
        return [heading + Text(": no label reaches the minimum score")]
    label_width = max(8, min(_LABEL_COLUMNS, width - _BESIDE_LABEL))
    grid = _grid((4, "right"), (label_width, "left"), (6, "right"), (9, "left"))
    for rank, prediction in enumerate(item.predictions, 1):
        style = _CONFIDENCE_STYLES[prediction.confidence]
        grid.add_row(
            Text(str(rank), style="dim"),
            Text(visible(prediction.label), style="bold" if rank == 1 else ""),
            Text(_percent(prediction.score), style=style),
            Text(prediction.confidence, style=style),
        )
    return [heading, grid]


def _detection(heading: Text, item: Detection, width: int) -> list[RenderableType]:
    count = len(item.faces)
    heading = heading + Text(": no face" if not count else f": {count} face" + ("s" if count > 1 else ""))
    if not count:
        return [heading]
    sides = 2 if width >= _WITH_SIDES else 0
    grid = _grid((4, "right"), (6, "right"), *[(7, "right")] * 4, *[(6, "right")] * sides)
    names = ("", "score", "x1", "y1", "x2", "y2", *("width", "height")[:sides])
    grid.add_row(*(Text(name, style="dim") for name in names))
    for number, face in enumerate(item.faces, 1):
        x1, y1, x2, y2 = face.box
        grid.add_row(
            Text(str(number), style="dim"),
            Text(_percent(face.score)),
            *(Text(f"{value:.1f}") for value in face.box),
            *(Text(f"{side:.0f}", style="dim") for side in (x2 - x1, y2 - y1)[:sides]),
        )
    return [heading, grid]
