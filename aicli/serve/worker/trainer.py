"""What a training process does: it reads photos that somebody sent, and fits a head to what the base says of them.

The front process keeps what was computed, as bytes that it does not look into, so that a photo that ends this process
costs itself and nothing else. Limits and folder are those of the quarantine.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from aicli._child import limit_processor
from aicli.catalog import ClassifierModel
from aicli.catalog.load import load_classifier
from aicli.errors import AicliError
from aicli.nn.engines import available_cores, load_engine
from aicli.options import SandboxOptions
from aicli.serve.worker.answers import failure, respond
from aicli.tasks.many import Failure
from aicli.training.dataset import Labelled
from aicli.training.features import Extractor, ExtractorRecipe, Features, Wanted, features_of
from aicli.training.fitting import fit_table, gather
from aicli.training.head import require_solver
from aicli.training.report import data_address, page, small_jpeg
from aicli.training.surgery import Body, read_body
from aicli.workers.codec import Frame

__all__ = ["Trainer"]


class Base(NamedTuple):
    """A classifier that is trained on: its model, what comes before its last layer, and that ready to run."""

    model: ClassifierModel
    body: Body
    extractor: Extractor


class Trainer:
    """The base that is trained on, kept from batch to batch of the same training."""

    def __init__(self, sandbox: SandboxOptions) -> None:
        require_solver()
        load_engine(sandbox.engine).make  # noqa: B018 - imports what every job needs
        self.sandbox = sandbox
        self.folder = Path(tempfile.mkdtemp(prefix="job-"))
        self._kept: tuple[str, Base] | None = None

    def __call__(self, frame: Frame) -> Frame:
        limit_processor(available_cores() * frame[0]["seconds"])
        return respond({"features": self.features, "fit": self.fit}, frame)

    def base(self, name: str) -> Base:
        if self._kept is not None and self._kept[0] == name:
            return self._kept[1]
        model = load_classifier(name, engine=load_engine(self.sandbox.engine))
        body = read_body(model.name, model.content or model.path.read_bytes(), model.output.tensor)
        file = self.folder / "body.tflite"
        file.write_bytes(body.features_file())
        recipe = ExtractorRecipe(
            file, model.input, features_of(body), self.sandbox.threads, self.sandbox.max_pixels, self.sandbox.engine
        )
        self._kept = (name, Base(model, body, recipe.start()))
        return self._kept[1]

    def features(self, job: dict[str, Any], photos: Sequence[bytes]) -> Frame:
        """A record for each photo; for one that can be read also its features, and a small picture for the report."""
        base = self.base(job["base"])
        records: list[dict[str, Any]] = []
        blobs: list[bytes] = []
        for name, photo in zip(job["names"], photos, strict=True):
            try:
                found = base.extractor.of_bytes(photo, Wanted(name, job["views"], job["seed"]))
            except Exception as error:
                records.append({"error": failure(error)["error"]["message"]})
                continue
            records.append({"digest": found.digest.hex()})
            blobs += [found.rows.astype("<f4").tobytes(), small_jpeg(photo, self.sandbox.max_pixels)]
        return {"photos": records}, blobs

    def fit(self, job: dict[str, Any], blobs: Sequence[bytes]) -> Frame:
        """The model and its report, from all features one behind the other and all small pictures likewise."""
        base = self.base(job["base"])
        given = [Labelled(Path(name), label) for name, label in zip(job["names"], job["labels"], strict=True)]
        labels = tuple(dict.fromkeys(job["labels"]))
        rows = np.frombuffer(blobs[0], "<f4").reshape(-1, job["views"], base.body.size)

        def answers() -> Iterator[Features | Failure]:
            place = 0
            for name, record in zip(job["names"], job["photos"], strict=True):
                if "error" in record:
                    yield Failure(name, AicliError(record["error"]))
                else:
                    yield Features(bytes.fromhex(record["digest"]), rows[place])
                    place += 1

        table = gather(given, answers(), labels, base.body.size)
        trained, data = fit_table(table, labels, base.model, base.body, "own.tflite", seed=job["seed"])
        small = thumbnails(job, blobs[1])
        report = "\n".join(page(trained, lambda name: data_address(small.get(name, b"")))) + "\n"
        header = {"training": trained.to_dict(), "sha256": hashlib.sha256(data).hexdigest()}
        return header, [data, report.encode("utf-8", "backslashreplace")]


def thumbnails(job: dict[str, Any], joined: bytes) -> dict[str, bytes]:
    """The small pictures by the names of their photos."""
    found, place = {}, 0
    read = (name for name, record in zip(job["names"], job["photos"], strict=True) if "error" not in record)
    for name, size in zip(read, job["sizes"], strict=True):
        found[str(Path(name))] = joined[place : place + size]
        place += size
    return found
