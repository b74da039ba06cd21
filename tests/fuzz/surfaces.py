"""Every surface that strangers can reach, by name."""

from __future__ import annotations

from aicli.wasm import installed_runtimes
from tests.fuzz.dialect_calls import ImageCalls, TfliteCalls
from tests.fuzz.driver import Surface
from tests.fuzz.http_requests import HttpRequests
from tests.fuzz.image_files import ImageFiles
from tests.fuzz.model_files import ModelFiles
from tests.fuzz.nn_calls import NnCalls
from tests.fuzz.wasi_calls import WasiCalls

__all__ = ["SURFACES"]

_ALL: list[Surface] = [
    *(NnCalls(runtime, dialect) for runtime in installed_runtimes() for dialect in ("witx", "wit")),
    TfliteCalls(),
    ImageCalls(),
    WasiCalls(),
    ImageFiles(),
    ModelFiles(),
    HttpRequests(),
]
SURFACES = {surface.name: surface for surface in _ALL}
