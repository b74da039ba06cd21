"""What a quarantined worker does: models and functions that somebody uploaded.

TFLite trusts its models, so that a hostile one can crash or hang it: a model that was uploaded is checked and runs in
an engine process of this one, which has limits on memory, processor time and files itself, none of our secrets, and a
folder of its own that only our code writes to. The front process ends it at the deadline, and never gives it the work
of another uploader.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from aicli._child import limit, limit_processor
from aicli.catalog.formats.label_file import parse_labels
from aicli.catalog.inspect import check_file
from aicli.errors import AicliError
from aicli.nn.engines import load_engine
from aicli.options import ClassifyOptions, DetectOptions, SandboxOptions
from aicli.serve.worker.answers import respond
from aicli.serve.worker.functions import Code, describe_module, run_module
from aicli.serve.worker.trusted import any_answer, classify_with, detect_with, each
from aicli.tasks.classify import Classifier
from aicli.tasks.faces import FaceDetector
from aicli.wasm.choose import Policy, choose_runtime
from aicli.workers.codec import Frame

__all__ = ["Quarantine", "restrict"]

MIB = 1 << 20
OUTPUT_LIMIT = 64 * MIB
OPEN_FILES = 128


def restrict(memory: int) -> None:
    """Limits for the rest of this process's life. RLIMIT_DATA rather than RLIMIT_AS: runtimes reserve address space by
    the gigabyte, and only writable private memory is what a guest can use up."""
    values = {"RLIMIT_CORE": 0, "RLIMIT_DATA": memory, "RLIMIT_FSIZE": OUTPUT_LIMIT, "RLIMIT_NOFILE": OPEN_FILES}
    limit(values)


class Quarantine:
    """The foreign model that this process serves, kept from request to request of the same key."""

    def __init__(self, sandbox: SandboxOptions) -> None:
        self.runtime = choose_runtime(Policy.FOREIGN, sandbox.runtime)
        load_engine(sandbox.engine).make  # noqa: B018 - imports what every job needs
        self.sandbox = sandbox.replace(runtime=self.runtime.name)
        self.folder = Path(tempfile.mkdtemp(prefix="job-"))
        self._kept: tuple[Any, Classifier] | None = None

    def __call__(self, frame: Frame) -> Frame:
        handlers = {
            "classify": self.classify,
            "check_model": self.check_model,
            "check_function": self.check_function,
            "run_function": self.run_function,
        }
        return respond(handlers, frame)

    def limit_processor(self) -> None:
        """Lets this process use twice the deadline of processor time from now on."""
        limit_processor(2 * (self.sandbox.limits.timeout or 0))

    def classifier(self, job: dict[str, Any], model: bytes, labels: bytes) -> Classifier:
        self.limit_processor()
        options = any_answer(ClassifyOptions.from_dict(job["options"])).replace(**self.sandbox.keywords())
        key = (job["model"], sha256(model).digest(), sha256(labels).digest(), options)
        if self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        path = self.folder / f"{job['model']}.tflite"
        path.write_bytes(model)
        try:
            check_file(path, foreign=True)
            names = parse_labels(labels, "the label file") if labels else None
            classifier = Classifier.from_options(options.replace(model=path, labels=names, isolate=True))
        except Exception as error:
            raise without_folder(error, self.folder) from None
        self._kept = (key, classifier)
        return classifier

    def check_model(self, job: dict[str, Any], blobs: Sequence[bytes]) -> Frame:
        """Loads a model and runs it once on a grey image."""
        import numpy as np

        classifier = self.classifier(job, blobs[0], blobs[1])
        classifier(np.full((32, 32, 3), 127, np.uint8))
        spec = classifier.model.input
        size = {"width": spec.width, "height": spec.height}
        return {"classes": len(classifier.model.labels), "input": size, "notes": list(classifier.model.notes)}, []

    def classify(self, job: dict[str, Any], blobs: Sequence[bytes]) -> Frame:
        classifier = self.classifier(job, blobs[0], blobs[1])
        header = each(
            job["names"], blobs[2:], classify_with(classifier, ClassifyOptions.from_dict(job["options"]), job)
        )
        for record in header["results"]:
            if "model" in record:
                record["model"] = job["model"]
        return header, []

    def check_function(self, job: dict[str, Any], blobs: Sequence[bytes]) -> Frame:
        """Compiles a module and runs nothing of it: what it can be called for, and the code."""
        self.limit_processor()
        code = Code(self.runtime, blobs[0], self.sandbox)
        return {**describe_module(code.load()), "code_key": code.key}, [code.take()]

    def run_function(self, job: dict[str, Any], blobs: Sequence[bytes]) -> Frame:
        """Calls a module, given with the code that was kept of it; the last blob is code that has to be kept anew."""
        self.limit_processor()
        code = Code(self.runtime, blobs[0], self.sandbox)
        code.give(job["code_key"], blobs[1])
        path = self.folder / "function.wasm"
        path.write_bytes(blobs[0])
        try:
            header, answer = self.run_task(job, path, blobs[2:])
        except Exception as error:
            raise without_folder(error, self.folder) from None
        return {**header, "code_key": code.key}, [*answer, b"" if job["code_key"] == code.key else code.take()]

    def run_task(self, job: dict[str, Any], path: Path, blobs: Sequence[bytes]) -> Frame:
        if job["task"] in ("command", "function"):
            return run_module(job, path, blobs, self.sandbox)
        sandbox = self.sandbox.replace(guest=path, trust_guest=True)
        if job["task"] == "classify":
            options = ClassifyOptions.from_dict(job["options"])
            classifier = Classifier.from_options(ClassifyOptions().replace(**sandbox.keywords()))
            return each(["photo"], blobs, classify_with(classifier, options, job)), []
        detector = FaceDetector.from_options(DetectOptions().replace(**sandbox.keywords()))
        header, _ = detect_with(detector, job, blobs)
        return header, []


def without_folder(error: Exception, folder: Path) -> Exception:
    """The same error without the folder of this process in its text."""
    if isinstance(error, AicliError) and error.subject is not None:
        error.subject = error.subject.replace(f"{folder}{os.sep}", "")
    if error.args and isinstance(error.args[0], str):
        error.args = (error.args[0].replace(f"{folder}{os.sep}", ""), *error.args[1:])
    return error
