"""Every surface that strangers can reach, by name."""

from __future__ import annotations

import json
from pathlib import Path

from aicli.wasm import installed_runtimes
from tests.fuzz.dialect_calls import ImageCalls, TfliteCalls
from tests.fuzz.driver import Corpus, FileSurface, Report, Surface, replay
from tests.fuzz.http_requests import HttpRequests
from tests.fuzz.image_files import ImageFiles
from tests.fuzz.model_files import ModelFiles
from tests.fuzz.nn_calls import NnCalls
from tests.fuzz.training_requests import TrainingRequests
from tests.fuzz.wasi_calls import WasiCalls

__all__ = ["CORPUS", "SURFACES", "replay_corpus"]

_ALL: list[Surface] = [
    *(NnCalls(runtime, dialect) for runtime in installed_runtimes() for dialect in ("witx", "wit")),
    TfliteCalls(),
    ImageCalls(),
    WasiCalls(),
    ImageFiles(),
    ModelFiles(),
    HttpRequests(),
    TrainingRequests(),
]
CORPUS = Path(__file__).parent / "corpus"
"""A folder of files for each surface of files, and ``cases.json``: numbers of cases by surface and seed."""
FILES: tuple[FileSurface, ...] = (ImageFiles(), ModelFiles(), HttpRequests())
SURFACES = {surface.name: surface for surface in _ALL}


def replay_corpus() -> dict[str, Report]:
    """Tries everything that was kept; what came of it, by surface."""
    reports = {}
    for surface in FILES:
        files = sorted((CORPUS / surface.name).iterdir())
        reports[f"{surface.name} (files)"] = replay(Corpus(surface, files), 0, range(len(files)))
    for name, seeds in json.loads((CORPUS / "cases.json").read_text()).items():
        for seed, numbers in seeds.items() if name in SURFACES else ():
            reports[f"{name} (seed {seed})"] = replay(SURFACES[name], int(seed), numbers)
    return reports
