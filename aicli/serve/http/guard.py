"""What surrounds every request: its id, the access log, security headers, who may ask, and its share of memory."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import sys
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aicli.page.files import CONTENT_SECURITY_POLICY
from aicli.serve.http.bodies import Budget, Held
from aicli.serve.http.metrics import Metrics
from aicli.serve.http.origins import host_name, is_foreign
from aicli.serve.http.pages import FILES
from aicli.serve.http.problems import Problem
from aicli.serve.settings import Settings

__all__ = ["Guard", "configure_logging"]

log = logging.getLogger("aicli.serve.access")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
SMALL_ANSWER = 64 << 10
CSP = f"{CONTENT_SECURITY_POLICY}; frame-ancestors 'none'"
HEADERS = tuple(
    (name.encode(), value.encode())
    for name, value in {
        "content-security-policy": CSP,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "permissions-policy": "camera=(self), microphone=(), geolocation=()",
    }.items()
)


class Lines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"}
        line |= {"level": record.levelname.lower(), "event": record.getMessage(), **getattr(record, "fields", {})}
        if record.exc_info and record.exc_info[0]:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines())
    logger = logging.getLogger("aicli.serve")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)


class Exchange:
    """One request and what has become of it; ``held`` is its share of the memory for bodies and answers."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, budget: Budget) -> None:
        headers = dict(scope["headers"])
        given = text_of(headers, b"x-request-id")
        self.id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.host = text_of(headers, b"host")
        self.origin, self.site = text_of(headers, b"origin"), text_of(headers, b"sec-fetch-site")
        self.held = Held(budget)
        self.status = self.received = self.sent = 0
        self._replaced = False
        self._receive, self._send = receive, send

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            try:
                self.held.add(answer_size(message))
            except Problem as problem:
                self._replaced = True
                await respond(self.deliver, problem)
                return
        if not self._replaced:
            await self.deliver(message)

    async def deliver(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            names = {name for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *(pair for pair in HEADERS if pair[0] not in names),
                (b"x-request-id", self.id.encode()),
            ]
        else:
            self.sent += len(message.get("body", b""))
        await self._send(message)


def text_of(headers: dict[bytes, bytes], name: bytes) -> str:
    return headers.get(name, b"").decode("latin-1")


def answer_size(start: Message) -> int:
    """The bytes of an answer's body that are worth counting."""
    size = next((int(value) for name, value in start["headers"] if name == b"content-length"), 0)
    return size if size > SMALL_ANSWER else 0


class Guard:
    """ASGI middleware; the outermost."""

    def __init__(self, app: ASGIApp, metrics: Metrics, budget: Budget, settings: Settings) -> None:
        self.app, self.metrics, self.budget = app, metrics, budget
        self.host_names, self.origins = settings.host_names, settings.allow_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send, self.budget)
        scope["aicli"] = {"id": exchange.id, "held": exchange.held}
        begun = time.perf_counter()
        try:
            if (problem := self._refuses(scope, exchange)) is None:
                await self.app(scope, exchange.receive, exchange.send)
            else:
                scope["aicli"]["error"] = problem.code
                self.metrics.add("aicli_rejected_total", {"reason": problem.code})
                await respond(exchange.deliver, problem)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("unhandled", extra={"fields": {"id": exchange.id}})
        finally:
            exchange.held.release()  # only now: the last byte has been sent
            self._finish(scope, exchange, time.perf_counter() - begun)

    def _refuses(self, scope: Scope, exchange: Exchange) -> Problem | None:
        if self.host_names is not None and host_name(exchange.host) not in self.host_names:
            named = "to this name; its operator can allow it" if exchange.host else "requests that name no Host"
            return Problem(421, "host", f"this service does not answer {named}")
        plain = scope["method"] in ("GET", "HEAD") and scope["path"] in FILES
        if not plain and is_foreign(exchange.origin, exchange.site, exchange.host, self.origins):
            return Problem(403, "cross_site", "pages of this site may not use the service; its operator can allow it")
        return None

    def _finish(self, scope: Scope, exchange: Exchange, seconds: float) -> None:
        route = scope["aicli"].get("route", "other")
        status = exchange.status or 499  # the client had gone
        self.metrics.add("aicli_requests_total", {"route": route, "method": method(scope), "status": str(status)})
        self.metrics.observe("aicli_request_seconds", seconds, {"route": route})
        self.metrics.add("aicli_received_bytes_total", value=exchange.received)
        client = (scope.get("client") or ("",))[0]
        fields = {
            "id": exchange.id,
            "client": client,
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "ms": round(1000 * seconds, 2),
            "received": exchange.received,
            "sent": exchange.sent,
            **{key: value for key, value in scope["aicli"].items() if key in ("queue_ms", "work_ms", "error")},
        }
        log.info("request", extra={"fields": fields})


def method(scope: Scope) -> str:
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
    return str(scope["method"]) if scope["method"] in known else "other"


async def respond(send: Send, problem: Problem) -> None:
    headers = [(name.encode(), value.encode()) for name, value in problem.headers().items()]
    body = problem.body()
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
