"""What a warm worker does: the tasks, with models that the catalog vouches for."""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

from PIL import Image

from aicli.catalog.folders import models_stamp, user_models
from aicli.errors import AicliError
from aicli.guest.client import Guest
from aicli.options import ClassifyOptions, DetectOptions, PictureOptions, SandboxOptions
from aicli.results import Classification, Detection, Face
from aicli.serve.worker.answers import failure, respond
from aicli.tasks.classify import Classifier
from aicli.tasks.faces import FaceDetector
from aicli.tasks.guest_process import GuestProcess
from aicli.workers.codec import Frame

__all__ = ["Tasks", "any_answer", "classify_with", "detect_with", "each"]

WARM_MODELS = 4


class Tasks:
    """Classifiers and detectors that stay loaded, the least recently used ones dropped."""

    def __init__(self, sandbox: SandboxOptions) -> None:
        self.sandbox = sandbox
        self._classifiers: OrderedDict[ClassifyOptions, Classifier] = OrderedDict()
        self._detectors: OrderedDict[str, FaceDetector] = OrderedDict()
        self._used: Guest | GuestProcess | None = None
        self._stamp = models_stamp()

    def __call__(self, frame: Frame) -> Frame:
        self._drop_changed()
        return respond({"classify": self.classify, "faces": self.faces}, frame)

    def warm(self) -> None:
        """Loads the default models and runs them once. Raises :class:`AicliError` when they do not work."""
        picture = io.BytesIO()
        Image.new("RGB", (64, 64), "gray").save(picture, "PNG")
        job = {"options": {}, "names": ["warm"]}
        for run in (self.classify, self.faces):
            header, _ = run(job, [picture.getvalue()])
            if "error" in header["results"][0]:
                raise AicliError(header["results"][0]["error"]["message"])

    def _drop_changed(self) -> None:
        """Drops the user's own models when one was added, replaced or removed since: names may mean others now."""
        stamp = models_stamp()
        if stamp != self._stamp:
            self._stamp, own = stamp, user_models()
            for key in [key for key, kept in self._classifiers.items() if own in kept.model.path.parents]:
                del self._classifiers[key]
            for name in [name for name, kept in self._detectors.items() if own in kept.model.pnet.parents]:
                del self._detectors[name]

    def classifier(self, options: ClassifyOptions) -> Classifier:
        key = classifier_key(options, self.sandbox)
        if key not in self._classifiers:
            self._classifiers[key] = Classifier.from_options(key)
        self._classifiers.move_to_end(key)
        while len(self._classifiers) > WARM_MODELS:
            self._classifiers.popitem(last=False)
        return self._classifiers[key]

    def detector(self, model: str) -> FaceDetector:
        if model not in self._detectors:
            self._detectors[model] = FaceDetector.from_options(DetectOptions(model).replace(**self.sandbox.keywords()))
        self._detectors.move_to_end(model)
        while len(self._detectors) > WARM_MODELS:
            self._detectors.popitem(last=False)
        return self._detectors[model]

    def prepare(self) -> None:
        """Gets the guest ready for the next request: no request sees memory that another has used."""
        if self._used is not None:
            with suppress(AicliError):  # the next request will say
                self._used.prepare()

    def classify(self, job: dict[str, Any], photos: Sequence[bytes]) -> Frame:
        options = classify_options(json.dumps(job["options"]))
        classifier = self.classifier(options)
        self._used = classifier.guest
        return each(job["names"], photos, classify_with(classifier, options, job)), []

    def faces(self, job: dict[str, Any], photos: Sequence[bytes]) -> Frame:
        detector = self.detector(detect_options(json.dumps(job["options"])).model)
        self._used = detector.guest
        return detect_with(detector, job, photos)


def any_answer(options: ClassifyOptions) -> ClassifyOptions:
    """The options of a classifier that serves these whatever they want answered."""
    return options.replace(top_k=ClassifyOptions.top_k, min_score=ClassifyOptions.min_score)


# Most jobs ask for the same, and every value is checked when options are made.


@lru_cache(maxsize=64)
def classify_options(text: str) -> ClassifyOptions:
    return ClassifyOptions.from_dict(json.loads(text))


@lru_cache(maxsize=64)
def detect_options(text: str) -> DetectOptions:
    return DetectOptions.from_dict(json.loads(text))


@lru_cache(maxsize=64)
def classifier_key(options: ClassifyOptions, sandbox: SandboxOptions) -> ClassifyOptions:
    """What decides which classifier serves these options."""
    return any_answer(options).replace(**sandbox.keywords())


Answers = Callable[[str, bytes], Iterable[dict[str, Any]]]


def each(names: list[str], photos: Sequence[bytes], answers: Answers) -> dict[str, Any]:
    """The records of all photos; one that fails has an error in the place of an answer, or behind its first frames."""
    results: list[dict[str, Any]] = []
    for name, photo in zip(names, photos, strict=True):
        try:
            results.extend(answers(name, photo))
        except Exception as error:
            results.append({"image": name, **failure(error)})
    return {"results": results}


def classify_with(classifier: Classifier, options: ClassifyOptions, job: dict[str, Any]) -> Answers:
    def answers(name: str, photo: bytes) -> Iterable[dict[str, Any]]:
        several = job.get("all_frames")
        for image in classifier.open_frames(photo, name=name) if several else [classifier.open(photo, name=name)]:
            found = classifier.classify(image, top_k=options.top_k, min_score=options.min_score)
            yield found.to_dict() | frame_of(found, job)

    return answers


def frame_of(found: Classification | Detection, job: dict[str, Any]) -> dict[str, Any]:
    """What the records of an image with one frame say too, where all were asked for."""
    return {"frames": found.frames, "frame": found.frame} if job.get("all_frames") else {}


def detect_with(detector: FaceDetector, job: dict[str, Any], photos: Sequence[bytes]) -> Frame:
    """Faces as records, or the picture of the one photo, with boxes or with its faces hidden."""
    options = detect_options(json.dumps(job["options"]))
    if "pictures" not in job:

        def answers(name: str, photo: bytes) -> Iterable[dict[str, Any]]:
            several = job.get("all_frames")
            for image in detector.open_frames(photo, name=name) if several else [detector.open(photo, name=name)]:
                found = detector.detect(image, options)
                yield found.to_dict() | frame_of(found, job)

        return each(job["names"], photos, answers), []
    from aicli.tasks.originals import open_cover

    pictures, photo, *covers = PictureOptions.from_dict(job["pictures"]), *photos
    most = detector.options.max_pixels
    cover = open_cover(covers[0], name="cover", max_pixels=most) if covers else None
    draw = draw_frames if job.get("all_frames") else draw_one
    return draw(detector, options, pictures, job["names"][0], photo, cover)


def draw_one(
    detector: FaceDetector,
    options: DetectOptions,
    pictures: PictureOptions,
    name: str,
    photo: bytes,
    cover: Image.Image | None,
) -> Frame:
    """The picture of a photo, with boxes or with its faces hidden."""
    from aicli.output.pictures.compose import compose
    from aicli.output.pictures.saving import ImageMetadata, encode_image, jpeg_tables
    from aicli.tasks.originals import picture_to_draw_on, picture_to_hide_in

    image = detector.open(photo, name=name)
    found = faces = detector.detect(image, options).faces
    hides = pictures.hides_faces
    if hides:
        picture, faces = picture_to_hide_in(detector, image, photo, faces, options)
    else:
        picture = picture_to_draw_on(image, photo, max_pixels=detector.options.max_pixels)
    format = (pictures.picture_format or "png").upper()
    data = encode_image(
        compose(picture, faces, pictures, cover),
        format,
        name=image.name,
        metadata=ImageMetadata(image.icc_profile, image.exif),
        exif=pictures.exif_of_hidden if hides else "dropped",
        quality=pictures.quality,
        tables=jpeg_tables(photo) if format == "JPEG" else None,
        png_level=1,  # an answer should not wait for a smaller file
    )
    return {"type": f"image/{format.lower()}", "faces": len(faces), **spared([found], pictures)}, [bytes(data)]


def draw_frames(
    detector: FaceDetector,
    options: DetectOptions,
    pictures: PictureOptions,
    name: str,
    photo: bytes,
    cover: Image.Image | None,
) -> Frame:
    """The picture of all frames of a photo, with boxes or with the faces hidden."""
    from aicli.output.pictures.animation import Animation, encode_animation
    from aicli.output.pictures.compose import compose
    from aicli.output.pictures.saving import ImageMetadata
    from aicli.tasks.originals import frame_to_hide_in

    hides, animation, first, count = pictures.hides_faces, None, None, 0
    found: list[tuple[Face, ...]] = []
    for image in detector.open_frames(photo, name=name, keep_transparent=True):
        first = first or image
        animation = animation or Animation(name, detector.options.max_pixels, image.plays)
        picture, faces = image.transparent or image.to_pil(), detector.detect(image, options).faces
        found.append(faces)
        if hides:
            picture, faces = frame_to_hide_in(detector, image, faces, options)
        animation.add(compose(picture, faces, pictures, cover), image.shown_for)
        count += len(faces)
    assert animation is not None and first is not None  # a file without a frame is an error
    format = (pictures.picture_format or "png").upper()
    metadata = ImageMetadata(first.icc_profile, first.exif)
    exif = pictures.exif_of_hidden if hides else "dropped"
    data = encode_animation(animation, format, name=name, metadata=metadata, exif=exif, quality=pictures.quality)
    return {"type": f"image/{format.lower()}", "faces": count, **spared(found, pictures)}, [bytes(data)]


def spared(frames: Sequence[Sequence[Face]], pictures: PictureOptions) -> dict[str, str]:
    """What the header says where a face that was to be left as it is is in no frame."""
    from aicli.output.pictures.spared import not_there

    note = not_there(frames, pictures)
    return {} if note is None else {"note": note}
