"""Where pictures go: one file or a folder. In a folder names are kept, and none replaces a file unasked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicli._same_file import name_key
from aicli.cli.batch.plan import Plan, remove_parts
from aicli.errors import UsageError
from aicli.output.pictures.places import Place, crop_stem, numbered

if TYPE_CHECKING:
    from aicli.cli.batch.record_file import RecordFile
    from aicli.cli.batch.sources import Sources

__all__ = ["STANDARD_OUTPUT", "Names", "Outputs", "is_folder", "kept_name", "make_folder"]


STANDARD_OUTPUT = "-"


class Names:
    """The names that are taken in folders of results: on the disk, by this run, and by the run that it goes on with."""

    def __init__(self, sources: Sources, *, overwrite: bool) -> None:
        self._sources, self._overwrite = sources, overwrite
        self._taken: set[str] = set()
        self._stems: set[str] = set()
        """Of crops that are taken, and of pictures that are named like crops."""
        self._next: dict[str, int] = {}
        self._real: dict[str, str] = {}
        self._on_disk: dict[str, tuple[set[str], set[str]]] = {}

    def take(self, path: str) -> None:
        """Nothing else gets this name."""
        key = self._key(*os.path.split(path))
        self._taken.add(key)
        if stem := crop_stem(key):
            self._stems.add(stem)

    def take_stem(self, path: str) -> None:
        """Nothing else gets this name for the faces of a photo."""
        self._stems.add(self._key(*os.path.split(path)))

    def choose(self, folder: str, name: str, *, stem: bool = False, disk: bool = True) -> int:
        """Takes the first free number of a name, and returns it; ``disk=False`` asks only what was taken by runs."""
        asked = self._key(folder, name + "\0" * stem)
        number = self._next.get(asked, 1)
        while self._is_taken(folder, numbered(name, number), stem, disk):
            number += 1
        self._next[asked] = number + 1
        path = os.path.join(folder, numbered(name, number))
        self.take_stem(path) if stem else self.take(path)
        return number

    def _is_taken(self, folder: str, name: str, stem: bool, disk: bool) -> bool:
        key = self._key(folder, name)
        if key in (self._stems if stem else self._taken) or (not stem and crop_stem(key) in self._stems):
            return True
        if not disk:
            return False
        files, stems = self._listed(folder)
        if key not in (stems if stem else files):
            return False
        return not self._overwrite or self._is_input(folder, name, stem)

    def _is_input(self, folder: str, name: str, stem: bool) -> bool:
        if not stem:
            return self._sources.holds(os.path.join(folder, name))
        start = name_key(name) + ".face"
        crops = (entry.path for entry in os.scandir(folder) if name_key(entry.name).startswith(start))
        return any(map(self._sources.holds, crops))

    def _listed(self, folder: str) -> tuple[set[str], set[str]]:
        """What lay in a folder when it was first asked for: the keys of files, and of stems of crops."""
        if folder not in self._on_disk:
            keys = {self._key(folder, name) for name in os.listdir(folder)} if os.path.isdir(folder) else set()
            self._on_disk[folder] = (keys, {stem for key in keys if (stem := crop_stem(key))})
        return self._on_disk[folder]

    def _key(self, folder: str, name: str) -> str:
        if folder not in self._real:
            self._real[folder] = name_key(os.path.realpath(folder))
        return os.path.join(self._real[folder], name_key(name))


class Outputs:
    """The values of ``-o`` and ``--crop``, and the names that the pictures of a run get."""

    def __init__(
        self,
        sources: Sources,
        *,
        output: str | None = None,
        crop: str | None = None,
        group: str | None = None,
        format: str | None = None,
        overwrite: bool = False,
        spelled: Iterable[str | None] = (),
        all_frames: bool = False,
    ) -> None:
        self._overwrite, self._format, self._all_frames = overwrite, format, all_frames
        self.names = Names(sources, overwrite=overwrite)
        self.plan = Plan()
        self._file, self._folder = None, None
        if output is not None and output != STANDARD_OUTPUT and is_folder(output):
            self._folder = output
        elif output is not None:
            if output != STANDARD_OUTPUT:
                check_picture_name(output, all_frames=all_frames)
                sources.refuse_as_output(output, "-o")
            if not sources.is_one_file:
                where = "-o -: standard output" if output == STANDARD_OUTPUT else f"{output}: one file"
                raise UsageError(f"{where} cannot hold the pictures of several images; give a folder")
            self._file = output
        if crop is not None and os.path.exists(crop) and not os.path.isdir(crop):
            raise UsageError(f"{crop}: a file; --crop takes a folder")
        self._crops = crop
        self._group = group
        for path in spelled:
            if path is not None and path != STANDARD_OUTPUT:
                self.names.take(path)
        for folder in self._folders():
            sources.exclude(folder)
        if overwrite and self._folders():
            sources.read_all()

    def _folders(self) -> list[str]:
        return [folder for folder in (self._folder, self._crops, self._group) if folder is not None]

    def begin(self, file: RecordFile | None, *, resume: bool) -> None:
        """Before the first image: the names that the records and the plan of a former run know are taken."""
        if not self._folders() or file is None or file.part is None:
            return
        self.plan = file.open_plan(resume=resume)
        for kind, path in file.named_paths():
            self.names.take_stem(path) if kind == "crops" else self.names.take(path)
        remove_parts(self._all_folders(), self.plan.former_runs)

    def __call__(self, image: str) -> dict[str, Any]:
        """The places for the pictures of one image, as a Job takes them."""
        places: dict[str, Any] = {}
        if self._file is not None:
            places["picture"] = self._file
        if self._folder is not None:
            places["picture"] = self._place(self._folder, image, "picture", self._picture_name(image))
        if self._crops is not None:
            places["crops"] = self._place(self._crops, image, "crops", Path(kept_name(image)).stem)
        return places

    def _picture_name(self, image: str) -> str:
        name = kept_name(image, self._format, all_frames=self._all_frames)
        if self._all_frames and self._format is None and name.lower().endswith((".jpg", ".jpeg")) and is_mpo(image):
            return f"{Path(name).stem}.png"
        return name

    def _place(self, folder: str, image: str, kind: str, name: str) -> Place:
        make_folder(Path(folder))
        begun = self.plan.begun(image, kind)
        when_taken: Any = "replace" if self._overwrite else "next"
        if begun is not None and begun[:2] == [folder, name]:
            number, when_taken = int(begun[2]), "replace" if self._overwrite else "compare"
        else:
            number = self.names.choose(folder, name, stem=kind == "crops")
            self.plan.write(image, {kind: [folder, name, number]})
        return Place(folder, name, number, self.plan.part(), when_taken)

    def skipped(self, image: str, file: RecordFile) -> None:
        """Keeps the names for the pictures of an image that is answered already."""
        for kind, folder, name in (
            ("picture", self._folder, self._picture_name(image)),
            ("crops", self._crops, Path(kept_name(image)).stem),
        ):
            if folder is not None and self.plan.begun(image, kind) is None and not file.has_named(image, kind):
                self.names.choose(folder, name, stem=kind == "crops", disk=False)

    def end(self, *, complete: bool, tidy: bool) -> None:
        """After the last image, or when the run is broken off; ``tidy`` after processes that may have been ended."""
        self.plan.close(complete=complete)
        if tidy:
            remove_parts(self._all_folders(), [self.plan.run])

    def _all_folders(self) -> list[str]:
        """The folders of results and, of groups, those in it."""
        folders = self._folders()
        if self._group is not None and os.path.isdir(self._group):
            folders += [entry.path for entry in os.scandir(self._group) if entry.is_dir()]
        return folders


def is_folder(value: str) -> bool:
    """Whether the value of ``-o`` names a folder: it is one, ends in a slash or has no suffix."""
    path = Path(value)
    return path.is_dir() or value.endswith(("/", "\\")) or path.suffix == ""


def check_picture_name(path: str, *, all_frames: bool) -> None:
    """Raises :class:`UsageError` unless pictures, or with ``all_frames`` animations, are written under such a name."""
    from aicli.output.pictures.animation import animation_format
    from aicli.output.pictures.saving import image_format

    animation_format(path) if all_frames else image_format(path)


def kept_name(name: str, format: str | None = None, *, all_frames: bool = False) -> str:
    """The file name of an image, with a suffix that pictures, or those of a format, are written in."""
    from aicli.output.pictures.animation import ANIMATION_SUFFIXES
    from aicli.output.pictures.saving import IMAGE_SUFFIXES

    suffixes = IMAGE_SUFFIXES | (ANIMATION_SUFFIXES if all_frames else {})
    original = Path(name).name if name not in ("-", "<stdin>") else "stdin.png"
    if format is not None and IMAGE_SUFFIXES.get(Path(original).suffix.lower()) != format.upper():
        return f"{Path(original).stem}.{format.replace('jpeg', 'jpg')}"
    return original if Path(original).suffix.lower() in suffixes else f"{Path(original).stem}.png"


def is_mpo(image: str) -> bool:
    """Whether an image is a file whose frames a JPEG cannot hold, though it is named like one."""
    from aicli.image.decode import DEFAULT_MAX_PIXELS
    from aicli.image.original import holds_several

    return os.path.isfile(image) and holds_several(Path(image), max_pixels=DEFAULT_MAX_PIXELS)


def make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: cannot make this folder ({error.strerror})") from None
