"""``--all-frames``: what is done with an image of several frames, and the picture that shows them all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol

from aicli.cli.batch.job import Answer, Done, Exif, Job, Note, Stopwatch, put_crops, save
from aicli.errors import AicliError, UsageError

if TYPE_CHECKING:
    from PIL import Image

    from aicli.guest.client import Guest
    from aicli.image.decode import DecodedImage
    from aicli.options import SavingOptions
    from aicli.output.pictures.animation import Animation
    from aicli.results import Classification, Detection
    from aicli.tasks.guest_process import GuestProcess

__all__ = ["Cuts", "FrameWork", "answer_frames"]

Cuts = list[tuple[int, memoryview]]


class SingleWork(Protocol):
    """What is done with an image that has one frame."""

    thumbnail: bool

    def answer(self, job: Job, image: DecodedImage, watch: Stopwatch) -> Done: ...


class FrameWork(Protocol):
    """What a task does with one frame; ``single`` is the work on an image that has no other."""

    @property
    def single(self) -> SingleWork: ...
    @property
    def guest(self) -> Guest | GuestProcess: ...
    @property
    def max_pixels(self) -> int: ...
    @property
    def saving(self) -> SavingOptions: ...
    @property
    def exif(self) -> Exif: ...
    def open(self, job: Job) -> Iterator[DecodedImage]: ...
    def answer(self, image: DecodedImage) -> Classification | Detection: ...
    def draw(self, image: DecodedImage, result: Any) -> Image.Image: ...
    def cut(self, image: DecodedImage, result: Any) -> Cuts: ...
    def thumbnail(self, picture: Image.Image, result: Any) -> Image.Image: ...
    def about(self, job: Job, answers: list[Answer]) -> tuple[tuple[Note, ...], dict[str, Any]]: ...


def answer_frames(work: FrameWork, job: Job) -> Done:
    """The answers for every frame of an image. Where one cannot be read, those before it are kept, with the problem."""
    watch = Stopwatch()
    images = work.open(job)
    with watch.stage("decode"):
        image = next(images)
    if image.frames == 1:
        return work.single.answer(job, image, watch)
    run = Frames(work, job, image)
    run.answer_all(image, images, watch)
    if run.problem is None:
        try:
            run.write()
        except UsageError:
            raise
        except AicliError as error:
            run.problem = error
    return run.done()


class Frames:
    """The frames of one image, as far as they are answered."""

    def __init__(self, work: FrameWork, job: Job, first: DecodedImage) -> None:
        self.work, self.job, self.first = work, job, first
        self.answers: list[Answer] = []
        self.problem: AicliError | None = None
        self.shown: Image.Image | None = None
        self.cuts: list[Cuts] = []
        self.notes: tuple[Note, ...] = ()
        self.data: bytes | None = None
        self.animation: Animation | None = None
        if job.picture is not None:
            from aicli.output.pictures.animation import Animation

            self.animation = Animation(job.name, work.max_pixels, first.plays)

    def answer_all(self, image: DecodedImage | None, images: Iterator[DecodedImage], watch: Stopwatch) -> None:
        try:
            while image is not None:
                self.answer(image, watch)
                watch = Stopwatch()
                with watch.stage("decode"):
                    image = next(images, None)
        except UsageError:
            raise
        except AicliError as error:
            if not self.answers:
                raise
            self.problem = error

    def answer(self, image: DecodedImage, watch: Stopwatch) -> None:
        with watch.guest(self.work.guest):
            result = self.work.answer(image)
        self.answers.append(Answer(result, {}, watch.stages))
        picture = None
        if self.animation is not None:
            with watch.stage("drawing"):
                picture = self.work.draw(image, result)
                try:
                    self.animation.add(picture, image.shown_for)
                except AicliError as error:  # the records go on without the picture
                    self.problem, self.animation = error, None
        if self.job.crops is not None:
            with watch.stage("drawing"):
                self.cuts.append(self.work.cut(image, result))
        if self.shown is None and self.work.single.thumbnail:
            self.shown = self.work.thumbnail(picture or image.to_pil(), result)

    def write(self) -> None:
        """Writes the pictures; every record names that of all frames, and the crops of its own."""
        extra: dict[str, Any] = {}
        if self.animation is not None:
            saved = save(self.animation, self.job, self.first, self.work.saving, exif=self.work.exif)
            self.notes, extra = self.work.about(self.job, self.answers)
            extra |= {} if saved.path is None else {"output": saved.path}
            self.data = saved.data
        for answer in self.answers:
            answer.extra.update(extra)
        if self.job.crops is None:
            return
        every = [data for cuts in self.cuts for _, data in cuts]
        paths = iter(put_crops(list(enumerate(every, 1)), self.job.crops))
        for answer, cuts in zip(self.answers, self.cuts, strict=True):
            answer.extra["crops"] = [next(paths) for _ in cuts]

    def done(self) -> Done:
        stages: dict[str, float] = {}
        for answer in self.answers:
            for stage, seconds in answer.stages.items():
                stages[stage] = stages.get(stage, 0.0) + seconds
        result = self.answers[0].result
        return Done(result, {}, stages, self.shown, self.notes, self.data, self.answers, self.problem)
