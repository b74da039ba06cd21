"""uvicorn around the application: time for headers, one process, a shutdown that lets requests end."""

from __future__ import annotations

import logging
from typing import Any

import h11
import uvicorn
import uvicorn.protocols.http.h11_impl
from starlette.responses import Response
from uvicorn.protocols.http.h11_impl import H11Protocol

from aicli.errors import AicliError
from aicli.serve.http.app import make_app
from aicli.serve.http.guard import configure_logging
from aicli.serve.http.problems import Problem
from aicli.serve.settings import Settings

__all__ = ["run"]

KEEP_ALIVE = 15
MAX_CONNECTIONS = 512
MAX_HEADER_BYTES = 32 << 10


def guarded_protocol(header_time: float) -> type:
    """HTTP/1.1 where a client has ``header_time`` seconds for its headers: uvicorn itself waits for ever."""

    class GuardedProtocol(H11Protocol):  # type: ignore[misc]
        timer: Any = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.timer = self.loop.call_later(header_time, self.give_up)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.watch_headers()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self.watch_headers()

        def watch_headers(self) -> None:
            """Starts the clock when headers have begun, stops it when they are complete."""
            waits = self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]
            if not waits and self.timer is not None:
                self.timer.cancel()
                self.timer = None
            elif waits and self.timer is None:  # the next request on a kept connection
                self.timer = self.loop.call_later(header_time, self.give_up)

        def connection_lost(self, exc: Exception | None) -> None:
            if self.timer is not None:
                self.timer.cancel()
            super().connection_lost(exc)

        def give_up(self) -> None:
            if not self.transport.is_closing():
                self.transport.write(b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                self.transport.close()

    return GuardedProtocol


async def overloaded(scope: Any, receive: Any, send: Any) -> None:
    """What answers when there are too many connections, in place of uvicorn's own plain words."""
    problem = Problem(503, "busy", "too many connections; try again", retry_after=1)
    answer = Response(problem.body(), problem.status, {**problem.headers(), "connection": "close"})
    await answer(scope, receive, send)


uvicorn.protocols.http.h11_impl.service_unavailable = overloaded


class Server(uvicorn.Server):  # type: ignore[misc]
    """A server that says on /readyz that it drains."""

    def handle_exit(self, sig: int, frame: Any) -> None:
        self.config.app.service.draining = True
        super().handle_exit(sig, frame)


def run(settings: Settings) -> int:
    """Serves until SIGINT or SIGTERM; the exit code. Raises :class:`AicliError` when it cannot start."""
    configure_logging()
    app = make_app(settings)
    app.service.store.prepare()
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=guarded_protocol(settings.header_time),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=1024,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(settings.drain_time),
        limit_concurrency=MAX_CONNECTIONS,
        h11_max_incomplete_event_size=MAX_HEADER_BYTES,
        proxy_headers=False,
    )
    server = Server(config)
    logging.getLogger("aicli.serve").info(
        "start", extra={"fields": {"address": f"http://{settings.host}:{settings.port}", "workers": settings.workers}}
    )
    try:
        server.run()
    except SystemExit:
        raise AicliError(f"cannot serve on {settings.host}:{settings.port}; is the port taken?") from None
    return 0 if server.started else 1
