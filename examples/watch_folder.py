"""Watches a folder and writes a JSON record for each photo that arrives in it.

    python examples/watch_folder.py inbox/ records/
    python examples/watch_folder.py inbox/ records/ --faces --every 0.5

A photo may still be on its way when it is first seen, so it is read once its size and time have stayed the same from
one look to the next. One that cannot be read gets a record with an "error", and is tried again as soon as it changes.
After a restart, photos whose record is there are left alone. Ctrl-C ends it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from aicli import Classifier, FaceDetector

PHOTOS = {".avif", ".bmp", ".gif", ".heic", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}

State = tuple[int, int]
"""Size in bytes and time of change in nanoseconds: what differs while a file is being written."""


def look(inbox: Path) -> dict[Path, State]:
    """The photos that lie in the folder now."""
    found: dict[Path, State] = {}
    for path in sorted(inbox.iterdir()):
        if path.suffix.lower() in PHOTOS and not path.name.startswith("."):
            try:
                status = path.stat()
            except FileNotFoundError:  # gone since the folder was listed
                continue
            found[path] = (status.st_size, status.st_mtime_ns)
    return found


def record_of(photo: Path, records: Path) -> Path:
    return records / f"{photo.name}.json"


def answered_before(photo: Path, state: State, records: Path) -> bool:
    """Whether an earlier run has left a record that is no older than the photo."""
    record = record_of(photo, records)
    return record.exists() and record.stat().st_mtime_ns >= state[1]


def arrivals(inbox: Path, records: Path, every: float) -> Iterator[list[Path]]:
    """At each look the photos that are new or have changed and lie still. Never ends."""
    done = {path: state for path, state in look(inbox).items() if answered_before(path, state, records)}
    before: dict[Path, State] = {}
    while True:
        now = look(inbox)
        ready = [path for path, state in now.items() if before.get(path) == state and done.get(path) != state]
        yield ready
        # As they were when they were seen lying still: what changes while it is read is read again.
        done = {path: state for path, state in done.items() if path in now} | {path: now[path] for path in ready}
        before = now
        time.sleep(every)


def write(path: Path, text: str) -> None:
    """A whole file or none: whoever reads the records never sees half of one."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def main() -> None:
    parser = argparse.ArgumentParser(description="A JSON record for each photo that arrives in a folder.")
    parser.add_argument("inbox", type=Path, help="the folder to watch")
    parser.add_argument("records", type=Path, help="the folder for the records; made if it is not there")
    parser.add_argument("--faces", action="store_true", help="find faces instead of classifying")
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="time between two looks (1)")
    arguments = parser.parse_args()
    if not arguments.inbox.is_dir():
        sys.exit(f"{arguments.inbox}: no such folder")
    arguments.records.mkdir(parents=True, exist_ok=True)

    with FaceDetector() if arguments.faces else Classifier() as task:
        for ready in arrivals(arguments.inbox, arguments.records, arguments.every):
            # With jobs=2 or timeout=60 as well, worker processes would do this, and a crash cost one photo alone.
            for photo, answer in zip(ready, task.many(ready), strict=True):
                write(record_of(photo, arguments.records), json.dumps(answer.to_dict(), ensure_ascii=False) + "\n")
                print(photo.name, flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
