"""The routes, and the life of the service around them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aicli.serve.endpoints import faas, functions, photos, training, uploads
from aicli.serve.http import pages
from aicli.serve.http.guard import Guard
from aicli.serve.http.problems import Problem
from aicli.serve.pool import Busy
from aicli.serve.service import Service, busy_problem
from aicli.serve.settings import Settings

__all__ = ["make_app"]

Handler = Callable[[Request], Awaitable[Response]]
CORS_HEADERS = ("Authorization", "Content-Type", "X-Filename", "X-Request-ID")
ENDPOINTS: tuple[tuple[str, str, Handler], ...] = (
    ("POST", "/v1/classify", photos.classify),
    ("POST", "/v1/faces", photos.faces),
    ("GET", "/v1/models", uploads.list_models),
    ("PUT", "/v1/models/{name}", uploads.put_model),
    ("DELETE", "/v1/models/{name}", uploads.delete_model),
    ("GET", "/v1/functions", functions.list_functions),
    ("POST", "/v1/functions", functions.add_function),
    ("GET", "/v1/functions/{id}", functions.get_function),
    ("PUT", "/v1/functions/{id}", functions.put_function),
    ("DELETE", "/v1/functions/{id}", functions.delete_function),
    ("POST", "/v1/functions/{id}/run", functions.run_function),
    ("POST", "/api/executables", faas.add_executable),
    ("PUT", "/api/update_wasm_binary/{id}", faas.update_binary),
    ("POST", "/api/run/{id}/{function}", faas.run_text),
    ("POST", "/api/run/{id}/{function}/bytes", faas.run_bytes),
    ("POST", "/api/multipart/run/{id}/{function}", faas.run_text),
    ("POST", "/api/multipart/run/{id}/{function}/bytes", faas.run_bytes),
    ("GET", "/v1/train", training.limits),
    ("POST", "/v1/train", training.add_training),
    ("GET", "/v1/train/{id}", training.get_training),
    ("DELETE", "/v1/train/{id}", training.drop_training),
    ("GET", "/v1/train/{id}/model", training.get_model),
    ("GET", "/v1/train/{id}/report", training.get_report),
    ("GET", "/healthz", pages.health),
    ("GET", "/readyz", pages.ready),
    ("GET", "/metrics", pages.metrics),
    ("GET", "/openapi.json", pages.openapi),
    *(("GET", path, pages.page) for path in pages.FILES),
)


def endpoint(path: str, handlers: dict[str, Handler]) -> Handler:
    """One endpoint for all methods of a path, which notes its route for the metrics and turns refusals into answers."""
    allowed = [*handlers, *(["HEAD"] if "GET" in handlers else []), "OPTIONS"]

    async def call(request: Request) -> Response:
        request.scope["aicli"]["route"] = path
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": ", ".join(allowed)})
        handler = handlers.get("GET" if request.method == "HEAD" else request.method)
        if handler is None:
            headers = {"Allow": ", ".join(allowed)}
            raise HTTPException(405, f"this address takes {headers['Allow']}, not {request.method}", headers)
        try:
            return await handler(request)
        except Busy as busy:
            await request.app.state.service.tasks_admission.pause()
            raise busy_problem(busy) from None

    return call


def make_app(settings: Settings) -> Guarded:
    """The ASGI application. Whoever serves it starts its ``service`` before, and closes it after."""
    service = Service(settings)
    by_path: dict[str, dict[str, Handler]] = {}
    for method, path, handler in ENDPOINTS:
        by_path.setdefault(path, {})[method] = handler
    methods = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]
    routes = [Route(path, endpoint(path, handlers), methods=methods) for path, handlers in by_path.items()]
    answers: Mapping[Any, Any] = {HTTPException: http_error, Problem: refuse, Exception: unexpected}
    cors = Middleware(
        CORSMiddleware,
        allow_origins=settings.allow_origins,
        allow_methods=["GET", "POST", "PUT", "DELETE"],
        allow_headers=CORS_HEADERS,
        expose_headers=["Location", "Retry-After", "X-Faces", "X-Note", "X-Request-ID"],
    )
    app = Starlette(routes=routes, middleware=[cors] if settings.allow_origins else [], exception_handlers=answers)
    app.router.redirect_slashes = False
    app.state.service = service
    return Guarded(app, service)


class Guarded(Guard):
    """The application as the server sees it, with its service at hand."""

    def __init__(self, app: Starlette, service: Service) -> None:
        super().__init__(app, service.metrics, service.budget, service.settings)
        self.service = service


async def http_error(request: Request, error: HTTPException) -> Response:
    message = "there is nothing at this address; see /docs" if error.status_code == 404 else str(error.detail)
    code = {404: "not_found", 405: "method"}.get(error.status_code, "http")
    return problem_response(Problem(error.status_code, code, message), error.headers)


async def refuse(request: Request, problem: Problem) -> Response:
    request.app.state.service.metrics.add("aicli_rejected_total", {"reason": problem.code})
    request.scope["aicli"]["error"] = problem.code
    return problem_response(problem)


async def unexpected(request: Request, error: Exception) -> Response:
    """What nobody foresaw; the guard writes it into the log."""
    return problem_response(Problem(500, "internal", "the service failed on this request"))


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    return Response(problem.body(), problem.status, {**(headers or {}), **problem.headers()})
