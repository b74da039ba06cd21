"""Text from outside (file names, labels) made safe for one line of output and for a terminal."""

from __future__ import annotations

import os
import re
from typing import TextIO

__all__ = ["encodable", "escape_bytes", "one_line", "visible"]

# C0 controls, DEL, C1 controls (0x9B starts an escape sequence in some terminals), the line and paragraph separators,
# bidirectional overrides (they can make one name look like another) and lone surrogates (undecodable bytes).
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")  # csv and most readers of it stop at a NUL
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def _sequence(match: re.Match[str]) -> str:
    character = match[0]
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if 0xDC80 <= code <= 0xDCFF:  # Python's surrogateescape: the byte 0x80 to 0xFF of an undecodable name
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def visible(text: str) -> str:
    r"""The text with control characters, line separators and undecodable bytes as ``\n``, ``\x1b``, ``\u2028``."""
    return _UNSAFE.sub(_sequence, text)


def one_line(text: str) -> str:
    r"""Like :func:`visible`, and a backslash doubled, so that the original can be had back without doubt.

    On Windows, where a backslash separates folders and names hold no control characters, it stays single.
    """
    return visible(text if os.sep == "\\" else text.replace("\\", "\\\\"))


def escape_bytes(text: str) -> str:
    r"""The text with undecodable bytes and NUL as ``\xNN``; everything else, newlines too, stays as it is."""
    return _NO_TEXT.sub(_sequence, text)


def encodable(text: str, stream: TextIO) -> str:
    r"""The text with what the stream's encoding lacks as ``\u65e5``: a Latin-1 terminal must not end the run."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)
