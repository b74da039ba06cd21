"""Face detection with the MTCNN cascade (Zhang et al. 2016, arXiv:1604.02878)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from aicli._option import made_from
from aicli.catalog import FaceModel, load_faces
from aicli.guest.requests import DetectRequest
from aicli.image.decode import DecodedImage, open_frames, open_image
from aicli.options import DetectOptions, FrameOptions
from aicli.results import Box, Detection, Face, Landmarks, Point
from aicli.tasks.border import find_cut
from aicli.tasks.engines import load_engine_for
from aicli.tasks.guests import load_guest
from aicli.tasks.task import Task
from aicli.tasks.turns import find_turned
from aicli.tasks.warm_up import small_photo

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Unpack

    from aicli.image.decode import ImageSource
    from aicli.tasks.many import Failure

__all__ = ["DetectOverrides", "FaceDetector"]


class DetectOverrides(TypedDict, total=False):
    """What a call may ask for in the place of the detector's own options."""

    min_size: float
    thresholds: tuple[float, float, float]
    factor: float
    max_faces: int
    min_score: float
    min_box: float
    max_box: float | None
    clip: bool


class FaceDetector(Task):
    """A face detector that is loaded once and called for many images, from one thread at a time.

    ``min_size`` is the side of the smallest face in pixels of the upright image; ``thresholds`` are the lowest scores
    that P-Net, R-Net and O-Net let through; ``factor`` is the ratio from one pyramid level to the next (paper,
    section II.A). At most ``max_faces`` are answered, best first (0: all), those below ``min_score`` (0 to 1) left out.
    ``guest`` is a WebAssembly module to run instead of the packaged one.

    With ``fresh_guest`` each image is answered by an instance of the guest that has seen no other.

    All are fields of :class:`aicli.options.DetectOptions`, and ``options`` holds them. Raises
    :class:`aicli.errors.UsageError` or one of its subclasses when they do not go together.
    """

    @made_from(DetectOptions)
    def __init__(self, options: DetectOptions) -> None:
        self.options = options
        engine = load_engine_for(options)
        self.model: FaceModel = load_faces(options.model, packaged_guest=options.guest is None)
        nets = {"pnet": self.model.pnet, "rnet": self.model.rnet, "onet": self.model.onet}
        self.guest = load_guest("detect-faces", nets, engine, options, pixel_models=self.model.pixels)

    @classmethod
    def from_options(cls, options: DetectOptions) -> FaceDetector:
        return cls(**options.keywords())

    def __call__(self, image: ImageSource | DecodedImage, **overrides: Unpack[DetectOverrides]) -> Detection:
        """Finds the faces of one image: a path, bytes, a file object, a PIL image, a uint8 array (height x width x 3).

        ``min_size``, ``thresholds``, ``factor``, ``max_faces``, ``min_score``, ``min_box``, ``max_box`` and ``clip``
        stand for the detector's own.

        Raises :class:`aicli.errors.ImageError` for an image that cannot be read and
        :class:`aicli.errors.GuestFault` when the guest fails on it.
        """
        return self.detect(image, **overrides)

    def open(self, image: ImageSource, *, name: str | None = None) -> DecodedImage:
        """Decodes an image as :meth:`__call__` does, in full resolution."""
        return open_image(image, name=name, max_pixels=self.options.max_pixels)

    def frames(
        self,
        image: ImageSource,
        *,
        name: str | None = None,
        max_frames: int = FrameOptions.max_frames,
        **overrides: Unpack[DetectOverrides],
    ) -> Iterator[Detection]:
        """Finds the faces of every frame of an animation, page of a TIFF, picture of an MPO or HEIF file, in order.

        Each answer says which ``frame`` of how many ``frames`` it is of. Raises as :meth:`__call__` does, at the frame
        that cannot be read, and :class:`aicli.errors.ImageTooLargeError` for a file of more than ``max_frames``.
        """
        for frame in self.open_frames(image, name=name, max_frames=max_frames):
            yield self.detect(frame, **overrides)

    def open_frames(
        self,
        image: ImageSource,
        *,
        name: str | None = None,
        max_frames: int = FrameOptions.max_frames,
        keep_transparent: bool = False,
    ) -> Iterator[DecodedImage]:
        """Decodes the frames of an image as :meth:`frames` does; see :func:`aicli.image.decode.open_frames`."""
        most = self.options.max_pixels
        return open_frames(image, name=name, max_pixels=most, max_frames=max_frames, keep_transparent=keep_transparent)

    def detect(
        self,
        image: ImageSource | DecodedImage,
        options: DetectOptions | None = None,
        **overrides: Unpack[DetectOverrides],
    ) -> Detection:
        """Finds the faces of an image, which may be decoded already; ``overrides`` as for :meth:`__call__`.

        ``options`` stand for all of the detector's own that say what to look for.
        """
        image = image if isinstance(image, DecodedImage) else self.open(image)
        options, model = options or self.options, self.model
        options = options.replace(**overrides) if overrides else options
        most = 0 if options.min_box or options.max_box else options.max_faces  # the best of those that are kept
        request = DetectRequest(
            options.min_size,
            options.thresholds,
            options.factor,
            model.mean,
            model.std,
            model.channels,
            most,
        )
        find = partial(self._find_cut if options.border else self._find, request=request)
        faces = find_turned(find, image.pixels, most) if options.turns else find(image.pixels)
        kept = [face for face in faces if is_wanted(face, options)][: options.max_faces or None]
        size = image.full_width, image.full_height
        if options.clip:
            kept = [face._replace(box=clipped(face.box, *size)) for face in kept]
        return Detection(
            image.name, *size, model.name, tuple(kept), frame=image.frame, frames=image.frames, part=image.part
        )

    def _find(self, pixels: NDArray[np.uint8], request: DetectRequest) -> list[Face]:
        return [make_face([float(value) for value in row]) for row in self.guest.detect_faces(pixels, request)]

    def _find_cut(self, pixels: NDArray[np.uint8], request: DetectRequest) -> list[Face]:
        def find(pixels: NDArray[np.uint8], smaller: int) -> list[Face]:
            least = max(request.min_size / smaller, min(request.min_size, DetectOptions.min_size))
            return self._find(pixels, request.replace(min_size=least))

        return find_cut(find, pixels)

    def warm_up(self) -> None:
        """Loads what the first image would have to wait for, where copies of this process can share it."""
        if self.guest.has_warm_copies:
            self.detect(self.open(small_photo()), min_size=20, thresholds=(0, 0, 0), max_faces=0)  # every box
            self.guest.times.clear()

    def many(
        self, images: Iterable[ImageSource], *, jobs: int = 1, timeout: float | None = None
    ) -> Iterator[Detection | Failure]:
        """Finds the faces of many images, answers in their order; see :func:`aicli.tasks.many.run_many`."""
        from aicli.tasks.many import TaskRecipe, run_many

        recipe = TaskRecipe.for_jobs(FaceDetector, self.options, jobs)
        return run_many(self, images, jobs=jobs, recipe=recipe, timeout=timeout)


def is_wanted(face: Face, options: DetectOptions) -> bool:
    """Whether a face's score and box are within the limits."""
    sides = face.box.x2 - face.box.x1, face.box.y2 - face.box.y1
    largest = math.inf if options.max_box is None else options.max_box
    return face.score >= options.min_score and min(sides) >= options.min_box and max(sides) <= largest


def clipped(box: Box, width: int, height: int) -> Box:
    """The part of a box inside the image; a box beyond it has no size then."""
    x1, x2 = (min(max(x, 0.0), float(width)) for x in (box.x1, box.x2))
    y1, y2 = (min(max(y, 0.0), float(height)) for y in (box.y1, box.y2))
    return Box(x1, y1, x2, y2)


def make_face(row: list[float]) -> Face:
    """A face from a record of the guest: box, score, five landmarks."""
    points = [Point(row[at], row[at + 1]) for at in range(5, 15, 2)]
    return Face(Box(*row[:4]), row[4], Landmarks(*points))
