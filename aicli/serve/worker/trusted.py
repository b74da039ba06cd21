"""What a warm worker does: the tasks, with models that the catalog vouches for."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from PIL import Image

from aicli.errors import AicliError
from aicli.guest.client import DetectRequest, Guest
from aicli.results import Detection
from aicli.serve.worker.child import Handler, failure
from aicli.serve.worker.wire import Frame
from aicli.tasks.classify import Classifier
from aicli.tasks.faces import FaceDetector, check_parameters
from aicli.wasm import Limits

__all__ = ["Tasks", "make_handlers"]

WARM_MODELS = 4
MODEL_OPTIONS = ("input_range", "resize", "channels", "output_tensor")


def make_handlers(options: dict[str, Any]) -> tuple[dict[str, Handler], Callable[[], None]]:
    """The handlers of a worker, with the default models loaded and run once, and what to do between two requests."""
    tasks = Tasks(options)
    tasks.warm()
    return {"classify": tasks.classify, "faces": tasks.faces}, tasks.prepare


class Tasks:
    """Classifiers and detectors that stay loaded, the least recently used ones dropped."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.max_pixels = options["max_pixels"]
        self.common: dict[str, Any] = {name: options.get(name) for name in ("runtime", "engine", "threads")}
        self.common["max_pixels"] = self.max_pixels
        self.common["limits"] = Limits(timeout=options["deadline"])
        self.common["fresh_guest"] = True
        self._classifiers: OrderedDict[tuple[Any, ...], Classifier] = OrderedDict()
        self._detectors: OrderedDict[str, FaceDetector] = OrderedDict()
        self._used: Guest | None = None

    def warm(self) -> None:
        picture = io.BytesIO()
        Image.new("RGB", (64, 64), "gray").save(picture, "PNG")
        job = {"options": {}, "names": ["warm"]}
        for run in (self.classify, self.faces):
            header, _ = run(job, [picture.getvalue()])
            if "error" in header["results"][0]:
                raise RuntimeError(header["results"][0]["error"]["message"])

    def classifier(self, options: dict[str, Any]) -> Classifier:
        model = options.get("model", "efficientnet_lite0")
        special = {name: options[name] for name in MODEL_OPTIONS if name in options}
        key = (model, *special.items())
        if key not in self._classifiers:
            self._classifiers[key] = Classifier(model, **special, **self.common)
        self._classifiers.move_to_end(key)
        while len(self._classifiers) > WARM_MODELS:
            self._classifiers.popitem(last=False)
        return self._classifiers[key]

    def detector(self, model: str) -> FaceDetector:
        if model not in self._detectors:
            self._detectors[model] = FaceDetector(model, **self.common)
        self._detectors.move_to_end(model)
        while len(self._detectors) > WARM_MODELS:
            self._detectors.popitem(last=False)
        return self._detectors[model]

    def prepare(self) -> None:
        """Gets the guest ready for the next request: no request sees memory that another has used."""
        if self._used is not None:
            with suppress(AicliError):  # the next request will say
                self._used.prepare()

    def classify(self, job: dict[str, Any], photos: list[bytes]) -> Frame:
        classifier = self.classifier(job["options"])
        self._used = classifier.guest
        return each(job["names"], photos, classify_with(classifier, job["options"])), []

    def faces(self, job: dict[str, Any], photos: list[bytes]) -> Frame:
        detector = self.detector(job["options"].get("model", "mtcnn"))
        self._used = detector.guest
        return detect_with(detector, job, photos)


def each(names: list[str], photos: list[bytes], answer: Any) -> dict[str, Any]:
    """The records of all photos; one that fails has an error in the place of an answer."""
    results: list[dict[str, Any]] = []
    for name, photo in zip(names, photos, strict=True):
        try:
            results.append(answer(name, photo))
        except Exception as error:
            results.append({"image": name, **failure(error)})
    return {"results": results}


def classify_with(classifier: Classifier, options: dict[str, Any]) -> Any:
    def answer(name: str, photo: bytes) -> dict[str, Any]:
        image = classifier.open(photo, name=name)
        top, least = options.get("top", 5), options.get("min_score", 0.0)
        return classifier.classify(image, top_k=top, min_score=least).to_dict()

    return answer


def detect_with(detector: FaceDetector, job: dict[str, Any], photos: list[bytes]) -> Frame:
    """Faces as records, or the picture of the one photo with boxes as PNG."""
    options = job["options"]
    model = detector.model
    thresholds = tuple(options.get("thresholds", (0.6, 0.7, 0.7)))
    values = (options.get("min_size", 20.0), thresholds, options.get("factor", 0.709))
    check_parameters(*values, options.get("max_faces", 0))
    request = DetectRequest(*values, model.mean, model.std, model.channels, options.get("max_faces", 0))

    def detect(image: Any) -> Detection:
        return detector.detect(image, request)

    if not job.get("picture"):
        return each(job["names"], photos, lambda name, photo: detect(detector.open(photo, name=name)).to_dict()), []
    from aicli.output.pictures.drawing import draw_faces

    image = detector.open(photos[0], name=job["names"][0])
    landmarks, scores = bool(options.get("landmarks")), bool(options.get("scores"))
    drawn = draw_faces(image.to_pil(), detect(image).faces, landmarks=landmarks, scores=scores)
    out = io.BytesIO()
    drawn.save(out, "PNG", compress_level=1)
    return {"type": "image/png"}, [out.getvalue()]
