"""Face detection with the MTCNN cascade (Zhang et al. 2016, arXiv:1604.02878)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from aicli.catalog import FaceModel, load_faces
from aicli.errors import UsageError
from aicli.guest.client import DetectRequest, Guest
from aicli.image.decode import DEFAULT_MAX_PIXELS, DecodedImage, open_image
from aicli.nn.engines import load_engine
from aicli.results import Box, Detection, Face, Landmarks, Point
from aicli.tasks.guests import runtime_for
from aicli.tasks.warm_up import small_photo
from aicli.wasm.runtime import Limits

if TYPE_CHECKING:
    from aicli.image.decode import ImageSource
    from aicli.tasks.many import Failure

__all__ = ["FaceDetector"]


class FaceDetector:
    """A face detector that is loaded once and called for many images, from one thread at a time.

    ``min_size`` is the side of the smallest face in pixels of the upright image; ``thresholds`` are the lowest scores
    that P-Net, R-Net and O-Net let through; ``factor`` is the ratio from one pyramid level to the next (paper,
    section II.A). At most ``max_faces`` are answered, best first (0: all). ``guest`` is a WebAssembly module to run
    instead of the packaged one.

    With ``fresh_guest`` each image is answered by an instance of the guest that has seen no other.

    Raises :class:`aicli.errors.UsageError` or one of its subclasses when these do not go together.
    """

    def __init__(
        self,
        model: str = "mtcnn",
        *,
        min_size: float = 20,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        factor: float = 0.709,
        max_faces: int = 0,
        runtime: str | None = None,
        engine: str | None = None,
        threads: int | None = None,
        guest: str | Path | None = None,
        trust_guest: bool = False,
        limits: Limits | None = None,
        max_pixels: int | None = None,
        fresh_guest: bool = False,
    ) -> None:
        self._recipe = {name: value for name, value in locals().items() if name != "self"}  # for further processes
        check_parameters(min_size, thresholds, factor, max_faces)
        loaded_engine = load_engine(engine)
        self.model: FaceModel = load_faces(model)
        self._max_pixels = max_pixels or DEFAULT_MAX_PIXELS
        self._request = DetectRequest(
            min_size, thresholds, factor, self.model.mean, self.model.std, self.model.channels, max_faces
        )
        limits = limits or Limits()
        path = Path(guest) if guest is not None else None
        self.guest = Guest(
            "detect-faces",
            {"pnet": self.model.pnet, "rnet": self.model.rnet, "onet": self.model.onet},
            engine=loaded_engine,
            threads=threads,
            path=path,
            runtime=runtime_for(path, runtime, limits, trust_guest=trust_guest),
            limits=limits,
            fresh=fresh_guest,
        )

    def __call__(self, image: ImageSource) -> Detection:
        """Finds the faces of one image: a path, bytes, a file object, a PIL image, a uint8 array (height x width x 3).

        Raises :class:`aicli.errors.ImageError` for an image that cannot be read and
        :class:`aicli.errors.GuestFault` when the guest fails on it.
        """
        return self.detect(self.open(image))

    def open(self, image: ImageSource, *, name: str | None = None) -> DecodedImage:
        """Decodes an image as :meth:`__call__` does, in full resolution."""
        return open_image(image, name=name, max_pixels=self._max_pixels)

    def detect(self, image: DecodedImage, request: DetectRequest | None = None) -> Detection:
        """Finds the faces of an image that is already decoded; ``request`` stands for the detector's own parameters."""
        rows = self.guest.detect_faces(image.pixels, request or self._request)
        faces = tuple(make_face([float(value) for value in row]) for row in rows)
        return Detection(image.name, image.full_width, image.full_height, self.model.name, faces)

    def warm_up(self) -> None:
        """Loads what the first image would have to wait for, where copies of this process can share it."""
        if self.guest.has_warm_copies:
            every_box = self._request._replace(min_size=20, thresholds=(0, 0, 0), max_faces=0)
            self.detect(self.open(small_photo()), every_box)
            self.guest.times.clear()

    def many(
        self, images: Iterable[ImageSource], *, jobs: int = 1, timeout: float | None = None
    ) -> Iterator[Detection | Failure]:
        """Finds the faces of many images, answers in their order; see :func:`aicli.tasks.many.run_many`."""
        from aicli.tasks.many import TaskRecipe, run_many

        recipe = TaskRecipe.for_jobs(FaceDetector, self._recipe, jobs)
        return run_many(self, images, jobs=jobs, recipe=recipe, timeout=timeout)


def make_face(row: list[float]) -> Face:
    """A face from a record of the guest: box, score, five landmarks."""
    points = [Point(row[at], row[at + 1]) for at in range(5, 15, 2)]
    return Face(Box(*row[:4]), row[4], Landmarks(*points))


def check_parameters(min_size: float, thresholds: tuple[float, ...], factor: float, max_faces: int) -> None:
    if not (math.isfinite(min_size) and min_size >= 1):
        raise UsageError(f"min_size is {min_size}; it is a number of pixels, at least 1")
    if len(thresholds) != 3 or not all(math.isfinite(value) and 0 <= value <= 1 for value in thresholds):
        raise UsageError(f"thresholds are {thresholds}; three numbers between 0 and 1 are needed")
    if not (math.isfinite(factor) and 0.1 <= factor <= 0.95):
        raise UsageError(f"factor is {factor}; it lies between 0.1 and 0.95")
    if max_faces < 0:
        raise UsageError(f"max_faces is {max_faces}; it is a number of faces, or 0 for all")
