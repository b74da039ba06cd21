"""The models as code sees them: names, files, checksums, licences, preprocessing; finding, pulling, verifying them.

>>> from aicli.catalog import find_model, list_models, pull, verify
>>> find_model("mobilenet_v2").license
'Apache-2.0'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aicli.catalog.entries import Entry, FileRef
from aicli.catalog.entries import require_entry as find_model
from aicli.catalog.specs import ClassifierModel, FaceModel, InputSpec, OutputSpec

if TYPE_CHECKING:
    from aicli.catalog.cascade import load_faces
    from aicli.catalog.faces import add_faces
    from aicli.catalog.load import load_classifier
    from aicli.catalog.manage import Check, add_classifier, list_models, model_path, remove, verify
    from aicli.catalog.pulling import pull

__all__ = [
    "Check",
    "ClassifierModel",
    "Entry",
    "FaceModel",
    "FileRef",
    "InputSpec",
    "OutputSpec",
    "add_classifier",
    "add_faces",
    "find_model",
    "list_models",
    "load_classifier",
    "load_faces",
    "model_path",
    "pull",
    "remove",
    "verify",
]

# Imported on first use: a task needs one of them.
_LATER = {
    "add_faces": "faces",
    "load_classifier": "load",
    "load_faces": "cascade",
    "pull": "pulling",
    **dict.fromkeys(("Check", "add_classifier", "list_models", "model_path", "remove", "verify"), "manage"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'aicli.catalog' has no attribute '{name}'")
    value = getattr(import_module(f"aicli.catalog.{_LATER[name]}"), name)
    globals()[name] = value
    return value
