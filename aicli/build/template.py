"""A new guest crate from the template that travels with the package."""

from __future__ import annotations

import re
from pathlib import Path

from aicli.errors import UsageError

__all__ = ["new_guest"]

TEMPLATE = Path(__file__).resolve().parent.parent / "_bundled" / "guest-template"
RENAMED = {"cargo-config.toml": ".cargo/config.toml", "gitignore": ".gitignore", "Cargo.toml.in": "Cargo.toml"}
"""Files that tools would take for their own if they had their real names in the template."""
TAKEN = frozenset(["test", "core", "std", "alloc", "self", "super", "crate", "extern", "fn", "mod", "use", "match"])
"""Names that cargo or the compiler would refuse."""


def new_guest(folder: Path) -> str:
    """Writes the crate into ``folder``, which is made; gives the name of the module that it compiles to.

    Raises :class:`UsageError` when the folder's name is no crate's name, or something is already there.
    """
    name = folder.name
    module = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_-]*", name) or module in TAKEN:
        raise UsageError(f"'{name}' cannot name a crate; use small letters, digits and '-', such as my-guest")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder}: exists already; choose another name or remove it first")
    try:
        for source in sorted(TEMPLATE.rglob("*")):
            if source.is_file():
                inner = source.relative_to(TEMPLATE).as_posix()
                target = folder / RENAMED.get(inner, inner)
                target.parent.mkdir(parents=True, exist_ok=True)
                text = source.read_text(encoding="utf-8")
                target.write_text(text.replace("@NAME@", name).replace("@MODULE@", module), encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror})") from None
    return module
