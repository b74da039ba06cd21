"""What is done with one image, in this process or in a worker: decode, run the guest, write the pictures.

The recipes are plain picklable values. Where pictures go is decided before, in the order of the images, so that
several jobs write the same files as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from aicli.errors import AicliError, ImageError, UsageError
from aicli.options import ClassifyOptions, DetectOptions, PictureOptions, SavingOptions

if TYPE_CHECKING:
    from PIL import Image

    from aicli.guest.client import Guest
    from aicli.image.decode import DecodedImage
    from aicli.output.pictures.places import Place
    from aicli.results import Classification, Detection, Face
    from aicli.tasks.guest_process import GuestProcess

__all__ = ["ClassifyRecipe", "DetectRecipe", "Done", "Job", "Note", "Render"]

THUMBNAIL = 240

Render = Callable[[dict[str, Any]], str | None]
"""Makes the record of an answer, as the file will hold it, from what else belongs into it."""


class Job(NamedTuple):
    """One image, and where its pictures go: ``picture`` is a path that the user spelled, or a place."""

    name: str
    source: Path | bytes | None
    picture: str | Place | None = None
    crops: Place | None = None
    problem: AicliError | None = None


class Note(NamedTuple):
    """A line for the user about one image; without a ``kind`` for -v only, else the first of its kind in a run."""

    kind: str | None
    text: str


class Done(NamedTuple):
    """The answer for one image, what else belongs into its record, seconds per stage, a thumbnail if asked for.

    ``picture`` is what goes to standard output.
    """

    result: Classification | Detection
    extra: dict[str, Any]
    stages: dict[str, float]
    thumbnail: Image.Image | None = None
    notes: tuple[Note, ...] = ()
    picture: bytes | None = None


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


def checked_source(job: Job) -> Path | bytes:
    if job.source is None:
        raise job.problem or ImageError(f"{job.name}: there is nothing to open")
    return job.source


def notes_of(image: DecodedImage) -> tuple[Note, ...]:
    """What is to be said about how an image was decoded."""
    notes = []
    if image.part is not None:
        notes.append(Note("raw", f"a raw photo, of which the {image.part}, was answered"))
    elif image.frames > 1:
        what = FRAMES.get(image.kind or "", "{} pictures")
        said = f"{what.format(image.frames)}, of which frame {image.frame} was answered"
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


class Saved(NamedTuple):
    """Where a picture was written, or for standard output what the parent process is to write."""

    path: str | None
    data: bytes | None = None


def save(
    picture: Image.Image,
    job: Job,
    image: DecodedImage,
    options: SavingOptions,
    *,
    exif: Literal["kept", "plain", "dropped"] = "kept",
) -> Saved:
    """Writes the picture of a photo where its job says."""
    from aicli.output.pictures.places import write_picture
    from aicli.output.pictures.saving import ImageMetadata, encode_image, image_format, jpeg_tables, save_image

    source, place = checked_source(job), job.picture
    how: Any = {"metadata": ImageMetadata(image.icc_profile, image.exif), "exif": exif, "quality": options.quality}
    if place == STANDARD_OUTPUT:
        format = (options.picture_format or "png").upper()
    else:
        assert place is not None
        format = image_format(place if isinstance(place, str) else place.path)
    if format == "JPEG" and options.quality is None:
        how["tables"] = jpeg_tables(source)
    if place == STANDARD_OUTPUT:
        return Saved(None, bytes(encode_image(picture, format, name=job.name, **how)))
    if isinstance(place, str):
        save_image(picture, place, **how)
        return Saved(place)
    return Saved(write_picture(encode_image(picture, format, name=place.path, **how), place))


class ClassifyRecipe(NamedTuple):
    """``aicli classify`` for one image after another."""

    options: ClassifyOptions
    saving: SavingOptions = SavingOptions()
    thumbnail: bool = False

    def start(self) -> ClassifyWork:
        return ClassifyWork(self)


class ClassifyWork:
    """A loaded classifier and what is done with its answers."""

    def __init__(self, recipe: ClassifyRecipe) -> None:
        from aicli.tasks.classify import Classifier

        self.classifier = Classifier.from_options(recipe.options)
        self.saving, self.thumbnail = recipe.saving, recipe.thumbnail
        self.notes = self.classifier.model.notes

    def __call__(self, job: Job) -> Done:
        watch = Stopwatch()
        with watch.stage("decode"):
            if job.picture is None:
                image = self.classifier.open(checked_source(job), name=job.name)
            else:
                image = self._open_full(job)
        with watch.guest(self.classifier.guest):
            result = self.classifier.classify(image)
        saved = Saved(None)
        if job.picture is not None:
            with watch.stage("drawing"):
                from aicli.output.pictures.drawing import draw_label

                saved = save(draw_label(image.to_pil(), result), job, image, self.saving)
        extra = {} if saved.path is None else {"output": saved.path}
        thumbnail = small(image.to_pil()) if self.thumbnail else None
        return Done(result, extra, watch.stages, thumbnail, notes_of(image), saved.data)

    def warm_up(self) -> None:
        self.classifier.warm_up()

    def _open_full(self, job: Job) -> DecodedImage:
        """In full resolution, because the picture is written again."""
        from aicli.image.decode import open_image

        return open_image(checked_source(job), name=job.name, max_pixels=self.classifier.options.max_pixels)


class DetectRecipe(NamedTuple):
    """``aicli detect-faces`` for one image after another."""

    options: DetectOptions
    pictures: PictureOptions = PictureOptions()
    thumbnail: bool = False

    def start(self) -> DetectWork:
        return DetectWork(self)


class DetectWork:
    """A loaded face detector and what is done with its answers."""

    notes = ()

    def __init__(self, recipe: DetectRecipe) -> None:
        from aicli.tasks.faces import FaceDetector

        self.detector = FaceDetector.from_options(recipe.options)
        self.pictures, self.thumbnail = recipe.pictures, recipe.thumbnail
        self._cover = open_cover(recipe.pictures.cover)

    def __call__(self, job: Job) -> Done:
        watch = Stopwatch()
        with watch.stage("decode"):
            image = self.detector.open(checked_source(job), name=job.name)
        with watch.guest(self.detector.guest):
            result = self.detector.detect(image)
        extra: dict[str, Any] = {}
        saved, shown = Saved(None), image.to_pil()
        if job.picture is not None or job.crops is not None:
            with watch.stage("drawing"):
                if job.picture is not None:
                    shown, saved = self._picture(job, image, result.faces, extra)
                if job.crops is not None:
                    extra["crops"] = self._crop(image, result.faces, job.crops)
        notes = notes_of(image)
        if job.picture is not None and "metadata" in extra and not result.faces:
            hint = "" if self.detector.options.turns else "; --turns finds faces of a photo that is not upright"
            notes += (Note(f"nothing hidden {job.name}", f"no face was found, and nothing is hidden{hint}"),)
        thumbnail = self._thumbnail(shown, result.faces) if self.thumbnail else None
        return Done(result, extra, watch.stages, thumbnail, notes, saved.data)

    def warm_up(self) -> None:
        self.detector.warm_up()

    def _picture(
        self, job: Job, image: DecodedImage, faces: tuple[Face, ...], extra: dict[str, Any]
    ) -> tuple[Image.Image, Saved]:
        """Makes and writes the picture of a photo, and says in its record what became of it."""
        from aicli.output.pictures.compose import anonymizes, compose
        from aicli.tasks.originals import picture_to_hide_in

        options = self.pictures
        if not anonymizes(options):
            picture = compose(image.to_pil(), faces, options)
            saved = save(picture, job, image, options)
        else:
            original = picture_to_hide_in(self.detector, image, checked_source(job), faces)
            picture = compose(*original, options, self._cover)
            exif: Literal["plain", "dropped"] = "plain" if options.keep_metadata else "dropped"
            saved = save(picture, job, image, options, exif=exif)
            extra["metadata"] = "kept" if options.keep_metadata else "dropped"
        if saved.path is not None:
            extra["output"] = saved.path
        return picture, saved

    def _thumbnail(self, picture: Image.Image, faces: tuple[Face, ...]) -> Image.Image:
        """The photo for a contact sheet, with boxes; anonymised where the picture is."""
        from aicli.output.pictures.compose import anonymizes
        from aicli.output.pictures.drawing import draw_faces, scaled

        thumbnail = small(picture).convert("RGB")
        if anonymizes(self.pictures):
            return thumbnail
        factor = thumbnail.width / picture.width, thumbnail.height / picture.height
        return draw_faces(thumbnail, [scaled(face, *factor) for face in faces], color=self.pictures.color)

    def _crop(self, image: DecodedImage, faces: tuple[Face, ...], place: Place) -> list[str]:
        """Writes each face as a file of its own, without EXIF: it describes the whole photo."""
        from aicli.output.pictures.compose import CROP_MARGIN
        from aicli.output.pictures.crops import crop_face
        from aicli.output.pictures.places import write_crops
        from aicli.output.pictures.saving import ImageMetadata, encode_image

        options = self.pictures
        margin = CROP_MARGIN if options.margin is None else options.margin
        picture, metadata = image.to_pil(), ImageMetadata(image.icc_profile)
        cuts = []
        for number, face in enumerate(faces, 1):
            try:
                cut = crop_face(picture, face, margin=margin, align=options.align, size=options.size)
            except AicliError:  # a box wholly outside the image
                continue
            data = encode_image(cut, "JPEG", name=place.path, metadata=metadata, quality=options.quality)
            cuts.append((number, data))
        return write_crops(cuts, place)


def open_cover(value: str | None) -> Image.Image | None:
    """The picture of ``--cover``, with what is transparent in it. Raises :class:`AicliError`."""
    from aicli.image.original import open_transparent
    from aicli.output.pictures.compose import SOLID

    if value is None or value == SOLID:
        return None
    from aicli.image.decode import DEFAULT_MAX_PIXELS, open_image

    path = Path(value)
    try:
        transparent = open_transparent(path, name=value, max_pixels=DEFAULT_MAX_PIXELS)
        return transparent if transparent is not None else open_image(path).to_pil()
    except ImageError as error:
        raise UsageError(f"--cover {error}") from None
