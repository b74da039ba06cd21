"""Words of others in messages of one line."""

from __future__ import annotations

__all__ = ["printable", "shown"]


def shown(name: str) -> str:
    """``name`` fit for one line of a message: control characters escaped, a very long one shortened."""
    if len(name) > 300:
        name = f"{name[:150]}...{name[-150:]}"
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in name
    )


def printable(text: str, longest: int = 200) -> str:
    """A guest's own words, made harmless for a terminal and fit for one line."""
    clean = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in " ".join(text.split()))
    return clean if len(clean) <= longest else clean[: longest - 3] + "..."
