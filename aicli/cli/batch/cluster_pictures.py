"""Where the nodes of a cluster put pictures: under names that need no agreement between them.

Elsewhere a second photo of a name gets ``name-2``; here every name has the photo's key behind it. A photo that is
answered twice, as its node was lost, writes the same file again.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from aicli.cli.batch.pictures import is_folder, kept_name, make_folder
from aicli.cli.batch.plan import PREFIX, remove_parts
from aicli.cluster.photos import Photo, address_in
from aicli.cluster.storage import Storage
from aicli.errors import UsageError
from aicli.image.buckets import is_in_bucket
from aicli.output.pictures.places import Place

__all__ = ["NodePictures"]

PARTS = itertools.count()


class Folder(NamedTuple):
    """A folder as the user names it, and as a process of another folder does."""

    given: str
    place: str

    @classmethod
    def of(cls, given: str) -> Folder:
        return cls(given, given.rstrip("/") if is_in_bucket(given) else os.path.abspath(given))


class NodePictures(NamedTuple):
    """The values of ``-o`` and ``--crop`` for a run on a cluster; ``run`` is part of the names of unfinished files.

    It comes of the folder of records: a resumed run knows what the one before it has left, when that was killed.
    """

    output: Folder | None
    crop: Folder | None
    format: str | None
    all_frames: bool
    run: str

    @classmethod
    def of(
        cls, records: str | None, output: str | None, crop: str | None, format: str | None, all_frames: bool
    ) -> NodePictures:
        """Raises :class:`UsageError` for what is no folder."""
        if output is not None and (output == "-" or not is_folder(output)):
            raise UsageError(f"{output}: a run on a cluster writes many pictures; give -o a folder")
        if crop is not None and os.path.isfile(crop):
            raise UsageError(f"{crop}: a file; --crop takes a folder")
        place = "" if records is None else Folder.of(records).place
        run = blake2b(os.fsencode(place), digest_size=5).hexdigest()
        pictures, crops = (None if given is None else Folder.of(given) for given in (output, crop))
        return cls(pictures, crops, format, all_frames, run)

    def begin(self) -> None:
        """Makes the folders, and finds out whether a bucket may be written. Raises :class:`AicliError`."""
        for where in self.folders():
            if is_in_bucket(where.place):
                probe, storage = f"{PREFIX}{self.run}", Storage(where.place)
                storage.write(probe, b"")
                storage.remove(probe)
            else:
                make_folder(Path(where.place))

    def end(self) -> None:
        """Removes what processes that were ended have left unfinished."""
        remove_parts((where.place for where in self.folders() if not is_in_bucket(where.place)), [self.run])

    def folders(self) -> Iterable[Folder]:
        return [where for where in (self.output, self.crop) if where is not None]

    def places(self, photo: Photo) -> dict[str, Any]:
        """For the pictures of a photo, as a Job takes them."""
        found: dict[str, Any] = {}
        name, key = photo.name, address_in(photo.key)
        if self.output is not None:
            kept = PurePath(kept_name(name, self.format, all_frames=self.all_frames))
            found["picture"] = self._place(self.output, f"{kept.stem}-{key}{kept.suffix}")
        if self.crop is not None:
            found["crops"] = self._place(self.crop, f"{Path(kept_name(name)).stem}-{key}")
        return found

    def _place(self, where: Folder, name: str) -> Place:
        part = f"{PREFIX}{self.run}-{os.getpid()}-{next(PARTS)}-{secrets.token_hex(2)}.part"
        return Place(where.place, name, 1, part, "replace")

    def as_given(self, extra: dict[str, Any]) -> dict[str, Any]:
        """What a record says of its pictures, in the user's words."""
        changed = dict(extra)
        if self.output is not None and "output" in extra:
            changed["output"] = renamed(extra["output"], self.output)
        if self.crop is not None and "crops" in extra:
            changed["crops"] = [renamed(path, self.crop) for path in extra["crops"]]
        return changed


def renamed(path: str, where: Folder) -> str:
    return os.path.join(where.given, path[len(where.place) :].lstrip("/"))
