"""Whatever goes wrong in a decoder becomes an ImageError, and no image is larger than its limit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from PIL import Image

from aicli._extras import install_command
from aicli._text import shown
from aicli.errors import Hint, ImageError, ImageTooLargeError, UnavailableError
from aicli.image.formats import quiet_pillow
from aicli.image.reading import one_line

__all__ = ["DecoderDied", "Messages", "check_size", "guarded"]

# What Pillow logs goes to whoever has set logging up, and else to nobody: Python would print it.
logging.getLogger("PIL").addHandler(logging.NullHandler())


class DecoderDied(Exception):
    """The decoder process ended while it decoded a file."""


class Messages:
    """What a library printed about one file: how many lines, and the first different ones."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, header: dict[str, Any]) -> None:
        self.count += header["lines"]
        self.first += [line for line in header["said"] if line not in self.first]


@contextmanager
def guarded(label: str, kind: str | None) -> Iterator[None]:
    """Decoders raise nearly every exception on damaged files (SyntaxError, struct.error, IndexError, OSError, ...)."""
    what = f"{kind} image" if kind else "image"
    try:
        with quiet_pillow():
            yield
    except ImageError:
        raise
    except UnavailableError as error:
        how = install_command("heif") if kind == "HEIF" else "install a Pillow that supports it, or convert it"
        raise ImageError(f"no decoder for {kind} is installed; {how}").of(shown(label)) from error
    except Image.DecompressionBombError as error:
        raise ImageTooLargeError(f"larger than Pillow decodes ({one_line(error)}); make it smaller first").of(
            shown(label)
        ) from error
    except MemoryError as error:
        raise ImageTooLargeError(f"needs more memory than a {what} of its size may take; make it smaller first").of(
            shown(label)
        ) from error
    except DecoderDied as error:
        raise ImageError(
            f"the decoder of this {what} ended ({one_line(error)}), for it is damaged or takes more "
            "memory or time than its size allows; get or export it again"
        ).of(shown(label)) from error
    except Exception as error:
        raise ImageError(f"a damaged or truncated {what} ({one_line(error)}); get or export it again").of(
            shown(label)
        ) from error


def check_size(width: int, height: int, label: str, max_pixels: int) -> None:
    if width <= 0 or height <= 0:
        raise ImageError(f"has no pixels ({width} x {height}); give another image").of(shown(label))
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"{width:,} x {height:,} pixels, the limit is {max_pixels:,}",
            hint=Hint("max_pixels", "make it smaller or raise the limit with {}"),
        ).of(shown(label))
