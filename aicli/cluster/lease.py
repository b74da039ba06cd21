"""One run at a time writes into a folder of records: it says there that it lives, and looks whether another one does.

A run of the same machine is asked for by its process. One elsewhere is watched for a while, since clocks differ: it
lives when it says so anew. One that was killed says nothing, and its place is taken. Of two that begin at once, and
watch each other, one goes on.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from datetime import datetime, timezone
from types import TracebackType
from typing import Any

from aicli.cluster.storage import Storage
from aicli.errors import AicliError, UsageError

__all__ = ["PREFIX", "Lease"]

PREFIX = "writer-"
WAITS = "waits"
"""What a run says of itself until it knows of no other."""
BEAT_SECONDS = 5.0
PATIENCE_SECONDS = 20.0
"""A run that has said nothing for so long is taken for dead."""
LOOK_SECONDS = 0.5


class Lease:
    """The right to write into the folder whose state lies in ``state``; held while the block runs.

    ``run`` is the file that is there as long as the folder is.

    Entering raises :class:`UsageError` where another run holds it, and may wait for ``PATIENCE_SECONDS``.
    """

    def __init__(self, storage: Storage, state: str, run: str) -> None:
        self._storage, self._state, self._run = storage, state, run
        self._name = f"{PREFIX}{secrets.token_hex(8)}.json"
        self._about = {"machine": machine(), **process(os.getpid()), "host": socket.gethostname()}
        self._beats = 0
        self._lost = False
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._live, daemon=True)

    def __enter__(self) -> Lease:
        self._storage.make(self._state)
        self._about[WAITS] = True
        self._beat()
        self._heart.start()
        try:
            self._wait_for_others()
            del self._about[WAITS]
            self._beat()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._leave()

    def check(self) -> None:
        """Raises :class:`AicliError` when another run has taken this one for dead."""
        if self._lost:
            reason = "another run has taken this folder over, since this one stood still; wait for its end"
            raise AicliError(reason).of(self._storage.address)

    def _leave(self) -> None:
        self._ended.set()
        self._heart.join()
        with suppress(AicliError):
            self._storage.remove(self._path(self._name))

    def _live(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(AicliError):  # a bucket may be away for a while
                if self._storage.has(self._path(self._name)):
                    self._beat()
                elif self._storage.has(self._run):  # else the whole folder is gone, and who writes will say so
                    self._lost = True
                    return

    def _beat(self) -> None:
        self._beats += 1
        now = datetime.now(timezone.utc).isoformat(timespec="seconds")
        said = {**self._about, "beat": self._beats, "time": now}
        self._storage.write(self._path(self._name), json.dumps(said).encode() + b"\n")

    def _path(self, name: str) -> str:
        return f"{self._state}/{name}"

    def _wait_for_others(self) -> None:
        """Until all others are known for dead, and removes what they have said."""
        watched = {name: self._said(name) for name in self._others()}
        for name, said in list(watched.items()):
            if said.get("machine") == self._about["machine"] is not None:
                if process(said.get("process")) != {key: said.get(key) for key in ("process", "started")}:
                    self._storage.remove(self._path(name))
                    del watched[name]
                else:
                    self._meet(name, said)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while watched and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            there = self._others()
            for name, said in list(watched.items()):
                if name not in there:
                    del watched[name]
                elif (now := self._said(name)) != said:
                    self._meet(name, now or said)
        for name in watched:
            self._storage.remove(self._path(name))

    def _meet(self, name: str, said: dict[str, Any]) -> None:
        """Another run lives. Raises :class:`UsageError`, unless it watches as well: then one of the two goes."""
        if not said.get(WAITS) or name < self._name:
            raise self._refusal(said)

    def _others(self) -> list[str]:
        names = self._storage.names(self._state)
        return [name for name in names if name.startswith(PREFIX) and name != self._name]

    def _said(self, name: str) -> dict[str, Any]:
        """What a run says of itself; nothing where it has just gone."""
        try:
            found = json.loads(self._storage.read(self._path(name)))
        except (AicliError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _refusal(self, said: dict[str, Any]) -> UsageError:
        who = f"process {said.get('process')} on {said.get('host')}"
        return UsageError(
            f"{self._storage.address}: another run writes into it ({who}); wait for its end, or name another folder"
        )


def machine() -> str | None:
    """What tells this machine, and this container on it, from all others until it is started anew; where there is
    such a thing (Linux)."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return f"{file.read().strip()} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return None


def process(number: Any) -> dict[str, Any]:
    """A process by its number and when it was started; the latter is ``None`` where there is none of that number."""
    started = None
    with suppress(OSError, IndexError), open(f"/proc/{number}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
        started = int(fields[19]) if fields[0] not in (b"Z", b"X") else None
    return {"process": number, "started": started}
