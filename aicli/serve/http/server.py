"""The server around the application: connections and their clocks, one process, a shutdown that lets requests end."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import time
from email.utils import formatdate
from typing import Any

from aicli.errors import AicliError, Hint
from aicli.serve.http.app import Guarded, make_app
from aicli.serve.http.connection import READ_BYTES, Connection
from aicli.serve.http.guard import configure_logging
from aicli.serve.http.problems import Problem
from aicli.serve.settings import Settings

__all__ = ["Server", "run"]

log = logging.getLogger("aicli.serve")
KEEP_ALIVE = 15.0
MAX_CONNECTIONS = 512
SPARED = 1.0
"""Seconds that a connection may wait without a request before it is closed for a new one when there are too many."""
PORT_TROUBLES = (errno.EADDRINUSE, errno.EACCES)
SWEEP = 0.25
"""Seconds between two looks at the clocks of the connections."""


class Server:
    """All connections.

    Not uvicorn: limits on headers, chunks and slow readers would have to be put into its private parts.
    """

    def __init__(self, app: Guarded, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.header_time, self.send_time, self.keep_alive = settings.header_time, settings.send_time, KEEP_ALIVE
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.draining = False
        # One buffer for all: the loop fills it and hands it over before it turns to the next connection.
        self.buffer = memoryview(bytearray(READ_BYTES))
        self._date = (0, b"")

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def now(self) -> float:
        return self._loop.time()

    def date_line(self) -> bytes:
        second = int(time.time())
        if second != self._date[0]:
            self._date = (second, f"date: {formatdate(second, usegmt=True)}\r\n".encode())
        return self._date[1]

    def count_refusal(self, problem: Problem) -> None:
        self.app.service.metrics.add("aicli_rejected_total", {"reason": problem.code})

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more, made by closing the one that has waited longest without a request."""
        self.connections.add(connection)
        if len(self.connections) <= MAX_CONNECTIONS:
            return True
        idle = [other for other in self.connections if other is not connection and other.waits]
        oldest = min(idle, key=lambda other: other.since, default=None)
        if oldest is None or oldest.since > self.now() - SPARED:
            return False
        self.connections.discard(oldest)
        oldest.transport.abort()
        return True

    async def sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            now = self.now()
            for connection in list(self.connections):
                if connection.deadline <= now:
                    connection.expire()

    async def serve(self) -> int:
        """Serves until SIGINT or SIGTERM; which of them it was. Raises :class:`AicliError` when it cannot start."""
        self._loop = asyncio.get_running_loop()
        stopped: asyncio.Future[int] = self._loop.create_future()
        for number in (signal.SIGINT, signal.SIGTERM):
            self._loop.add_signal_handler(number, self._stop, stopped, number)
        service = self.app.service
        await service.start()
        try:
            listener = await self._listen()
            sweeper = self._loop.create_task(self.sweep())
            log.info("ready", extra={"fields": {"address": address_of(listener), "workers": service.pool.ready}})
            ended_by = await stopped
            await self._drain(listener)
            sweeper.cancel()
        finally:
            await service.close()
        return ended_by

    def _stop(self, stopped: asyncio.Future[int], number: int) -> None:
        """The first signal lets requests end, a second one does not."""
        if stopped.done():
            for connection in list(self.connections):
                connection.transport.abort()
            return
        self.draining = self.app.service.draining = True
        stopped.set_result(number)

    async def _listen(self) -> asyncio.AbstractServer:
        host, port = self.settings.host, self.settings.port
        try:
            return await self._loop.create_server(lambda: Connection(self), host, port, backlog=1024)
        except (OSError, OverflowError) as error:
            number = 0 if isinstance(error, socket.gaierror) else getattr(error, "errno", None) or 0
            # asyncio's own text repeats the address; a name that is not found has numbers of its own.
            reason = os.strerror(number) if number else getattr(error, "strerror", None) or error
            taken = number in PORT_TROUBLES
            hint = Hint("port", "{} takes another") if taken else Hint("host", "{} takes an address of this machine")
            raise AicliError(f"cannot serve on {host}:{port}: {reason}", hint=hint) from None

    async def _drain(self, listener: asyncio.AbstractServer) -> None:
        until = self.now() + self.settings.drain_time
        listener.close()
        for connection in list(self.connections):
            if connection.waits:
                connection.transport.close()
        while any(connection.turns for connection in self.connections) and self.now() < until:
            await asyncio.sleep(0.05)
        for connection in list(self.connections):
            connection.transport.abort()
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def address_of(listener: asyncio.AbstractServer) -> str:
    sockets: Any = getattr(listener, "sockets", ())
    host, port = sockets[0].getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


INTERRUPTED = 128 + signal.SIGINT


def run(settings: Settings) -> int:
    """Serves until SIGINT or SIGTERM: returns the exit code after the one, and ends the process by the other.

    Either is in the log, whose lines are all JSON.
    """
    configure_logging()
    app = make_app(settings)
    app.service.store.prepare()
    number = asyncio.run(Server(app, settings).serve())
    log.info("stopped", extra={"fields": {"signal": signal.Signals(number).name}})
    if number == signal.SIGINT:
        return INTERRUPTED
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    return 0
