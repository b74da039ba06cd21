"""What a former run answered, for the contact sheet of the run that goes on with it: its photos are on it too."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aicli._text import escape_bytes
from aicli.cli.batch.job import Job
from aicli.errors import AicliError
from aicli.output.records import Task
from aicli.results import Box, Classification, Detection, Face, Landmarks, Point, Prediction

__all__ = ["FormerAnswers", "answer_of"]


class FormerAnswers:
    """Jobs that make thumbnails of photos that are answered already, in the order of the run that answered them.

    ``records`` has those of each image, as a file of JSON lines or csv holds them, and ``groups`` where it was moved.
    """

    def __init__(self, task: Task, records: dict[str, list[dict[str, Any]]], groups: dict[str, str]) -> None:
        self._task, self._groups = task, groups
        self._waiting = dict(records)
        self.unseen = 0
        """Photos of which no thumbnail could be made."""

    def moved(self) -> Iterator[Job]:
        """Those that come next and are no longer under their names, so that no input will be."""
        while self._waiting:
            name = next(iter(self._waiting))
            if os.path.lexists(name) or name not in self._groups:
                return
            yield from self._job(name, name, Path(self._groups[name]))

    def job(self, item: Any) -> Iterator[Job]:
        """An input that is answered already, behind those that were moved before it."""
        yield from self.moved()
        key = escape_bytes(item.name)
        if key in self._waiting:
            try:
                source = item.source()
            except AicliError:
                source = None
            yield from self._job(key, item.name, source)

    def rest(self) -> Iterator[Job]:
        """Those that are left when all inputs are seen: of another command line, or in other folders now."""
        for name in list(self._waiting):
            place = name if os.path.isfile(name) else self._groups.get(name, name)
            yield from self._job(name, name, Path(place))

    def _job(self, key: str, name: str, source: Any) -> Iterator[Job]:
        records = self._waiting.pop(key)
        try:
            yield Job(name, source, former=answer_of(self._task, records))
        except (KeyError, TypeError, ValueError):  # somebody edited the file
            self.unseen += 1


def answer_of(task: Task, records: Sequence[dict[str, Any]]) -> Classification | Detection:
    """The answer that an image's records hold; of several frames the first. Those of csv have a face or label each."""
    first = records[0]
    size = int(first.get("width", 0)), int(first.get("height", 0))
    about = first["image"], *size, str(first.get("model", ""))
    frame = [record for record in records if record.get("frame", 0) == first.get("frame", 0)]
    if task == "classify":
        found = [row for row in frame if row["rank"]] if "rank" in first else first["predictions"]
        predictions = [Prediction(int(item["index"]), item["label"], float(item["score"])) for item in found]
        return Classification(*about, tuple(predictions))
    if "face" in first:
        faces = [face_of_row(row) for row in frame if row["face"]]
    else:
        faces = [face_of(item["box"], item["score"], item["landmarks"]) for item in first["faces"]]
    return Detection(*about, tuple(faces))


def face_of_row(row: dict[str, str]) -> Face:
    places = {name: (row[f"{name}_x"], row[f"{name}_y"]) for name in Landmarks._fields}
    return face_of([row[name] for name in Box._fields], row["score"], places)


def face_of(box: Sequence[Any], score: Any, places: Mapping[str, Sequence[Any]]) -> Face:
    points = (Point(*map(float, places[name])) for name in Landmarks._fields)
    return Face(Box(*map(float, box)), float(score), Landmarks(*points))
