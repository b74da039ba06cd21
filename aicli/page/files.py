"""Every file of the page by its address: the page itself, and the folder ``aicli/`` that answers photos in a browser.

The browser's half of ``js/`` and LiteRT.js are built into ``_bundled/page`` (``make browser``) and are in every wheel
that was built after that. Guest, models and labels are those that the Python package uses itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from aicli.catalog import folders
from aicli.catalog.entries import Entry, all_entries
from aicli.catalog.files import check_digest, checksum
from aicli.errors import ModelError, UnavailableError
from aicli.guest.client import packaged_guest

__all__ = [
    "CONTENT_SECURITY_POLICY",
    "Content",
    "content_type",
    "device_files",
    "digest",
    "is_built",
    "page_files",
    "read",
]

Content = Path | bytes

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; media-src 'self' blob: mediastream:; "
    "base-uri 'none'; form-action 'none'"
)
"""What the page may do. ``wasm-unsafe-eval`` lets it compile WebAssembly and no text."""

STATIC = Path(__file__).parent / "static"
BUILT = Path(__file__).parent.parent / "_bundled" / "page"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".ts": "text/plain; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".wasm": "application/wasm",
}


def content_type(address: str) -> str:
    return KINDS.get(Path(address).suffix, "application/octet-stream")


def read(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def digest(content: Content) -> str:
    """The SHA-256 of a file's bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else checksum(content)


def is_built() -> bool:
    """Whether this installation has the browser's half."""
    return (BUILT / "worker.js").is_file()


def page_files(page: str, *, service: bool, device: Mapping[str, Content]) -> dict[str, Content]:
    """The page at the address ``page`` with its scripts, and the files of :func:`device_files`, which may be none.

    ``service``: there is one behind the page, which answers photos too and says what the page may do.
    """
    html = (STATIC / "index.html").read_text(encoding="utf-8")
    policy = "" if service else f'\n  <meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">'
    values = {"service": "yes" if service else "no", "device": "yes" if device else "no", "policy": policy}
    for name, value in values.items():
        html = html.replace("{{" + name + "}}", value)
    files: dict[str, Content] = {page: html.encode()}
    names = ("answer.js", "app.css", "app.js", "camera.js", "device.js", "draw.js", "service.js", "icon.svg")
    files |= {f"static/{name}": STATIC / name for name in names}
    files |= device
    if device:
        files["sw.js"] = _service_worker(page, files)
    return files


def device_files(names: Iterable[str] = ()) -> dict[str, Content]:
    """The folder ``aicli/`` of a site: scripts, engine, guest, the catalog with the models of these names.

    Without names those that come with aicli; a face model is always there. Raises :class:`UnavailableError` where the
    browser's half was not built, and :class:`ModelError` for a model that is unknown, not here or not the catalog's.
    """
    if not is_built():
        raise UnavailableError("this installation has no files for the browser; in a checkout, run: make browser")
    entries = _chosen(tuple(names))
    files: dict[str, Content] = {
        path.relative_to(BUILT).as_posix(): path for path in sorted(BUILT.rglob("*")) if path.is_file()
    }
    files["data/aicli_guest.wasm"] = packaged_guest()
    files["data/models/catalog.json"] = _catalog(entries)
    for entry in entries:
        for role, path in _located(entry).items():
            files[_place(role, entry)] = path
        if entry.license_file and (text := folders.bundled_models() / entry.license_file).is_file():
            files[f"data/models/{entry.license_file}"] = text
    known = {address: _known(content) for address, content in files.items()}
    files["files.json"] = _json({"files": known})
    return {f"aicli/{address}": content for address, content in files.items()}


def _chosen(names: tuple[str, ...]) -> list[Entry]:
    known = all_entries()
    if not names:
        return [entry for entry in known if entry.state == "bundled"]
    wanted = [_named(name, known) for name in dict.fromkeys(names)]
    if not any(entry.task == "detect-faces" for entry in wanted):
        wanted += [entry for entry in known if entry.task == "detect-faces" and entry.default]
    return wanted


def _named(name: str, known: tuple[Entry, ...]) -> Entry:
    entry = next((entry for entry in known if name == entry.name or name in entry.aliases), None)
    if entry is None:
        listed = ", ".join(entry.name for entry in known)
        raise ModelError(f"there is no model {name!r}; there is {listed}; a file of your own: aicli models add FILE")
    if entry.state in ("available", "missing"):
        raise ModelError(f"the model {entry.name} is not here; get it: aicli models pull {entry.name}")
    return entry


def _located(entry: Entry) -> dict[str, Path]:
    """The files of a model by their roles, once they are known to be the ones that the catalog means."""
    found = {}
    for role, ref in entry.files.items():
        path = ref.locate()
        if path is None:
            raise ModelError(f"the model {entry.name} is not complete; get it again: aicli models pull {entry.name}")
        check_digest(entry, ref, path, _file_digest(path))
        found[role] = path
    return found


def _place(role: str, entry: Entry) -> str:
    return f"data/{'labels' if role == 'labels' else 'models'}/{entry.files[role].file}"


def _catalog(entries: list[Entry]) -> bytes:
    """The catalog of these models, as :func:`aicli.catalog.entries.read_entries` and ``js/`` read it."""
    models = []
    for entry in entries:
        files = {role: {"file": ref.file, "sha256": ref.sha256} for role, ref in entry.files.items()}
        known: dict[str, Any] = {"name": entry.name, "aliases": entry.aliases, "task": entry.task, "title": entry.title}
        known |= {"default": entry.default, "files": files, "license": entry.license, "origin": entry.origin}
        models.append({**known, "input": dict(entry.input), "output": dict(entry.output)})
    return _json({"version": 1, "models": models})


@cache
def _file_digest(path: Path) -> str:
    return checksum(path)


def _known(content: Content) -> dict[str, Any]:
    if isinstance(content, bytes):
        return {"bytes": len(content), "sha256": digest(content)}
    return {"bytes": content.stat().st_size, "sha256": _file_digest(content)}


def _json(value: Any) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _service_worker(page: str, files: Mapping[str, Content]) -> bytes:
    """The service worker with the list of what it keeps.

    Scripts are asked of the server first, and all kept at once; what is large is kept by its checksum once it came.
    """
    stored = {address: _known(content) for address, content in files.items()}
    kept = [address for address in files if "/LICENSES/" not in address and not address.endswith(".d.ts")]
    large = [address for address in kept if address.startswith(("aicli/data/", "aicli/litert/"))]
    small = ["./" if address == page else address for address in kept if address not in large]
    named = [f"{address}?{stored[address]['sha256']}" for address in large]
    version = hashlib.sha256(_json(stored)).hexdigest()[:16]
    text = (STATIC / "sw.js").read_text(encoding="utf-8")
    for name, value in {"VERSION": version, "SMALL": small, "LARGE": named}.items():
        text = text.replace(f"const {name} = null;", f"const {name} = {json.dumps(value)};")
    return text.encode()
