"""The page as a folder of static files, for any web server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from aicli._files import naming, write_file
from aicli.errors import UsageError
from aicli.page.files import Content, device_files, digest, page_files, read

__all__ = ["Site", "write_site"]

LIST = "aicli-page.json"
"""In the folder: the checksums of the files that were written there, by their addresses. It makes the folder ours."""
INDEX = "index.html"


class Site(NamedTuple):
    """What was written: the number of files and their bytes."""

    folder: Path
    files: int
    size: int


def write_site(folder: Path, models: Iterable[str] = ()) -> Site:
    """Writes the page with these models, by default those that come with aicli, or brings a site up to date.

    Nothing else is touched: raises :class:`UsageError` for a folder that has files and is no such site, and where one
    of the site's own files was changed since. Raises :class:`ModelError` for a model that cannot be had,
    :class:`UnavailableError` where the browser's half was not built, :class:`WriteError`.
    """
    device = device_files(models)
    files = page_files(INDEX, service=False, device=device)
    present = _present(folder)
    written = {address: digest(content) for address, content in files.items()}
    for address in {*present, *written}:
        _require_ours(folder, address, {*present.get(address, ()), written.get(address, "")})
    # Whatever interrupts the writing, the next run knows the files of both states as its own.
    both = {address: sorted({*present.get(address, ()), *_one(written, address)}) for address in {*present, *written}}
    _note(folder, both)
    last = (INDEX, "sw.js")  # they name the others
    for address in sorted(files, key=lambda address: (address in last, address)):
        _write(folder / address, files[address], written[address])
    for address in sorted(present.keys() - files.keys()):
        with naming(folder / address):
            (folder / address).unlink(missing_ok=True)
    _note(folder, {address: [sha256] for address, sha256 in written.items()})
    return Site(folder, len(files), sum(len(read(content)) for content in files.values()))


def _one(written: Mapping[str, str], address: str) -> list[str]:
    return [written[address]] if address in written else []


def _present(folder: Path) -> dict[str, list[str]]:
    """The files that an earlier run wrote, with their checksums.

    Raises :class:`UsageError` for a folder that is somebody else's.
    """
    with naming(folder):
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: this is a file; name a folder for the site")
        if not folder.is_dir() or not any(folder.iterdir()):
            return {}
    try:
        files = json.loads((folder / LIST).read_bytes())["files"]
        return {str(address): [str(item) for item in sums] for address, sums in files.items() if _inside(str(address))}
    except FileNotFoundError:
        raise UsageError(
            f"{folder}: the folder has files that aicli did not write; name an empty or a new one"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        reason = "the list of the site's files is damaged; name an empty or a new folder"
        raise UsageError(f"{folder / LIST}: {reason}") from None


def _inside(address: str) -> bool:
    return not Path(address).is_absolute() and ".." not in Path(address).parts


def _require_ours(folder: Path, address: str, sums: set[str]) -> None:
    path = folder / address
    with naming(path):
        if not path.exists():
            return
        ours = path.is_file() and digest(path) in sums
    if not ours:
        raise UsageError(f"{path}: this file was not written by aicli, or changed since; move it away first")


def _write(path: Path, content: Content, sha256: str) -> None:
    with naming(path):
        if path.is_file() and digest(path) == sha256:
            return
    write_file(path, read(content))


def _note(folder: Path, files: Mapping[str, list[str]]) -> None:
    write_file(folder / LIST, (json.dumps({"files": dict(sorted(files.items()))}, indent=1) + "\n").encode())
