"""The photos of a run as rows: each with a key that tells whether a former run has answered it."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aicli.errors import AicliError, ImageError
from aicli.image.buckets import InBucket, is_in_bucket
from aicli.image.inputs import Input, expand

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "Current",
    "Keys",
    "Pack",
    "Photo",
    "address_in",
    "photos_of",
    "read_photos",
    "source_of",
    "table_of",
    "unpacked",
]

ROWS_UNPACKED = 16
BYTES_UNPACKED = 32 << 20
"""A table of photos from an archive has no more of either: what is unpacked waits in the memory of its node."""


class Photo(NamedTuple):
    """A photo: its key, its name in records, what gives its bytes, or why there are none."""

    key: str
    name: str
    source: Any
    problem: AicliError | None = None


class Pack(NamedTuple):
    """An archive, or a Parquet file with the column of photos: opened on a node.

    ``key`` tells it from others, also from itself where it is named twice; ``place`` is its address, or its path for a
    process of another folder; ``stamp`` its size and time; ``folder`` where the paths in a column begin.
    """

    key: str
    name: str
    place: str
    stamp: str
    folder: str
    column: str | None
    include: tuple[str, ...]


class Keys:
    """Gives each photo its key: a digest of its address, a point, and one of its size and time.

    A photo that is named twice has two, and so has one in two archives: ``inside`` is the key of its archive.
    """

    def __init__(self, inside: str = "") -> None:
        self._inside = inside.encode()
        self._seen: Counter[str] = Counter()

    def __call__(self, name: str, stamp: str) -> str:
        address = blake2b(os.fsencode(name), digest_size=12, key=self._inside).hexdigest()
        self._seen[address] += 1
        number = "" if self._seen[address] == 1 else f"-{self._seen[address]}"
        return f"{address}{number}.{version_of(stamp)}"


def version_of(stamp: str) -> str:
    return blake2b(stamp.encode(), digest_size=6).hexdigest()


def address_in(key: str) -> str:
    """The part of a key that stays when the photo changes."""
    return key.partition(".")[0]


class Current(NamedTuple):
    """The photos of a run as they are now: their keys, and the versions of the archives that hold others."""

    keys: frozenset[str]
    versions: frozenset[str]

    @classmethod
    def of(cls, photos: Iterable[Photo | Pack]) -> Current:
        keys, versions = set(), set()
        for photo in photos:
            if isinstance(photo, Photo):
                keys.add(photo.key)
            else:
                versions.add(version_of(photo.stamp))
        return cls(frozenset(keys), frozenset(versions))

    def holds(self, key: str) -> bool:
        return key in self.keys or key.partition(".")[2] in self.versions


def stamp_of(item: Input) -> str:
    """Size and time of a photo, as far as they are known without fetching it."""
    if item.stamp is not None:
        return item.stamp
    path = item.path or (item.name if item.url is None else None)
    try:
        status = os.stat(path) if path is not None else None
    except (OSError, ValueError):
        status = None
    return "" if status is None else f"{status.st_size} {status.st_mtime_ns}"


def photos_of(
    inputs: Iterable[Input], column: str | None = None, include: Sequence[str] = ()
) -> Iterator[Photo | Pack]:
    """What a command line names, listed but not opened."""
    keys, packs = Keys(), Keys()
    for item in inputs:
        stamp = stamp_of(item)
        if not item.is_known:
            place = item.name if is_in_bucket(item.name) else os.path.abspath(item.name)
            key = address_in(packs(item.name, stamp))
            yield Pack(key, item.name, place, stamp, os.getcwd(), column, tuple(include))
        else:
            yield photo_of(item, keys(item.name, stamp))


def photo_of(item: Input, key: str) -> Photo:
    try:
        source = item.source()
    except ImageError as error:
        return Photo(key, item.name, None, error)
    return Photo(key, item.name, source.absolute() if isinstance(source, Path) else source)  # nodes work elsewhere


def source_of(photo: str | bytes) -> Path | bytes | InBucket:
    """What a column holds, as a task takes it."""
    if isinstance(photo, bytes):
        return photo
    return InBucket(photo) if is_in_bucket(photo) else Path(photo)


def table_of(photos: Sequence[Photo | Pack]) -> pa.Table:
    """One column, ``photo``, of what :func:`read_photos` reads."""
    import pyarrow as pa

    return pa.table({"photo": pa.array([pickle.dumps(photo, protocol=5) for photo in photos], pa.large_binary())})


def read_photos(table: pa.Table) -> list[Any]:
    return [pickle.loads(data) for data in table.column("photo").to_pylist()]


def unpacked(table: pa.Table, done: frozenset[str]) -> Iterator[pa.Table]:
    """The photos in the archives or Parquet files of a table, but for those whose keys are ``done``."""
    for pack in read_photos(table):
        yield from unpacked_one(pack, done)


def unpacked_one(pack: Pack, done: frozenset[str]) -> Iterator[pa.Table]:
    keys, waiting, size = Keys(pack.key), list[Photo](), 0
    if pack.column is not None:
        with suppress(OSError):  # a node without it has none of the photos either
            os.chdir(pack.folder)
    for item in expand((pack.place,), column=pack.column, include=pack.include):
        item = renamed(item, pack)
        key = keys(item.name, pack.stamp)
        if key in done:
            continue
        photo = photo_of(item, key)
        waiting.append(photo)
        size += len(photo.source) if isinstance(photo.source, bytes) else 0
        if len(waiting) == ROWS_UNPACKED or size >= BYTES_UNPACKED:
            yield table_of(waiting)
            waiting, size = [], 0
    yield table_of(waiting)  # empty as well: a task has to hand out a table


def renamed(item: Input, pack: Pack) -> Input:
    """The photo with the name that it has on the command line's machine, in its problem too."""
    if item.name.startswith(pack.place):
        item = item.replace(name=pack.name + item.name[len(pack.place) :])
    if item.problem is not None and item.problem.subject is not None:
        item.problem.subject = item.problem.subject.replace(pack.place, pack.name, 1)
    return item
