"""The end of a run: actors that make the files of the record folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aicli.cluster.record_folder import Answered, RecordFolder
from aicli.errors import AicliError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RecordWriter"]


class RecordWriter:
    """A Ray actor: ``__call__`` takes a table of ``key``, ``records`` (lines of JSON) and ``failed``, writes it as one
    file and gives the number of its photos. ``run`` names the run, see RecordFolder.

    An actor, and no task of Ray Data's own for writing: a node keeps no more idle processes than it has cores, so most
    of those tasks would start a Python of their own, which takes as long as answering a hundred photos.
    """

    def __init__(self, folder: RecordFolder, run: str, tally: Any) -> None:
        self._folder, self._run, self._tally = folder, run, tally

    def __call__(self, table: pa.Table) -> pa.Table:
        import pyarrow as pa
        import ray

        photos: list[Answered] = []
        lines: list[str] = []
        for row in table.to_pylist():
            photos.append(Answered(row["key"], len(row["records"]), row["failed"]))
            lines += row["records"]
        if photos:
            try:
                self._folder.write(photos, lines, self._run)
            except AicliError as error:
                ray.get(self._tally.stop.remote(error))
                raise
        return pa.table({"photos": [len(photos)]})
