"""aicli runs vision models as sandboxed functions: a WebAssembly guest around a native TFLite interpreter.

from aicli import Classifier, FaceDetector

classify = Classifier()
print(classify("photo.jpg").best)

detect = FaceDetector(min_size=40)
for face in detect("group.jpg").faces:
    print(face.box, face.score)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

_PUBLIC = {
    "AicliError": "aicli.errors",
    "Box": "aicli.results",
    "BuildError": "aicli.errors",
    "Classification": "aicli.results",
    "Classifier": "aicli.tasks.classify",
    "ClassifyOptions": "aicli.options",
    "DecodedImage": "aicli.image.decode",
    "DetectOptions": "aicli.options",
    "Detection": "aicli.results",
    "Face": "aicli.results",
    "FaceDetector": "aicli.tasks.faces",
    "Failure": "aicli.tasks.many",
    "FetchError": "aicli.errors",
    "GuestError": "aicli.errors",
    "GuestFault": "aicli.errors",
    "GuestMemoryError": "aicli.errors",
    "GuestTimeout": "aicli.errors",
    "GuestTrap": "aicli.errors",
    "Hint": "aicli.errors",
    "ImageError": "aicli.errors",
    "ImageSource": "aicli.image.decode",
    "ImageTooLargeError": "aicli.errors",
    "InferenceError": "aicli.errors",
    "LabelsError": "aicli.errors",
    "Landmarks": "aicli.results",
    "Limits": "aicli.options",
    "ModelError": "aicli.errors",
    "Point": "aicli.results",
    "Prediction": "aicli.results",
    "UnavailableError": "aicli.errors",
    "UsageError": "aicli.errors",
    "WorkerDied": "aicli.errors",
    "WriteError": "aicli.errors",
    "anonymize": "aicli.output.pictures.anonymize",
    "evaluate": "aicli.training.evaluation",
    "train": "aicli.training.train",
}

__all__ = [
    "AicliError",
    "Box",
    "BuildError",
    "Classification",
    "Classifier",
    "ClassifyOptions",
    "DecodedImage",
    "DetectOptions",
    "Detection",
    "Face",
    "FaceDetector",
    "Failure",
    "FetchError",
    "GuestError",
    "GuestFault",
    "GuestMemoryError",
    "GuestTimeout",
    "GuestTrap",
    "Hint",
    "ImageError",
    "ImageSource",
    "ImageTooLargeError",
    "InferenceError",
    "LabelsError",
    "Landmarks",
    "Limits",
    "ModelError",
    "Point",
    "Prediction",
    "UnavailableError",
    "UsageError",
    "WorkerDied",
    "WriteError",
    "__version__",
    "anonymize",
    "evaluate",
    "train",
]

if TYPE_CHECKING:
    from aicli.errors import (
        AicliError,
        BuildError,
        FetchError,
        GuestError,
        GuestFault,
        GuestMemoryError,
        GuestTimeout,
        GuestTrap,
        Hint,
        ImageError,
        ImageTooLargeError,
        InferenceError,
        LabelsError,
        ModelError,
        UnavailableError,
        UsageError,
        WorkerDied,
        WriteError,
    )
    from aicli.image.decode import DecodedImage, ImageSource
    from aicli.options import ClassifyOptions, DetectOptions, Limits
    from aicli.output.pictures.anonymize import anonymize
    from aicli.results import Box, Classification, Detection, Face, Landmarks, Point, Prediction
    from aicli.tasks.classify import Classifier
    from aicli.tasks.faces import FaceDetector
    from aicli.tasks.many import Failure
    from aicli.training.evaluation import evaluate
    from aicli.training.train import train


def __getattr__(name: str) -> Any:
    # Imported on first use: `aicli --help` must not pay for a runtime or for numpy.
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'aicli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
