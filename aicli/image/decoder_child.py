"""The decoder process: decodes one file after another under a memory limit, and counts what the libraries print.

:mod:`aicli.image.decoder_process` is the other end. What it sends is a file; what it gets back are plain pixels and
JSON, because what comes from a process that read a stranger's file must not be able to do anything but be read.
NumPy is not loaded here, so that the process is ready soon.

    u32 length of the header | u64 length of the bytes | header (JSON) | bytes
"""

from __future__ import annotations

import io
import json
import os
import struct
import sys
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import IO, Any

from PIL import Image

from aicli._blas import start_no_threads
from aicli._child import limit, limit_processor
from aicli.errors import UnavailableError
from aicli.image.formats import open_with, quiet_pillow
from aicli.image.upright import orientation

__all__ = ["PATIENCE", "main", "processor_seconds", "read_frame", "write_frame"]

HEAD = struct.Struct("<IQ")
BASE_MEMORY = 160 << 20
BYTES_PER_PIXEL = 64
"""Together what the decoder of a picture may take: reference frames, threads, copies of 16-bit or integer samples."""

PROCESSOR_SECONDS = 10.0
MICROSECONDS_PER_PIXEL = {"TIFF": 0.1}
SLOWEST = 2.0
"""Together the processor time of a picture. Noise takes JPEG 2000, the slowest, a fifth of it, and libtiff a tenth of
its own; the lines that a damaged fax has libtiff print take 0.3 microseconds a pixel."""
PATIENCE = 10
"""How many times its processor time a picture may take by the clock, on a machine that has others to serve."""
THREADS = 4
KEPT_LINES = 3
LONGEST_LINE = 200
END = b"\0end of messages\0\n"


def write_frame(stream: IO[bytes], header: dict[str, Any], data: Any = b"") -> None:
    text = json.dumps(header).encode()
    stream.write(HEAD.pack(len(text), len(data)) + text)
    stream.write(data)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    """The next header and its bytes. Raises EOFError at the end of the stream."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        raise EOFError
    text, size = HEAD.unpack(head)
    header, data = stream.read(text), stream.read(size)
    if len(header) < text or len(data) < size:
        raise EOFError
    return json.loads(header), data


class Messages:
    """What libraries write to descriptor 2, read by a thread: all lines counted, the first ones kept."""

    def __init__(self) -> None:
        read, write = os.pipe()
        os.dup2(write, 2)
        os.close(write)
        self._stream = os.fdopen(read, "rb")
        self._ended: SimpleQueue[tuple[int, list[str]]] = SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        count, first = 0, list[str]()
        while line := self._stream.readline(1 << 16):
            if line.endswith(END):
                self._ended.put((count, first))
                count, first = 0, []
                continue
            count += 1
            text = line.decode("utf-8", "replace").strip()[:LONGEST_LINE]
            if len(first) < KEPT_LINES and text and text not in first:
                first.append(text)

    def take(self) -> tuple[int, list[str]]:
        """How many lines there were since the last call, and the first different ones."""
        with suppress(OSError):
            os.write(2, END)
            return self._ended.get()
        return 0, []


class Files:
    """The file that was opened last, and how its frames are answered."""

    def __init__(self) -> None:
        self.image: Any = None

    def open(self, job: dict[str, Any], data: bytes) -> tuple[dict[str, Any], bytes]:
        self.image = None
        limit_processor(processor_seconds(job["kind"], 0))
        grant(4 * len(data))
        if job["kind"] == "AVIF":
            from PIL import AvifImagePlugin

            AvifImagePlugin.DEFAULT_MAX_THREADS = min(THREADS, os.cpu_count() or 1)
        self.image = open_with(job["kind"], io.BytesIO(data))
        width, height = self.image.size
        first = self.image.tell()
        return {"size": [width, height], "frames": int(getattr(self.image, "n_frames", 1)), "first": first}, b""

    def frame(self, job: dict[str, Any], _: bytes) -> tuple[dict[str, Any], bytes]:
        image = self.image
        limit_processor(processor_seconds(job["kind"], job["pixels"]))
        if job["index"] != image.tell():
            image.seek(job["index"])
        width, height = image.size
        if width * height > job["max_pixels"]:
            return {"size": [width, height]}, b""
        grant(BYTES_PER_PIXEL * width * height)
        image.load()
        width, height = image.size
        if width * height > job["max_pixels"]:  # some are only known by their header, and that may lie
            return {"size": [width, height]}, b""
        header = {"size": [width, height], "mode": image.mode, "orientation": orientation(image), **extras(image)}
        return header, image.tobytes()


def extras(image: Image.Image) -> dict[str, Any]:
    """What belongs to the pixels: palette, transparency, colour profile, Exif, and how long a frame is shown."""
    found: dict[str, Any] = {}
    if image.mode in ("P", "PA") and image.palette is not None:
        palette = image.getpalette("RGBA" if "A" in image.palette.mode else "RGB") or []
        found["palette"] = [image.palette.mode, bytes(palette).hex()]
    info = image.info
    for name in ("icc_profile", "exif", "transparency"):
        if isinstance(info.get(name), bytes):
            found[name] = info[name].hex()
    for name in ("transparency", "duration"):
        if isinstance(info.get(name), (int, float)):
            found[name] = info[name]
    return found


def grant(extra: int) -> None:
    """Lets this process take so many bytes beside what it has and what every decoder needs.

    RLIMIT_DATA: writable private memory, and not the address space that allocators and threads only reserve.
    """
    if not sys.platform.startswith("linux"):
        return
    import resource

    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[5]) * resource.getpagesize()
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = used + BASE_MEMORY + extra
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def processor_seconds(kind: str, pixels: int) -> float:
    """The processor time that a picture of so many pixels may take."""
    return PROCESSOR_SECONDS + MICROSECONDS_PER_PIXEL.get(kind, SLOWEST) * 1e-6 * pixels


def prepare() -> None:
    """No files, no core dump, and no more threads than a photo is worth."""
    start_no_threads()
    limit({"RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0})


def failure(error: BaseException) -> dict[str, Any]:
    """An error as a header: its kind, and its words."""
    kinds: tuple[tuple[type[BaseException], str], ...] = (
        (UnavailableError, "missing"),
        (MemoryError, "memory"),
        (Image.DecompressionBombError, "bomb"),
        (EOFError, "end"),
    )
    kind = next((name for group, name in kinds if isinstance(error, group)), "damaged")
    text = " ".join(str(error).split())[:LONGEST_LINE] or type(error).__name__
    return {"error": "memory" if "memory" in text.lower() else kind, "message": text}


def main() -> None:
    """Answers jobs until the other end has gone, and ends then even if it is decoding."""
    jobs, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    prepare()
    waiting: SimpleQueue[tuple[dict[str, Any], bytes]] = SimpleQueue()

    def read() -> None:
        try:
            while True:
                waiting.put(read_frame(jobs))
        except BaseException:
            os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    messages, files = Messages(), Files()
    work = {"open": files.open, "frame": files.frame}
    while True:
        job, data = waiting.get()
        try:
            with quiet_pillow():
                header, pixels = work[job["do"]](job, data)
        except BaseException as error:
            header, pixels = failure(error), b""
        del data
        header["lines"], header["said"] = messages.take()
        try:
            write_frame(answers, header, pixels)
        except OSError:
            os._exit(0)
        del pixels
