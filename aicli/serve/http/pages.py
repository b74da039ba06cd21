"""The web page, the API's description, and what operators ask: health, readiness, metrics."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from aicli.serve.http.openapi import describe
from aicli.serve.http.problems import Problem
from aicli.serve.service import Service

__all__ = ["health", "metrics", "openapi", "page", "ready"]

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/train": ("train.html", "text/html; charset=utf-8"),
    "/docs": ("docs.html", "text/html; charset=utf-8"),
    "/static/app.css": ("app.css", "text/css; charset=utf-8"),
    "/static/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/static/draw.js": ("draw.js", "text/javascript; charset=utf-8"),
    "/static/train.js": ("train.js", "text/javascript; charset=utf-8"),
    "/static/docs.js": ("docs.js", "text/javascript; charset=utf-8"),
    "/static/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Every address of a file: a request names one of these or nothing, never a path."""


LINK = b'<a href="/train">'
HIDDEN_LINK = b'<a href="/train" hidden>'
"""To the page that trains, which a service has only where that is asked for."""


@cache
def content(name: str) -> bytes:
    return (Path(__file__).parent.parent / "static" / name).read_bytes()


async def page(request: Request) -> Response:
    path = request.scope["path"]  # its URL is made of the Host header, which says anything
    name, kind = FILES[path]
    service: Service = request.app.state.service
    shown = content(name)
    if service.settings.train:
        shown = shown.replace(HIDDEN_LINK, LINK)
    elif path == "/train":
        raise Problem(404, "no_training", "training is switched off; the service's operator can allow it")
    return Response(shown, headers={"content-type": kind, "cache-control": "no-cache"})


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
