"""What a quarantined worker does: models and functions that somebody uploaded.

TFLite trusts its models, so that a hostile one can crash or hang it: a model that was uploaded is checked and runs in
an engine process of this one, which has limits on memory, processor time and files itself, none of our secrets, and a
folder of its own that only our code writes to. The front process ends it at the deadline, and never gives it the work
of another uploader.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from aicli.catalog.formats.label_file import parse_labels
from aicli.catalog.inspect import check_file
from aicli.errors import AicliError, GuestError, GuestFault
from aicli.guest.client import TASKS, check_guest
from aicli.nn.engines import load_engine
from aicli.options import ClassifyOptions, DetectOptions, SandboxOptions
from aicli.run import RunRequest, run_guest
from aicli.run.abis import find_missing
from aicli.serve.worker.answers import respond
from aicli.serve.worker.trusted import any_answer, classify_with, detect_with, each
from aicli.tasks.classify import Classifier
from aicli.tasks.faces import FaceDetector
from aicli.wasm import Module
from aicli.wasm.cache import default_cache, load_module
from aicli.wasm.choose import Policy, choose_runtime
from aicli.workers.codec import Frame

__all__ = ["Quarantine", "restrict"]

MIB = 1 << 20
OUTPUT_LIMIT = 64 * MIB
OPEN_FILES = 128
ERROR_TEXT = 2000


def restrict(memory: int) -> None:
    """Limits for the rest of this process's life. RLIMIT_DATA rather than RLIMIT_AS: runtimes reserve address space by
    the gigabyte, and only writable private memory is what a guest can use up."""
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_FSIZE: OUTPUT_LIMIT,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    for kind, value in limits.items():
        hard = resource.getrlimit(kind)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (least, least))


class Quarantine:
    """The foreign model that this process serves, kept from request to request of the same key."""

    def __init__(self, sandbox: SandboxOptions) -> None:
        self.runtime = choose_runtime(Policy.FOREIGN, sandbox.runtime)
        load_engine(sandbox.engine).interpreter_class  # noqa: B018 - imports what every job needs
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
        used = resource.getrusage(resource.RUSAGE_SELF)
        soft = int(used.ru_utime + used.ru_stime + 2 * (self.sandbox.limits.timeout or 0)) + 1
        resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.getrlimit(resource.RLIMIT_CPU)[1]))

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

    def load(self, wasm: bytes) -> Module:
        return load_module(self.runtime, wasm, self.sandbox.limits, default_cache())

    def check_function(self, job: dict[str, Any], blobs: Sequence[bytes]) -> Frame:
        """What a module can be run as: ``command``, ``classify``, ``detect-faces``."""
        self.limit_processor()
        module = self.load(blobs[0])
        names = {item.name for item in module.exports if item.kind == "func"}
        tasks = [task for task, export in TASKS.items() if export in names]
        for task in tasks:
            check_guest(module, TASKS[task])
        if "_start" in names:
            tasks.append("command")
            missing = find_missing(module)
            if missing:
                raise GuestError(f"the command cannot run here: {missing}")
        if not tasks:
            exports = ", ".join([*TASKS.values(), "_start"])
            raise GuestError(f"the module exports none of {exports}, so that it cannot be called")
        return {"tasks": tasks}, []

    def run_function(self, job: dict[str, Any], blobs: Sequence[bytes]) -> Frame:
        self.limit_processor()
        if job["task"] == "command":
            return self.run_command(blobs[0], blobs[1])
        path = self.folder / "function.wasm"
        path.write_bytes(blobs[0])
        sandbox = self.sandbox.replace(guest=path, trust_guest=True)
        try:
            if job["task"] == "classify":
                options = ClassifyOptions.from_dict(job["options"])
                classifier = Classifier.from_options(ClassifyOptions().replace(**sandbox.keywords()))
                header = each(["photo"], blobs[1:], classify_with(classifier, options, job))
            else:
                detector = FaceDetector.from_options(DetectOptions().replace(**sandbox.keywords()))
                header, _ = detect_with(detector, job, blobs[1:])
        except Exception as error:
            raise without_folder(error, self.folder) from None
        return header, []

    def run_command(self, wasm: bytes, body: bytes) -> Frame:
        """A WASI command with the body as its standard input; its standard output is the answer.

        The process's own streams become the guest's, so that this process is good for one run only.
        """
        given, out, err = (tempfile.TemporaryFile() for _ in range(3))  # noqa: SIM115 - they end with the process
        given.write(body)
        given.seek(0)
        sys.stderr.flush()
        for stream, descriptor in ((given, 0), (out, 1), (err, 2)):
            os.dup2(stream.fileno(), descriptor)
        path = self.folder / "function.wasm"
        path.write_bytes(wasm)
        request = RunRequest(path, engine=self.sandbox.engine, limits=self.sandbox.limits)
        try:
            code = run_guest(request)
        except Exception as error:
            raise without_folder(error, self.folder) from None
        err.seek(0)
        complaint = err.read(ERROR_TEXT).decode("utf-8", "replace").strip()
        if code:
            raise GuestFault(f"the command ended with exit code {code}" + (f": {complaint}" if complaint else ""))
        out.seek(0)
        return {"type": "output"}, [out.read()]


def without_folder(error: Exception, folder: Path) -> Exception:
    """The same error without the folder of this process in its text."""
    if isinstance(error, AicliError) and error.subject is not None:
        error.subject = error.subject.replace(f"{folder}{os.sep}", "")
    if error.args and isinstance(error.args[0], str):
        error.args = (error.args[0].replace(f"{folder}{os.sep}", ""), *error.args[1:])
    return error
