"""A worker process as the front process sees it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

from aicli.serve.worker.wire import Frame, WireError, pack, receive_async

__all__ = ["Child", "WorkerDied", "WorkerNotStarted"]

START_TIME = 60.0
STREAM_LIMIT = 4 << 20


class WorkerDied(Exception):
    """The worker ended while it had this job."""


class WorkerNotStarted(Exception):
    """The worker was dead before it took the job, so that another one may have it."""


class Child:
    """One worker process and its connection; in quarantine, also the private folder that it may write to."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.key = ""
        self.alive = False
        self.busy = False
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._folder = ""

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    async def start(self) -> None:
        """Starts the process and waits until its models are loaded. Raises :class:`WorkerDied`."""
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        if self.options.get("quarantine"):
            self._folder = tempfile.mkdtemp(prefix="aicli-worker-")
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "aicli.serve.worker.child", str(theirs.fileno()), json.dumps(self.options)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=self._environment(),
                start_new_session=True,  # Ctrl-C is for the front process, which drains its workers
            )
        self._reader, self._writer = await asyncio.open_connection(sock=ours, limit=STREAM_LIMIT)
        try:
            header, _ = await asyncio.wait_for(receive_async(self._reader), START_TIME)
        except (asyncio.IncompleteReadError, asyncio.TimeoutError, OSError, WireError):
            await self.stop()
            raise WorkerDied("a worker ended while it started") from None
        if not header.get("ready"):
            await self.stop()
            raise WorkerDied(str(header.get("message", "a worker could not start")))
        self.alive = True

    def _environment(self) -> dict[str, str]:
        """A quarantined process sees none of our secrets, and writes no cache that others trust."""
        if not self.options.get("quarantine"):
            return {key: value for key, value in os.environ.items() if key != "AICLI_SERVE_TOKEN"}
        kept = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "VIRTUAL_ENV", "SYSTEMROOT")
        folder = self._folder
        private = ("TMPDIR", "HOME", "AICLI_CACHE_DIR", "AICLI_MODELS_DIR")
        return {key: os.environ[key] for key in kept if key in os.environ} | dict.fromkeys(private, folder)

    async def call(self, header: dict[str, Any], blobs: Sequence[bytes]) -> Frame:
        """One job: sent, acknowledged, answered. Raises :class:`WorkerNotStarted` or :class:`WorkerDied`."""
        assert self._reader is not None and self._writer is not None
        started = False
        try:
            self._writer.writelines(pack(header, blobs))
            await self._writer.drain()
            await receive_async(self._reader)
            started = True
            return await receive_async(self._reader)
        except (asyncio.IncompleteReadError, OSError, WireError):
            self.alive = False
            if started:
                raise WorkerDied("the worker process ended while it worked on this request") from None
            raise WorkerNotStarted from None

    async def wait(self) -> int:
        assert self._process is not None
        return await self._process.wait()

    def kill(self) -> None:
        self.alive = False
        if self._process is not None and self._process.returncode is None:
            try:
                os.killpg(self._process.pid, signal.SIGKILL)  # with what it may have started
            except (ProcessLookupError, PermissionError):
                self._process.kill()

    async def stop(self) -> None:
        """Ends the process and removes its folder."""
        self.kill()
        if self._writer is not None:
            self._writer.close()
        if self._process is not None:
            await self._process.wait()
        if self._folder:
            await asyncio.to_thread(shutil.rmtree, self._folder, True)
            self._folder = ""
