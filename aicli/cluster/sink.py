"""Ray's end of a run: each write task makes one file of the record folder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import ray
from ray.data import Datasink
from ray.data.block import BlockAccessor

from aicli.cluster.record_folder import Answered, RecordFolder
from aicli.errors import AicliError

__all__ = ["RecordSink"]


class RecordSink(Datasink[int]):  # type: ignore[misc]  # where Ray is not installed
    """Takes rows of ``key``, ``records`` (lines of JSON) and ``failed``. ``run`` names the run, see RecordFolder."""

    def __init__(self, folder: RecordFolder, run: str, rows: int, tally: Any) -> None:
        self._folder, self._run, self._rows, self._tally = folder, run, rows, tally

    @property
    def min_rows_per_write(self) -> int:
        return self._rows

    def write(self, blocks: Iterable[Any], ctx: Any) -> int:
        photos: list[Answered] = []
        lines: list[str] = []
        for block in blocks:
            for row in BlockAccessor.for_block(block).to_arrow().to_pylist():
                photos.append(Answered(row["key"], len(row["records"]), row["failed"]))
                lines += row["records"]
        if photos:
            try:
                self._folder.write(photos, lines, self._run)
            except AicliError as error:
                ray.get(self._tally.stop.remote(error))
                raise
        return len(photos)
