"""The models as code sees them: names, files, checksums, licences, preprocessing; finding, pulling, verifying them."""

from __future__ import annotations

from aicli.catalog.load import load_classifier, load_faces
from aicli.catalog.specs import ClassifierModel, FaceModel, InputSpec, OutputSpec

__all__ = ["ClassifierModel", "FaceModel", "InputSpec", "OutputSpec", "load_classifier", "load_faces"]
