"""Getting the catalog's models: from a mirror, else from their address; checked, then put in place with one rename."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from aicli._files import file_lock, naming
from aicli._text import counted
from aicli.catalog import download, entries, files, folders, registry
from aicli.catalog.download import Progress
from aicli.catalog.entries import Entry, FileRef
from aicli.errors import AicliError, FetchError, Hint, LabelsError, ModelError

__all__ = ["is_offline", "pull"]

WEB = ("http://", "https://")


def is_offline() -> bool:
    """Whether ``AICLI_OFFLINE=1`` forbids the network."""
    return os.environ.get("AICLI_OFFLINE", "0") not in ("", "0")


def pull(
    name: str,
    *,
    mirror: str | None = None,
    trust: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Gets the files of a model that are not here yet and returns where each is, by its role.

    ``mirror`` (else ``AICLI_MODEL_MIRROR``) is a folder or web folder that is asked before the file's own address.
    ``trust`` accepts files without a checksum; theirs is recorded. ``force`` fetches pulled files again.
    Raises :class:`ModelError` for an unknown model and :class:`AicliError` when no source gives the file.
    """
    entry = entries.require_entry(name)
    if entry.own:
        raise ModelError(f"the model {entry.name} is your own; there is nowhere to pull it from")
    if not trust and any(files.expected_checksum(ref) is None for ref in entry.files.values()):
        raise ModelError(
            f"nobody has computed a checksum of {entry.name}",
            hint=Hint("models pull:trust", f"to get it all the same: aicli models pull {{}} {entry.name}"),
        )
    sources = mirror or os.environ.get("AICLI_MODEL_MIRROR") or None
    return {role: _pull_file(entry, role, sources, force, progress) for role in entry.files}


def _pull_file(entry: Entry, role: str, mirror: str | None, force: bool, progress: Progress | None) -> Path:
    ref = entry.files[role]
    if not _is_plain(ref.file):
        raise ModelError(f"the catalog has a file name that leaves the folder of models: {ref.file}")
    here = ref.locate()
    if here is not None and (ref.is_bundled or not force) and _is_intact(ref, here):
        return here
    target = folders.user_models() / ref.file
    with file_lock(target.with_name(f".{ref.file}.lock")):
        if not force and target.is_file() and _is_intact(ref, target):
            return target  # another process has pulled it meanwhile
        part = target.with_name(f".{ref.file}.{(ref.sha256 or 'unverified')[:16]}.part")
        if ref.sha256 is None:
            part.unlink(missing_ok=True)  # nothing would tell whether the two halves belong together
        digest = _fetch_from_any(entry, role, mirror, part, progress)
        if ref.sha256 is None:
            registry.record_trust({ref.file: digest})
        with naming(target):
            os.chmod(part, 0o644)
            os.replace(part, target)
    return target


def _is_plain(name: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", name) is not None


def _is_intact(ref: FileRef, path: Path) -> bool:
    return files.checksum(path) == files.expected_checksum(ref)


def _fetch_from_any(entry: Entry, role: str, mirror: str | None, part: Path, progress: Progress | None) -> str:
    """Completes ``part`` from the first source that gives the right file; returns its SHA-256."""
    ref = entry.files[role]
    problems = []
    for address in _addresses(ref, mirror):
        if address.startswith(WEB) and is_offline():
            problems.append(f"AICLI_OFFLINE=1 forbids {address}")
            continue
        try:
            return _fetch_checked(entry, role, address, part, progress)
        except FetchError as error:
            problems.append(str(error))
    reasons = "; ".join(problems) or "the catalog has no address of it"
    where = "AICLI_MODEL_MIRROR can name a folder that has the file"
    raise AicliError(f"cannot get {ref.file} of {entry.name}: {reasons}; {where}")


def _fetch_checked(entry: Entry, role: str, address: str, part: Path, progress: Progress | None) -> str:
    """Fetches from one address; bytes that turn out wrong are thrown away, those of a resumed file once more."""
    ref = entry.files[role]
    while True:
        resumed = part.is_file() and part.stat().st_size > 0 and address.startswith(WEB)
        download.fetch(address, part, ref.size, progress, ref.file)
        digest = files.checksum(part)
        if digest == ref.sha256:
            return digest
        if ref.sha256 is None:
            _check_content(role, part, address)
            return digest
        size = part.stat().st_size
        part.unlink()
        if not resumed:
            expected = "" if ref.size in (None, size) else f" and it has {counted(size, 'byte')}, not {ref.size}"
            raise FetchError(f"{address}: this is not the file of the catalog: its SHA-256 differs{expected}")


def _check_content(role: str, part: Path, address: str) -> None:
    """A file without a checksum must at least be what it is taken for. Raises :class:`FetchError`."""
    from aicli.catalog.inspect import inspect_file
    from aicli.catalog.labels import read_labels

    try:
        if role != "labels":
            inspect_file(part, metadata=False)
        elif read_labels(part)[0].lstrip().startswith("<"):
            raise LabelsError("a web page, not a label file")
    except ModelError as error:
        part.unlink()
        reason = str(error).removeprefix(f"{part}: ")
        raise FetchError(f"{address}: {reason}") from None


def _addresses(ref: FileRef, mirror: str | None) -> Iterator[str]:
    """Where a file may be, the mirror first: flat, or with models and labels in folders of these names."""
    if mirror is not None and mirror.startswith(WEB):
        base = mirror.rstrip("/")
        yield f"{base}/{quote(ref.file)}"
        if not ref.file.endswith(".tflite"):
            yield (
                f"{base.rsplit('/', 1)[0]}/labels/{quote(ref.file)}"
                if urlsplit(base).path
                else f"{base}/labels/{ref.file}"
            )
    elif mirror is not None:
        folder = _folder(mirror)
        if not folder.is_dir():
            raise AicliError(f"the mirror {mirror} is not a folder here; give a folder or an http(s) address")
        places = (folder, folder / "models", folder / "labels", folder.parent / "labels")
        found = [place / ref.file for place in places if (place / ref.file).is_file()]
        yield str(found[0] if found else folder / ref.file)
    if ref.url is not None and ref.url.startswith(WEB):
        yield ref.url


def _folder(mirror: str) -> Path:
    if mirror.startswith("file:"):
        return Path(url2pathname(urlsplit(mirror).path))
    return Path(mirror).expanduser()
