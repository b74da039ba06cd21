"""The catalog as a whole: listing and verifying models, removing pulled ones, registering one's own."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicli._files import write_file
from aicli.catalog import entries, files, folders, registry
from aicli.catalog.entries import Entry, FileRef
from aicli.catalog.required import require_file
from aicli.errors import Hint, LabelsError, ModelError, UsageError

if TYPE_CHECKING:
    from aicli.catalog.specs import ClassifierModel
    from aicli.nn.engines import Engine

__all__ = ["Check", "add_classifier", "files_of_user", "list_models", "model_path", "remove", "verify"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
OWN = "own"
"""The folder of registered models, inside the user's folder: a folder for each."""


@dataclass(frozen=True)
class Check:
    """What became of one file: ``ok``, ``damaged``, ``unverified`` (nobody has a checksum) or ``absent``."""

    model: str
    file: str
    path: Path | None
    status: str

    def to_dict(self) -> dict[str, Any]:
        path = None if self.path is None else str(self.path)
        return {"model": self.model, "file": self.file, "path": path, "status": self.status}


def list_models() -> tuple[Entry, ...]:
    """Every model that has a name: the catalog's, the registered ones, and .tflite files in the user's folder."""
    known = entries.all_entries()
    taken = {name for entry in known for name in (entry.name, *entry.aliases)}
    pulled = {ref.file for entry in known for ref in entry.files.values()}
    dropped = sorted(path for path in folders.user_models().glob("*.tflite") if path.is_file())
    return known + tuple(dropped_entry(path) for path in dropped if path.name not in pulled and path.stem not in taken)


def dropped_entry(path: Path) -> Entry:
    """A model that was only put into the user's folder."""
    return Entry(
        name=path.stem,
        aliases=(),
        task="classify",
        title=path.name,
        default=False,
        files={"model": FileRef(path.name, None, path.stat().st_size, None)},
        license="unknown",
        license_file=None,
        origin="a file in your folder of models",
        source="",
        accuracy=None,
        own=True,
    )


def require_model(name: str) -> Entry:
    """Any model of :func:`list_models`, by name or alias. Raises :class:`ModelError` with the nearest names."""
    found = next((entry for entry in list_models() if name == entry.name or name in entry.aliases), None)
    return found or entries.require_entry(name)


def verify(names: Sequence[str] = ()) -> tuple[Check, ...]:
    """Compares the files of these models (all that are here, without names) with their checksums."""
    chosen = [require_model(name) for name in names] or list(list_models())
    checks = [_check(entry, ref) for entry in chosen for ref in entry.files.values()]
    return tuple(check for check in checks if names or check.status != "absent")


def _check(entry: Entry, ref: FileRef) -> Check:
    path = ref.locate()
    expected = files.expected_checksum(ref)
    if path is None:
        return Check(entry.name, ref.file, None, "absent")
    if expected is None:
        return Check(entry.name, ref.file, path, "unverified")
    try:
        status = "ok" if files.checksum(path) == expected else "damaged"
    except OSError:
        status = "damaged"
    return Check(entry.name, ref.file, path, status)


def model_path(name: str, role: str | None = None) -> dict[str, Path]:
    """Where the files of a model are, by role. Raises :class:`ModelError` when they are not here."""
    entry = require_model(name)
    if role is not None and role not in entry.files:
        raise UsageError(f"the model {entry.name} has no file '{role}'; it has {', '.join(entry.files)}")
    return {key: require_file(entry, key) for key in entry.files if role in (None, key)}


def files_of_user(name: str) -> dict[str, Path]:
    """What the user's folder of models has of one, by the path in that folder: its files, and the registry.

    Empty for a model that comes with aicli, or is not known.
    """
    folder = folders.user_models()
    entry = entries.find_entry(name)
    if entry is not None:
        found = [folder / ref.file for ref in entry.files.values() if not ref.is_bundled]
    else:
        found = [folder / f"{name}.tflite", folder / f"{name}.txt", folder / f"{name}_labels.txt"]
    found = [path for path in found if path.is_file()]
    if found and entries.user_registry().is_file():
        found.append(entries.user_registry())
    return {path.relative_to(folder).as_posix(): path for path in found}


def remove(name: str) -> tuple[Path, ...]:
    """Deletes the files of a pulled or registered model and returns them; files that another model needs stay.

    Raises :class:`ModelError` for a model that comes with aicli, or that is not here.
    """
    entry = require_model(name)
    folder = folders.user_models()
    others = [other for other in list_models() if other.name != entry.name and other.state in ("pulled", "own")]
    needed = {ref.file for other in others for ref in other.files.values()}
    names = [ref.file for ref in entry.files.values() if ref.file not in needed]
    removed = []
    for file in names:
        path = folder / file
        for part in path.parent.glob(f".{path.name}.*.part"):
            part.unlink(missing_ok=True)
        if path.is_file():
            path.unlink()
            removed.append(path)
    if entry.own:
        registry.forget(entry.name, names)
        shutil.rmtree(folder / OWN / entry.name, ignore_errors=True)
    elif not removed and entry.state == "bundled":
        raise ModelError(f"the model {entry.name} comes with aicli and cannot be removed")
    elif not removed:
        raise ModelError(f"the model {entry.name} is not here; there is nothing to remove")
    else:
        registry.forget(entry.name, names)
    return tuple(removed)


def check_new_name(name: str, *, force: bool) -> None:
    """Raises :class:`UsageError` unless a model of one's own can have this name."""
    if not NAME.fullmatch(name) or name.lower().endswith((".tflite", ".lite")):
        raise UsageError(f"'{name}' cannot be a model's name; use letters, digits, '.', '_' and '-', as in my_birds")
    existing = entries.find_entry(name)
    if existing is not None and not existing.own:
        raise UsageError(f"'{name}' is a model of the catalog; choose another name")
    if existing is not None and not force:
        text = f"you have a model '{name}' already; aicli models rm {name} removes it"
        raise UsageError(text, hint=Hint("force", "{} replaces it"))


def store_own(name: str, contents: dict[str, tuple[str, bytes]], record: dict[str, Any]) -> Entry:
    """Writes a model's files (role: file name, bytes) and registers it with this record."""
    from hashlib import sha256

    refs = {}
    for role, (file, content) in contents.items():
        relative = f"{OWN}/{name}/{file}"
        write_file(folders.user_models() / relative, content, mode=0o644, sync=True)
        refs[role] = {"file": relative, "sha256": sha256(content).hexdigest(), "bytes": len(content)}
    registry.record_model({"name": name, **record, "files": refs})
    return entries.require_entry(name)


def add_classifier(
    name: str,
    file: str | Path,
    labels: str | Path | Sequence[str] | None = None,
    *,
    engine: Engine | None = None,
    input_range: str | tuple[float, float] | None = None,
    mean: str | tuple[float, ...] | None = None,
    std: str | tuple[float, ...] | None = None,
    resize: str | None = None,
    channels: str | None = None,
    output_tensor: int | None = None,
    signature: str | None = None,
    locale: str | None = None,
    input_size: str | None = None,
    license: str = "unknown",
    title: str | None = None,
    force: bool = False,
) -> tuple[Entry, ClassifierModel]:
    """Registers a .tflite classifier of one's own under a name, with all that is known about it; the files are copied.

    Raises :class:`ModelError` when it is not a classifier and :class:`LabelsError` when labels do not fit.
    """
    from aicli.catalog.load import load_classifier
    from aicli.nn.engines import load_engine

    check_new_name(name, force=force)
    model = load_classifier(
        Path(file),
        labels,
        engine=engine or load_engine(),
        input_range=input_range,
        mean=mean,
        std=std,
        resize=resize,
        channels=channels,
        output_tensor=output_tensor,
        signature=signature,
        locale=locale,
        input_size=input_size,
    )
    spec = model.input
    record = {
        "task": "classify",
        "title": title or Path(file).name,
        "license": license,
        "origin": str(Path(file).resolve()),
        "input": {
            "width": spec.width,
            "height": spec.height,
            "channels": spec.channels,
            "mean": list(spec.mean),
            "std": list(spec.std),
            "crop": spec.crop,
            "filter": spec.filter,
            "exact": True,
            **({"signature": model.signature} if model.signature else {}),
        },
        "output": {"kind": model.output.kind, "tensor": model.output.tensor},
    }
    contents = {"model": ("model.tflite", model.path.read_bytes())}
    if model.names:
        contents["labels"] = _label_file(model.labels)
    return store_own(name, contents, record), model


def _label_file(labels: Sequence[str]) -> tuple[str, bytes]:
    """A file that gives exactly these labels when it is read: one a line where that does, else JSON."""
    from aicli.catalog.formats.label_file import parse_labels

    wanted = tuple(" ".join(label.split()) for label in labels)
    text = "".join(f"{label}\n" for label in wanted)
    with contextlib.suppress(LabelsError):
        if parse_labels(text.encode(), "labels.txt") == wanted:
            return "labels.txt", text.encode()
    return "labels.json", json.dumps(wanted, ensure_ascii=False).encode()
