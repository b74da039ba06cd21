"""What all formats of results have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, TextIO

from aicli._text import encodable
from aicli.errors import AicliError
from aicli.results import Classification, Detection

__all__ = ["Writer"]


class Writer(ABC):
    """Writes results to a text stream and flushes after each image. A context manager; leaving it closes the writer.

    With ``frames`` each answer is that of one frame and says which.

    Raises :class:`AicliError` when the stream cannot be written (disk full); ``BrokenPipeError`` passes through.
    """

    def __init__(self, stream: TextIO, *, frames: bool = False) -> None:
        self._stream, self._frames = stream, frames

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @abstractmethod
    def result(self, item: Classification | Detection, extra: dict[str, Any] | None = None) -> None:
        """Write the answer for one image. ``extra`` is merged into JSON records (JSON values only)."""

    def failure(self, image: str, error: str) -> None:  # noqa: B027 - table and text leave failures to stderr
        """Write that an image could not be answered."""

    def close(self) -> None:  # noqa: B027 - most formats need no ending
        """Finish the output; the stream stays open. May be called twice."""

    def _record_of(self, item: Classification | Detection, extra: dict[str, Any] | None) -> dict[str, Any]:
        frame = {"frames": item.frames, "frame": item.frame} if self._frames else {}
        return {**item.to_dict(), **frame, **(extra or {})}

    def _emit(self, text: str) -> None:
        try:
            self._stream.write(encodable(text, self._stream))
            self._stream.flush()
        except BrokenPipeError:  # the reader has gone (`| head`): the CLI ends quietly
            raise
        except OSError as error:
            name = getattr(self._stream, "name", "the output")
            raise AicliError(f"cannot write the results to {name}: {error.strerror or error}") from error
