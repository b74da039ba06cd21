r"""Text from outside (file names, labels, a guest's words) made safe for one line of output and for a terminal.

What is escaped is always spelled the same: ``\n``, ``\x1b``, ``\u2028``. The functions differ in what they escape.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

__all__ = ["counted", "encodable", "escape_bytes", "one_line", "printable", "shown", "visible"]

# C0 controls, DEL, C1 controls (0x9B starts an escape sequence in some terminals), the line and paragraph separators,
# bidirectional overrides (they can make one name look like another) and lone surrogates (undecodable bytes).
# None of them is printable, so that text that is needs no look at each of its characters.
_UNSAFE = "[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
_NO_TEXT = "[\x00\ud800-\udfff]"  # csv and most readers of it stop at a NUL
_SHORT = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def _escaped(character: str) -> str:
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if 0xDC80 <= code <= 0xDCFF:  # Python's surrogateescape: the byte 0x80 to 0xFF of an undecodable name
        return f"\\x{code - 0xDC00:02x}"
    if code > 0xFFFF:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"


def _sequence(match: re.Match[str]) -> str:
    return _escaped(match[0])


def visible(text: str) -> str:
    """The text with control characters, line separators and undecodable bytes escaped."""
    return text if text.isprintable() else re.sub(_UNSAFE, _sequence, text)


def one_line(text: str) -> str:
    """Like :func:`visible`, and a backslash doubled, so that the original can be had back without doubt.

    On Windows, where a backslash separates folders and names hold no control characters, it stays single.
    """
    return visible(text if os.sep == "\\" else text.replace("\\", "\\\\"))


def escape_bytes(text: str) -> str:
    """The text with undecodable bytes and NUL escaped; everything else, newlines too, stays as it is."""
    return text if text.isprintable() else re.sub(_NO_TEXT, _sequence, text)


def encodable(text: str, stream: TextIO) -> str:
    """The text with what the stream's encoding lacks escaped: a Latin-1 terminal must not end the run."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def shown(name: str) -> str:
    """A name in a message of one line: whatever has no picture is escaped, the middle of a very long one left out."""
    if len(name) > 300:
        name = f"{name[:150]}...{name[-150:]}"
    return "".join(character if character.isprintable() else _escaped(character) for character in name)


def printable(text: str, longest: int = 200) -> str:
    """A guest's own words in a message of one line: harmless for a terminal, and no longer than that."""
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))
    return clean if len(clean) <= longest else clean[: longest - 3] + "..."


def counted(number: float, word: str) -> str:
    """A number with its word: ``1 photo``, ``0.5 seconds``, ``2 classes``."""
    if number == 1:
        return f"1 {word}"
    shown_number = f"{number:g}" if isinstance(number, float) else f"{number}"
    return f"{shown_number} {word}{'es' if word.endswith('s') else 's'}"
