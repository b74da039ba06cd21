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

__version__ = "0.1.0"

_PUBLIC = {
    "AicliError": "aicli.errors",
    "Box": "aicli.results",
    "Classification": "aicli.results",
    "Classifier": "aicli.tasks.classify",
    "Detection": "aicli.results",
    "Face": "aicli.results",
    "FaceDetector": "aicli.tasks.faces",
    "Failure": "aicli.tasks.many",
    "Landmarks": "aicli.results",
    "Limits": "aicli.options",
    "Point": "aicli.results",
    "Prediction": "aicli.results",
}

__all__ = [
    "AicliError",
    "Box",
    "Classification",
    "Classifier",
    "Detection",
    "Face",
    "FaceDetector",
    "Failure",
    "Landmarks",
    "Limits",
    "Point",
    "Prediction",
    "__version__",
]

if TYPE_CHECKING:
    from aicli.errors import AicliError
    from aicli.options import Limits
    from aicli.results import Box, Classification, Detection, Face, Landmarks, Point, Prediction
    from aicli.tasks.classify import Classifier
    from aicli.tasks.faces import FaceDetector
    from aicli.tasks.many import Failure


def __getattr__(name: str) -> Any:
    # Imported on first use: `aicli --help` must not pay for a runtime or for numpy.
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'aicli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
