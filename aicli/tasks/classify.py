"""Image classification with a MobileNet-class model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from aicli._option import made_from
from aicli.catalog import ClassifierModel, load_classifier
from aicli.guest.requests import ClassifyRequest
from aicli.image.decode import DecodedImage, open_frames, open_image
from aicli.options import ClassifyOptions, FrameOptions
from aicli.results import Classification, Prediction
from aicli.tasks.engines import load_engine_for
from aicli.tasks.guests import load_guest
from aicli.tasks.task import Task
from aicli.tasks.warm_up import small_photo

if TYPE_CHECKING:
    from aicli.image.decode import ImageSource
    from aicli.tasks.many import Failure

__all__ = ["Classifier"]

CHECKS = {item.name: item for item in ClassifyOptions.fields if item.name in ("top_k", "min_score")}
"""The options that one call may change."""


class Classifier(Task):
    """A classifier that is loaded once and called for many images, from one thread at a time.

    ``model`` is a name from the catalog or the path of a .tflite file; ``labels`` a label file or a sequence of class
    names, needed where the model brings none. ``top_k`` classes are answered (0: all), those below ``min_score``
    (0 to 1) left out. ``input_range`` (two numbers such as ``-1,1``), ``mean`` and ``std`` (one number or three, for
    red, green and blue), ``resize`` (``squash``, ``crop``, ``pad``), ``channels`` (``rgb``, ``bgr``),
    ``output_tensor``, ``signature``, ``input_size`` and ``locale`` (of the labels in the file) override what is known
    about the model. ``guest`` is a WebAssembly module to run instead of the packaged one.

    With ``fresh_guest`` each image is answered by an instance of the guest that has seen no other.

    All are fields of :class:`aicli.options.ClassifyOptions`, and ``options`` holds them. Raises
    :class:`aicli.errors.UsageError` or one of its subclasses when they do not go together.
    """

    @made_from(ClassifyOptions)
    def __init__(self, options: ClassifyOptions) -> None:
        self.options = options
        engine = load_engine_for(options)
        self.model: ClassifierModel = load_classifier(
            options.model,
            options.labels,
            engine=engine,
            input_range=options.input_range,
            resize=options.resize,
            channels=options.channels,
            output_tensor=options.output_tensor,
            mean=options.mean,
            std=options.std,
            signature=options.signature,
            locale=options.locale,
            input_size=options.input_size,
        )
        models = {"classifier": self.model.content or self.model.path}
        self.guest = load_guest("classify", models, engine, options, shapes={"classifier": self.model.input.shape})
        self.guest.require(ClassifyRequest(self.model.input, self.model.output, options.top_k, options.min_score))

    @classmethod
    def from_options(cls, options: ClassifyOptions) -> Classifier:
        return cls(**options.keywords())

    def __call__(
        self, image: ImageSource | DecodedImage, *, top_k: int | None = None, min_score: float | None = None
    ) -> Classification:
        """Classifies one image: a path, bytes, a file object, a PIL image, or a uint8 array (height x width x 3, RGB).

        Raises :class:`aicli.errors.ImageError` for an image that cannot be read and
        :class:`aicli.errors.GuestFault` when the guest fails on it.
        """
        return self.classify(image, top_k=top_k, min_score=min_score)

    def open(self, image: ImageSource, *, name: str | None = None) -> DecodedImage:
        """Decodes an image as :meth:`__call__` does, at no more resolution than the model can use.

        A JPEG keeps at least four times the model's input: with two, a small model's scores moved by up to 0.14.
        """
        return open_image(image, name=name, min_size=self._least_side(), max_pixels=self.options.max_pixels)

    def _least_side(self) -> int:
        return 2 * max(self.model.input.width, self.model.input.height)

    def frames(
        self,
        image: ImageSource,
        *,
        name: str | None = None,
        max_frames: int = FrameOptions.max_frames,
        top_k: int | None = None,
        min_score: float | None = None,
    ) -> Iterator[Classification]:
        """Classifies every frame of an animation, page of a TIFF, picture of an MPO or HEIF file, one after the other.

        Each answer says which ``frame`` of how many ``frames`` it is of. Raises as :meth:`__call__` does, at the frame
        that cannot be read, and :class:`aicli.errors.ImageTooLargeError` for a file of more than ``max_frames``.
        """
        for frame in self.open_frames(image, name=name, max_frames=max_frames):
            yield self.classify(frame, top_k=top_k, min_score=min_score)

    def open_frames(
        self, image: ImageSource, *, name: str | None = None, max_frames: int = FrameOptions.max_frames
    ) -> Iterator[DecodedImage]:
        """Decodes the frames of an image as :meth:`frames` does."""
        size, most = self._least_side(), self.options.max_pixels
        return open_frames(image, name=name, min_size=size, max_pixels=most, max_frames=max_frames)

    def classify(
        self, image: ImageSource | DecodedImage, *, top_k: int | None = None, min_score: float | None = None
    ) -> Classification:
        """Classifies an image, which may be decoded already. ``top_k=0`` answers all classes."""
        image = image if isinstance(image, DecodedImage) else self.open(image)
        top_k = self.options.top_k if top_k is None else CHECKS["top_k"].checked(top_k)
        min_score = self.options.min_score if min_score is None else CHECKS["min_score"].checked(min_score)
        request = ClassifyRequest(self.model.input, self.model.output, top_k, min_score)
        answer = self.guest.classify(image.pixels, request)
        labels = self.model.labels
        predictions = tuple(Prediction(index, labels[index], min(1.0, max(0.0, score))) for index, score in answer)
        return Classification(
            image.name,
            image.full_width,
            image.full_height,
            self.model.name,
            predictions,
            frame=image.frame,
            frames=image.frames,
            part=image.part,
        )

    def warm_up(self) -> None:
        """Loads what the first image would have to wait for, where copies of this process can share it."""
        if self.guest.has_warm_copies:
            self(small_photo())
            self.guest.times.clear()

    def many(
        self, images: Iterable[ImageSource], *, jobs: int = 1, timeout: float | None = None
    ) -> Iterator[Classification | Failure]:
        """Classifies many images and yields the answers in their order; see :func:`aicli.tasks.many.run_many`."""
        from aicli.tasks.many import TaskRecipe, run_many

        recipe = TaskRecipe.for_jobs(Classifier, self.options, jobs)
        return run_many(self, images, jobs=jobs, recipe=recipe, timeout=timeout)
