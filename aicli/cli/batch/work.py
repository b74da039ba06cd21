"""What is done with one image, in this process or in a worker: decode, run the guest, write the pictures.

The recipes are plain picklable values. Where pictures go is decided before, in the order of the images, so that
several jobs write the same files as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aicli._ahead import wait_until_loaded
from aicli.cli.batch.job import (
    Answer,
    Done,
    Exif,
    Job,
    Note,
    Saved,
    Stopwatch,
    checked_source,
    fetched,
    notes_of,
    put_crops,
    save,
    small,
)
from aicli.errors import AicliError, ImageError, UsageError
from aicli.options import ClassifyOptions, DetectOptions, FrameOptions, PictureOptions, SavingOptions

if TYPE_CHECKING:
    from PIL import Image

    from aicli.cli.batch.frames import Cuts
    from aicli.image.decode import DecodedImage
    from aicli.results import Classification, Detection, Face

__all__ = ["ClassifyRecipe", "DetectRecipe", "open_cover"]


class ClassifyRecipe(NamedTuple):
    """``aicli classify`` for one image after another."""

    options: ClassifyOptions
    saving: SavingOptions = SavingOptions()
    thumbnail: bool = False
    frames: FrameOptions = FrameOptions()

    def start(self) -> ClassifyWork:
        return ClassifyWork(self)


class ClassifyWork:
    """A loaded classifier and what is done with its answers."""

    def __init__(self, recipe: ClassifyRecipe) -> None:
        from aicli.tasks.classify import Classifier

        self.classifier = Classifier.from_options(recipe.options)
        self.saving, self.thumbnail, self.frames = recipe.saving, recipe.thumbnail, recipe.frames
        self.model, self.notes = self.classifier.model.name, self.classifier.model.notes

    def __call__(self, job: Job) -> Done:
        job = fetched(job)
        if job.former is not None:
            shown = self.classifier.open(checked_source(job), name=job.name)
            return Done(job.former, {}, {}, small(shown.to_pil()))
        if self.frames.all_frames:
            from aicli.cli.batch.frames import answer_frames

            return answer_frames(ClassifiedFrames(self), job)
        watch = Stopwatch()
        with watch.stage("decode"):
            if job.picture is None:
                image = self.classifier.open(checked_source(job), name=job.name)
            else:
                image = self._open_full(job)
        return self.answer(job, image, watch)

    def answer(self, job: Job, image: DecodedImage, watch: Stopwatch) -> Done:
        with watch.guest(self.classifier.guest):
            result = self.classifier.classify(image)
        saved = Saved(None)
        if job.picture is not None:
            with watch.stage("drawing"):
                from aicli.output.pictures.drawing import draw_label
                from aicli.tasks.originals import picture_to_draw_on

                most = self.classifier.options.max_pixels
                picture = picture_to_draw_on(image, checked_source(job), max_pixels=most)
                saved = save(draw_label(picture, result), job, image, self.saving)
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
    frames: FrameOptions = FrameOptions()
    writes_pictures: bool = False

    def start(self) -> DetectWork:
        return DetectWork(self)


class DetectWork:
    """A loaded face detector and what is done with its answers."""

    notes = ()

    def __init__(self, recipe: DetectRecipe) -> None:
        from aicli.tasks.faces import FaceDetector

        self.detector = FaceDetector.from_options(recipe.options)
        self.model = self.detector.model.name
        self.pictures, self.thumbnail, self.frames = recipe.pictures, recipe.thumbnail, recipe.frames
        self.cover, self.writes_pictures = open_cover(recipe.pictures.cover), recipe.writes_pictures

    def __call__(self, job: Job) -> Done:
        job = fetched(job)
        if job.former is not None:
            return self.seen_before(job, job.former)
        if self.frames.all_frames:
            from aicli.cli.batch.frames import answer_frames

            return answer_frames(FrameFaces(self), job)
        watch = Stopwatch()
        with watch.stage("decode"):
            image = self.detector.open(checked_source(job), name=job.name)
        return self.answer(job, image, watch)

    def answer(self, job: Job, image: DecodedImage, watch: Stopwatch) -> Done:
        with watch.guest(self.detector.guest):
            result = self.detector.detect(image)
        extra: dict[str, Any] = {}
        saved, shown = Saved(None), None
        if job.picture is not None or job.crops is not None:
            with watch.stage("drawing"):
                if job.picture is not None:
                    shown, saved = self._picture(job, image, result.faces, extra)
                if job.crops is not None:
                    extra["crops"] = put_crops(self.cuts(image, result.faces), job.crops)
        notes = notes_of(image)
        if job.picture is not None and self.pictures.hides_faces:
            notes += self.not_spared([result.faces])
            notes += () if result.faces else (self.nothing_hidden(job),)
        thumbnail = self.small(shown or image.to_pil(), result.faces) if self.thumbnail else None
        return Done(result, extra, watch.stages, thumbnail, notes, saved.data)

    def warm_up(self) -> None:
        self.detector.warm_up()

    def not_spared(self, frames: Sequence[Sequence[Face]]) -> tuple[Note, ...]:
        """A note where no frame of a photo has a face that was to be left as it is."""
        from aicli.output.pictures.spared import not_there

        missing = not_there(frames, self.pictures)
        return () if missing is None else (Note("spared", missing),)

    def nothing_hidden(self, job: Job) -> Note:
        options = self.detector.options
        hints = [] if options.turns else ["--turns finds faces of a photo that is not upright"]
        hints += [] if options.border else ["--border those that its border cuts through"]
        return Note(f"nothing hidden {job.name}", "; ".join(("no face was found, and nothing is hidden", *hints)))

    def _picture(
        self, job: Job, image: DecodedImage, faces: tuple[Face, ...], extra: dict[str, Any]
    ) -> tuple[Image.Image, Saved]:
        """Makes and writes the picture of a photo, and says in its record what became of it."""
        options, picture = self.pictures, self._composed(job, image, faces)
        if not options.hides_faces:
            saved = save(picture, job, image, options)
        else:
            saved = save(picture, job, image, options, exif=options.exif_of_hidden)
            extra["metadata"] = "kept" if options.keep_metadata else "dropped"
        if saved.path is not None:
            extra["output"] = saved.path
        return picture, saved

    def _composed(self, job: Job, image: DecodedImage, faces: tuple[Face, ...]) -> Image.Image:
        """The picture of a photo, with boxes or with its faces hidden."""
        from aicli.output.pictures.compose import compose
        from aicli.tasks.originals import picture_to_draw_on, picture_to_hide_in

        source, most = checked_source(job), self.detector.options.max_pixels
        if self.pictures.hides_faces:
            return compose(*picture_to_hide_in(self.detector, image, source, faces), self.pictures, self.cover)
        return compose(picture_to_draw_on(image, source, max_pixels=most), faces, self.pictures)

    def seen_before(self, job: Job, former: Any) -> Done:
        """The thumbnail of a photo as the run that answered it had it, from the faces of its record."""
        image = self.detector.open(checked_source(job), name=job.name)
        shown = self._composed(job, image, former.faces) if self.writes_pictures else image.to_pil()
        return Done(former, {}, {}, self.small(shown, former.faces))

    def small(self, picture: Image.Image, faces: tuple[Face, ...]) -> Image.Image:
        """The photo for a contact sheet, with boxes; anonymised where the picture is."""
        from aicli.output.pictures.drawing import draw_faces, on_white, scaled

        thumbnail = on_white(small(picture))
        if self.pictures.hides_faces:
            return thumbnail
        factor = thumbnail.width / picture.width, thumbnail.height / picture.height
        return draw_faces(thumbnail, [scaled(face, *factor) for face in faces], color=self.pictures.color)

    def cuts(self, image: DecodedImage, faces: tuple[Face, ...]) -> list[tuple[int, memoryview]]:
        """Each face, by its number, as a JPEG without EXIF: it describes the whole photo."""
        from aicli.output.pictures.compose import CROP_MARGIN
        from aicli.output.pictures.crops import crop_face
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
            data = encode_image(cut, "JPEG", name=f"a face of {image.name}", metadata=metadata, quality=options.quality)
            cuts.append((number, data))
        return cuts


class ClassifiedFrames:
    """:class:`FrameWork` of ``aicli classify``."""

    exif: Exif = "kept"

    def __init__(self, single: ClassifyWork) -> None:
        self.single, self.saving, self.guest = single, single.saving, single.classifier.guest
        self.max_pixels = single.classifier.options.max_pixels

    def open(self, job: Job) -> Iterator[DecodedImage]:
        from aicli.image.decode import open_frames

        source, most = checked_source(job), self.single.frames.max_frames
        if job.picture is None:
            return self.single.classifier.open_frames(source, name=job.name, max_frames=most)
        return open_frames(source, name=job.name, max_pixels=self.max_pixels, max_frames=most, keep_transparent=True)

    def answer(self, image: DecodedImage) -> Classification:
        return self.single.classifier.classify(image)

    def draw(self, image: DecodedImage, result: Any) -> Image.Image:
        from aicli.output.pictures.drawing import draw_label

        return draw_label(image.transparent or image.to_pil(), result)

    def cut(self, image: DecodedImage, result: Any) -> Cuts:
        return []

    def thumbnail(self, picture: Image.Image, result: Any) -> Image.Image:
        from aicli.output.pictures.drawing import on_white

        return on_white(small(picture))

    def about(self, job: Job, answers: list[Answer]) -> tuple[tuple[Note, ...], dict[str, Any]]:
        return (), {}


class FrameFaces:
    """:class:`FrameWork` of ``aicli detect-faces``."""

    def __init__(self, single: DetectWork) -> None:
        self.single, self.saving, self.guest = single, single.pictures, single.detector.guest
        self.max_pixels = single.detector.options.max_pixels
        self.hides = single.pictures.hides_faces
        self.exif: Exif = single.pictures.exif_of_hidden if self.hides else "kept"

    def open(self, job: Job) -> Iterator[DecodedImage]:
        most = self.single.frames.max_frames
        return self.single.detector.open_frames(
            checked_source(job), name=job.name, max_frames=most, keep_transparent=job.picture is not None
        )

    def answer(self, image: DecodedImage) -> Detection:
        return self.single.detector.detect(image)

    def draw(self, image: DecodedImage, result: Any) -> Image.Image:
        from aicli.output.pictures.compose import compose
        from aicli.tasks.originals import frame_to_hide_in

        picture, faces = image.transparent or image.to_pil(), result.faces
        if self.hides:
            picture, faces = frame_to_hide_in(self.single.detector, image, faces)
        return compose(picture, faces, self.single.pictures, self.single.cover)

    def cut(self, image: DecodedImage, result: Any) -> Cuts:
        return self.single.cuts(image, result.faces)

    def thumbnail(self, picture: Image.Image, result: Any) -> Image.Image:
        return self.single.small(picture, result.faces)

    def about(self, job: Job, answers: list[Answer]) -> tuple[tuple[Note, ...], dict[str, Any]]:
        """Notes, and what each record says, where a picture was written."""
        if not self.hides:
            return (), {}
        found = [cast("Detection", answer.result).faces for answer in answers]
        empty = sum(not faces for faces in found)
        notes = self.single.not_spared(found)
        if empty == len(answers):
            notes += (self.single.nothing_hidden(job),)
        elif empty:
            text = f"in {empty} of {len(answers)} frames no face was found, and nothing is hidden there"
            notes += (Note(f"nothing hidden {job.name}", text),)
        return notes, {"metadata": "kept" if self.single.pictures.keep_metadata else "dropped"}


def open_cover(value: str | None) -> Image.Image | None:
    """The picture of ``--cover``. Raises :class:`AicliError`."""
    if value is None:
        return None
    from aicli.output.pictures.compose import SOLID

    if value == SOLID:
        return None
    wait_until_loaded()  # what opens it imports NumPy
    from aicli.image.decode import DEFAULT_MAX_PIXELS
    from aicli.tasks import originals

    try:
        return originals.open_cover(Path(value), name=value, max_pixels=DEFAULT_MAX_PIXELS)
    except ImageError as error:
        raise UsageError(f"--cover {error}") from None
