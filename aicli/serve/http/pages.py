"""The web page, the API's description, and what operators ask: health, readiness, metrics."""

from __future__ import annotations

import asyncio
import gzip
from functools import lru_cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from aicli.page.files import Content, content_type, device_files, digest, is_built, page_files, read
from aicli.serve.http.openapi import describe
from aicli.serve.http.problems import Problem
from aicli.serve.service import Service

__all__ = ["FILES", "health", "metrics", "openapi", "page", "ready"]

STATIC = Path(__file__).parent.parent / "static"
PACKED = (".css", ".html", ".js", ".json", ".txt", ".wasm")
"""What is sent compressed to who takes that; a model hardly gets smaller."""
FOR_EVER = "public, max-age=31536000, immutable"
LINK = b'<a href="/train">'
HIDDEN_LINK = b'<a href="/train" hidden>'
"""To the page that trains, which a service has only where that is asked for."""


def _files() -> dict[str, Content]:
    """Every file by its address: a request names one of these or nothing, never a path."""
    device = device_files() if is_built() else {}
    files = {f"/{address}": content for address, content in page_files("", service=True, device=device).items()}
    own = {"/docs": "docs.html", "/train": "train.html", "/static/docs.js": "docs.js", "/static/train.js": "train.js"}
    return files | {address: STATIC / name for address, name in own.items()}


FILES = _files()


def _content(address: str, train: bool) -> bytes:
    shown = read(FILES[address])
    return shown.replace(HIDDEN_LINK, LINK) if train and _suffix(address) == ".html" else shown


def _suffix(address: str) -> str:
    return Path(address).suffix or ".html"


@lru_cache(maxsize=len(FILES))
def _packed(address: str, train: bool) -> bytes:
    return gzip.compress(_content(address, train), 6, mtime=0)


@lru_cache(maxsize=len(FILES))
def _digest(address: str, train: bool) -> str:
    return digest(_content(address, train))


async def page(request: Request) -> Response:
    """A file of the page; one that is asked for with its checksum never changes."""
    service: Service = request.app.state.service
    address = request.scope["path"]  # the request's URL is made of the Host header, which says anything
    train = service.settings.train
    if address == "/train" and not train:
        raise Problem(404, "no_training", "training is switched off; the service's operator can allow it")
    suffix = _suffix(address)
    sha256 = await asyncio.to_thread(_digest, address, train)
    headers = {
        "content-type": content_type(f"page{suffix}"),
        "cache-control": FOR_EVER if request.scope["query_string"] == sha256.encode() else "no-cache",
        "etag": f'"{sha256[:32]}"',
    }
    if suffix in PACKED:
        headers["vary"] = "accept-encoding"
    if headers["etag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if suffix in PACKED and "gzip" in request.headers.get("accept-encoding", ""):
        packed = await asyncio.to_thread(_packed, address, train)
        return Response(packed, headers={**headers, "content-encoding": "gzip"})
    return Response(await asyncio.to_thread(_content, address, train), headers=headers)


async def health(request: Request) -> Response:
    """The front process is alive."""
    return PlainTextResponse("ok\n", headers={"cache-control": "no-store"})


async def ready(request: Request) -> Response:
    """A worker is there to take requests."""
    service: Service = request.app.state.service
    if service.draining or not service.pool.ready:
        raise Problem(503, "not_ready", "the service is not ready", retry_after=1)
    return PlainTextResponse("ready\n", headers={"cache-control": "no-store"})


async def metrics(request: Request) -> Response:
    service: Service = request.app.state.service
    service.update_gauges()
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return Response(service.metrics.render(), headers={"content-type": kind, "cache-control": "no-store"})


async def openapi(request: Request) -> Response:
    service: Service = request.app.state.service
    return JSONResponse(describe(service.settings), headers={"cache-control": "no-cache"})
