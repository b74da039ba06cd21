"""One image of a run: what is to be done with it, what came of it, and its picture on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

from aicli._record import Record
from aicli._text import shown
from aicli.errors import AicliError, ImageError
from aicli.options import SavingOptions

if TYPE_CHECKING:
    from PIL import Image

    from aicli.guest.client import Guest
    from aicli.image.buckets import InBucket
    from aicli.image.decode import DecodedImage
    from aicli.output.pictures.animation import Animation
    from aicli.output.pictures.places import Place
    from aicli.results import Classification, Detection
    from aicli.tasks.guest_process import GuestProcess

__all__ = [
    "Answer",
    "Done",
    "Exif",
    "Job",
    "Note",
    "Render",
    "Saved",
    "Stopwatch",
    "checked_source",
    "fetched",
    "notes_of",
    "put_crops",
    "save",
    "small",
    "with_timing",
]

THUMBNAIL = 240

Exif = Literal["kept", "plain", "dropped"]
Render = Callable[[dict[str, Any]], str | None]
"""Makes the record of an answer, as the file will hold it, from what else belongs into it."""


class Job(Record):
    """One image, and where its pictures go: ``picture`` is a path that the user spelled, or a place.

    With ``former``, what a run before this one answered, no more than the thumbnail is made.
    """

    name: str
    source: Path | bytes | InBucket | None
    picture: str | Place | None = None
    crops: Place | None = None
    problem: AicliError | None = None
    former: Classification | Detection | None = None


class Note(Record):
    """A line for the user about one image; without a ``kind`` for -v only, else the first of its kind in a run."""

    kind: str | None
    text: str


class Answer(Record):
    """The answer for one frame, what else belongs into its record, seconds per stage."""

    result: Classification | Detection
    extra: dict[str, Any]
    stages: dict[str, float]


class Done(Record):
    """The answer for one image, what else belongs into its record, seconds per stage, a thumbnail if asked for.

    ``picture`` is what goes to standard output. Where all frames were asked for, ``frames`` has those of an image with
    several, and ``problem`` is what came between.
    """

    result: Classification | Detection
    extra: dict[str, Any]
    stages: dict[str, float]
    thumbnail: Image.Image | None = None
    notes: tuple[Note, ...] = ()
    picture: bytes | None = None
    frames: Sequence[Answer] = ()
    problem: AicliError | None = None

    def answers(self) -> Sequence[Answer]:
        """What its records say."""
        return self.frames or (Answer(self.result, self.extra, self.stages),)


class Stopwatch:
    """Seconds by stage of one image."""

    def __init__(self) -> None:
        self.stages: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = perf_counter()
        try:
            yield
        finally:
            self.stages[name] = self.stages.get(name, 0.0) + perf_counter() - begun

    @contextmanager
    def guest(self, guest: Guest | GuestProcess) -> Iterator[None]:
        """The guest's own time, and that of each network that it ran."""
        before = {name: time.seconds for name, time in guest.times.items()}
        with self.stage("guest"):
            yield
        for name, time in guest.times.items():
            self.stages[name] = time.seconds - before.get(name, 0.0)
            self.stages["guest"] -= self.stages[name]


def fetched(job: Job) -> Job:
    """The job with its photo here, if that lies in a bucket."""
    if job.source is None or isinstance(job.source, (bytes, Path)):
        return job
    return job.replace(source=job.source.read())


def checked_source(job: Job) -> Path | bytes:
    if not isinstance(job.source, (bytes, Path)):
        raise job.problem or ImageError("there is nothing to open").of(shown(job.name))
    return job.source


def with_timing(stages: dict[str, float], extra: dict[str, Any]) -> dict[str, Any]:
    """What belongs into a record with ``--timing``: the milliseconds of each stage too."""
    return extra | {"timing": {stage: round(seconds * 1000, 3) for stage, seconds in stages.items()}}


def notes_of(image: DecodedImage) -> tuple[Note, ...]:
    """What is to be said about how an image was decoded."""
    notes = []
    if image.part is not None:
        notes.append(Note("raw", f"a raw photo, of which the {image.part}, was answered"))
    elif image.frames > 1:
        what = FRAMES.get(image.kind or "", "{} pictures")
        said = f"{what.format(image.frames)}, of which frame {image.frame} was answered; --all-frames answers each"
        notes.append(Note(f"frames {image.kind}", said))
    count, first = image.messages
    if count:
        said = "; ".join(first)
        notes.append(Note(None, f"its decoder printed {count:,} line{'' if count == 1 else 's'}: {said}"))
    return tuple(notes)


FRAMES = {
    "GIF": "an animated GIF of {} frames",
    "PNG": "an animated PNG of {} frames",
    "WebP": "an animated WebP of {} frames",
    "AVIF": "an animated AVIF of {} frames",
    "TIFF": "a TIFF of {} pages",
    "JPEG": "an MPO of {} pictures",
    "HEIF": "a HEIF file of {} pictures",
}


def small(picture: Image.Image) -> Image.Image:
    """A thumbnail for a contact sheet, small enough to be sent from a worker."""
    from PIL import Image

    scale = min(1.0, THUMBNAIL / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0) if scale < 1 else picture


STANDARD_OUTPUT = "-"


class Saved(Record):
    """Where a picture was written, or for standard output what the parent process is to write."""

    path: str | None
    data: bytes | None = None


def save(
    picture: Image.Image | Animation,
    job: Job,
    image: DecodedImage,
    options: SavingOptions,
    *,
    exif: Exif = "kept",
) -> Saved:
    """Writes the picture of a photo, or that of all its frames, where its job says."""
    from aicli.output.pictures.animation import Animation, animation_format, encode_animation
    from aicli.output.pictures.saving import ImageMetadata, encode_image, jpeg_tables, save_bytes

    source, place = checked_source(job), job.picture
    assert place is not None
    path = place if isinstance(place, str) else place.path
    format = animation_format(path) if path != STANDARD_OUTPUT else (options.picture_format or "png").upper()
    how: Any = {"metadata": ImageMetadata(image.icc_profile, image.exif), "exif": exif, "quality": options.quality}
    how["name"] = job.name if path == STANDARD_OUTPUT else path
    if format in ("GIF", "TIFF") and not isinstance(picture, Animation):
        picture = Animation.of(picture)
    if isinstance(picture, Animation):
        data = encode_animation(picture, format, **how)
    else:
        how["tables"] = jpeg_tables(source) if format == "JPEG" and options.quality is None else None
        data = encode_image(picture, format, **how)
    if path == STANDARD_OUTPUT:
        return Saved(None, bytes(data))
    if isinstance(place, str):
        save_bytes(data, place)
        return Saved(place)
    return Saved(put_picture(data, place))


def put_picture(data: bytes | memoryview, place: Place) -> str:
    """Writes a picture on a disk or into a bucket; returns the path that it got."""
    from aicli.image.buckets import is_in_bucket
    from aicli.output.pictures.places import write_picture

    if not is_in_bucket(place.folder):
        return write_picture(data, place)
    from aicli.cluster.storage import Storage

    Storage(place.folder).write(place.name, bytes(data))
    return place.path


def put_crops(faces: Sequence[tuple[int, bytes | memoryview]], place: Place) -> list[str]:
    """Writes the faces of a photo on a disk or into a bucket; returns their paths."""
    from aicli.image.buckets import is_in_bucket
    from aicli.output.pictures.places import crop_path, write_crops

    if not is_in_bucket(place.folder):
        return write_crops(faces, place)
    names = [crop_path(place.name, number) for number, _ in faces]
    return [put_picture(data, place.replace(name=name)) for name, (_, data) in zip(names, faces, strict=True)]
