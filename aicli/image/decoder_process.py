"""Decoding in a process of its own, for the formats whose libraries keep no limit and print what they dislike.

libtiff, libheif, libavif and OpenJPEG take memory by what they find inside a file and not by its header, and write to
the process's standard error. In a process that is made once and used again they have a limit, can crash alone, and
what they print is counted (:mod:`aicli.image.decoder_child`).
"""

from __future__ import annotations

import atexit
import math
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Any

from PIL import Image

from aicli._child import describe_end, python_command
from aicli.errors import UnavailableError
from aicli.image.decoder_child import PATIENCE, processor_seconds, read_frame, write_frame
from aicli.image.guard import DecoderDied, Messages

__all__ = ["DecoderProcess", "decoder_process", "image_of"]


class DecoderProcess:
    """One process, started for its first file; used from one thread at a time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.owner = os.getpid()
        self._process: subprocess.Popen[bytes] | None = None
        self._opened: object = None
        self._pixels = 0
        self._late = False

    def open(self, owner: object, kind: str, data: bytes, messages: Messages) -> dict[str, Any]:
        """Reads a file's header: ``size``, ``frames`` and the frame that is its ``first``.

        Raises DecoderDied, MemoryError, UnavailableError, and ValueError with what the decoder says of the file.
        """
        with self._lock:
            return self._open(owner, kind, data, messages)

    def _open(self, owner: object, kind: str, data: bytes, messages: Messages) -> dict[str, Any]:
        self._opened = None
        header, _ = self._ask({"do": "open", "kind": kind}, data, messages)
        self._opened, self._pixels = owner, math.prod(header["size"])
        return header

    def frame(
        self, owner: object, kind: str, data: bytes, index: int, max_pixels: int, messages: Messages
    ) -> tuple[dict[str, Any], bytes]:
        """A frame's header and samples; a frame of more than ``max_pixels`` has only its ``size``.

        Raises as :meth:`open`, and EOFError where the file has no such frame.
        """
        with self._lock:
            if self._opened is not owner:  # another thread has had the process meanwhile
                self._open(owner, kind, data, messages)
            most = min(self._pixels, max_pixels)
            job = {"do": "frame", "kind": kind, "index": index, "max_pixels": max_pixels, "pixels": most}
            return self._ask(job, b"", messages, most)

    def _ask(self, job: dict[str, Any], data: bytes, messages: Messages, most: int = 0) -> tuple[dict[str, Any], bytes]:
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        clock = threading.Timer(PATIENCE * processor_seconds(job["kind"], most), self._give_up, (process,))
        clock.daemon = True
        self._late = False
        clock.start()
        try:
            write_frame(process.stdin, job, data)
            header, pixels = read_frame(process.stdout)
        except (EOFError, OSError, ValueError):
            raise DecoderDied(self.close()) from None
        except BaseException:  # interrupted with half an answer read
            self.close()
            raise
        finally:
            clock.cancel()
        messages.add(header)
        if "error" in header:
            raise error_of(header)
        return header, pixels

    def _start(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        command = python_command("aicli.image.decoder_child:main")
        # An arena for each thread would reserve more memory than most pictures have.
        environment = {**os.environ, "MALLOC_ARENA_MAX": "2"}
        options: dict[str, Any] = {"start_new_session": True} if sys.platform != "win32" else {}  # Ctrl-C is not for it
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, **options
        )
        return self._process

    def _give_up(self, process: subprocess.Popen[bytes]) -> None:
        self._late = True
        process.kill()

    def close(self) -> str:
        """Ends the process; how it ended, in words."""
        process, self._process, self._opened = self._process, None, None
        if process is None:
            return "not started"
        streams: list[IO[bytes] | None] = [process.stdin, process.stdout]
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.2)  # one that crashed is about to say how
        process.kill()
        code = process.wait()
        for stream in streams:
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        if self._late or code == -getattr(signal, "SIGXCPU", 0):
            return "it took too long"
        return describe_end(code)

    def end(self) -> None:
        """Ends the process at once; not that of another process, from which this one was forked."""
        if self._process is not None and self.owner == os.getpid():
            self._process.kill()
            self.close()


def error_of(header: dict[str, Any]) -> Exception:
    text = ": ".join([header["message"], *header["said"][:1]])
    kinds: dict[str, type[Exception]] = {
        "missing": UnavailableError,
        "memory": MemoryError,
        "bomb": Image.DecompressionBombError,
        "end": EOFError,
    }
    return kinds.get(header["error"], ValueError)(text)


def image_of(header: dict[str, Any], pixels: bytes) -> Image.Image:
    """The picture that the decoder process sent, as Pillow would have decoded it here."""
    image = Image.frombytes(header["mode"], tuple(header["size"]), pixels)
    if "palette" in header:
        mode, values = header["palette"]
        image.putpalette(bytes.fromhex(values), "RGBA" if "A" in mode else "RGB")
    for name in ("icc_profile", "exif", "transparency"):
        value = header.get(name)
        if value is not None:
            image.info[name] = bytes.fromhex(value) if isinstance(value, str) else value
    return image


_lock = threading.Lock()
_mine: DecoderProcess | None = None


def decoder_process() -> DecoderProcess:
    """The decoder process of this process; a fork gets one of its own."""
    global _mine
    with _lock:
        if _mine is None or _mine.owner != os.getpid():
            _mine = DecoderProcess()
            atexit.register(_mine.end)
        return _mine
