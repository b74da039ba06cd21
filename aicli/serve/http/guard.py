"""What surrounds every request: its id, the access log, security headers, the Host check, and errors as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import sys
import time
from typing import Any

from aicli.serve.http.metrics import Metrics
from aicli.serve.http.problems import Problem

__all__ = ["Guard", "configure_logging"]

log = logging.getLogger("aicli.serve.access")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
DRAIN_TIME = 2.0
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "media-src 'self' blob: mediastream:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": CSP,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), microphone=(), geolocation=()",
}


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
    for name in ("aicli.serve", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    logging.getLogger("uvicorn.error").handlers = []


class Exchange:
    """One request and what has become of it."""

    def __init__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"").decode("latin-1")
        self.id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        self.host = headers.get(b"host", b"").decode("latin-1")
        self.expects = headers.get(b"expect", b"").lower() == b"100-continue"
        # A request without these headers has no body to wait for.
        self.complete = b"content-length" not in headers and b"transfer-encoding" not in headers
        self.status = self.received = self.sent = 0
        self.gone = False
        self._receive, self._send = receive, send

    async def receive(self) -> Any:
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        elif message["type"] == "http.disconnect":
            self.gone = self.complete = True
        return message

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            names = {name for name, _ in message["headers"]}
            extra = [(name.encode(), value.encode()) for name, value in HEADERS.items() if name.encode() not in names]
            message["headers"] = [*message["headers"], *extra, (b"x-request-id", self.id.encode())]
            if not self.complete:
                message["headers"].append((b"connection", b"close"))
        else:
            self.sent += len(message.get("body", b""))
            if not message.get("more_body", False) and not self.complete and (self.received or not self.expects):
                await self._send({**message, "more_body": True})
                await self._drain()
                message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    async def _drain(self) -> None:
        """Reads on for a moment after an early answer: closing at once would reset the connection, and the client
        would never see the answer."""

        async def rest() -> None:
            while not self.complete:
                await self.receive()

        try:
            await asyncio.wait_for(rest(), DRAIN_TIME)
        except asyncio.TimeoutError:
            return


class Guard:
    """ASGI middleware; the outermost."""

    def __init__(self, app: Any, metrics: Metrics, host_names: tuple[str, ...] | None) -> None:
        self.app, self.metrics, self.host_names = app, metrics, host_names

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        scope["aicli"] = {"id": exchange.id}
        begun = time.perf_counter()
        try:
            if self.host_names is not None and host_name(exchange.host) not in self.host_names:
                await respond(
                    exchange.send, Problem(421, "host", "this service does not answer to this host; see --allow-host")
                )
            else:
                await self.app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("unhandled", extra={"fields": {"id": exchange.id}})
        finally:
            self._finish(scope, exchange, time.perf_counter() - begun)

    def _finish(self, scope: Any, exchange: Exchange, seconds: float) -> None:
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


def method(scope: Any) -> str:
    known = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
    return scope["method"] if scope["method"] in known else "other"


def host_name(host: str) -> str:
    """The name in a Host header, without the port and the brackets of an IPv6 address."""
    name = host.rsplit(":", 1)[0] if re.search(r":\d+$", host) else host
    return name.strip("[]").lower()


async def respond(send: Any, problem: Problem) -> None:
    headers = [(name.encode(), value.encode()) for name, value in problem.headers().items()]
    body = problem.body()
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
