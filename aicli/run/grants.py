"""What a user grants a guest on the command line, as values."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from aicli.errors import Hint, ModelError, UsageError
from aicli.wasm.runtime import WasiFolder

__all__ = ["parse_folder", "parse_model", "parse_preload", "parse_variable"]

TFLITE = ("tensorflowlite", "tflite", "autodetect")
"""The encodings of ``--nn-preload`` that are TFLite models here."""


def parse_folder(text: str, *, read_only: bool = False) -> WasiFolder:
    """``HOST`` or ``HOST:GUEST``; without a guest's path the folder has the same path there.

    Raises :class:`UsageError` when the folder is not there.
    """
    # The colon of a Windows drive separates nothing.
    drive = 2 if sys.platform == "win32" and text[1:2] == ":" else 0
    host, _, guest = text[drive:].partition(":")
    host = text[:drive] + host
    path = Path(host)
    if not host or not path.is_dir():
        reason = "this is not a folder" if path.exists() else "there is no such folder"
        hint = Hint("run:dir", "{} takes HOST or HOST:GUEST, the folder on this machine first")
        raise UsageError(f"{host or text}: {reason}", hint=hint)
    return WasiFolder(path, guest or host, read_only)


def parse_variable(text: str) -> tuple[str, str]:
    """``K=V``, or ``K`` for the value that it has here. Raises :class:`UsageError` when it has none."""
    name, equals, value = text.partition("=")
    if not name or "\0" in text:
        raise UsageError(f"'{text}' sets no variable", hint=Hint("run:env", "{} takes NAME=VALUE"))
    if equals:
        return name, value
    if name not in os.environ:
        raise UsageError(f"the variable {name} is not set here", hint=Hint("run:env", f"write {{}} {name}=VALUE"))
    return name, os.environ[name]


def parse_model(text: str) -> tuple[str, Path]:
    """``NAME=FILE`` or ``NAME=CATALOG``, as ``face=mtcnn:pnet`` for one net of several.

    Raises :class:`UsageError` for anything else and :class:`aicli.errors.ModelError` when there is no such model.
    """
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        hint = Hint("run:model", "{} takes NAME=FILE, or NAME=MODEL for one of 'aicli models list'")
        raise UsageError(f"'{text}' names no model", hint=hint)
    path = Path(value).expanduser()
    if path.is_file():
        return name, path
    if path.suffix or "/" in value:
        raise ModelError(f"{value}: there is no such file", hint=Hint("run:model", "{} takes NAME=FILE"))
    return name, catalog_file(value)


def parse_preload(text: str) -> tuple[str, Path]:
    """``NAME:ENCODING:DEVICE:FILE`` as WasmEdge spells it; everything runs on the processor, whatever the device.

    Raises :class:`UsageError` for anything else, and for another encoding than TensorFlow Lite.
    """
    name, encoding, device, path = (*text.split(":", 3), "", "", "")[:4]
    if not (name and encoding and device and path):
        hint = Hint("run:nn_preload", "{} takes NAME:TensorflowLite:CPU:FILE")
        raise UsageError(f"'{text}' names no model", hint=hint)
    if encoding.lower() not in TFLITE:
        raise UsageError(f"{text}: only TensorflowLite models run here, and this one is {encoding}")
    return parse_model(f"{name}={path}")


def catalog_file(value: str) -> Path:
    """The verified file of a model of the catalog; ``mtcnn:pnet`` is one of several."""
    from aicli.catalog import entries, files
    from aicli.catalog.required import require_file

    model, _, role = value.partition(":")
    entry = entries.require_entry(model)
    nets = [key for key in entry.files if key != "labels"]
    role = role or (nets[0] if len(nets) == 1 else "")
    if role not in nets:
        choices = ", ".join(f"{model}:{net}" for net in nets)
        raise ModelError(f"{value}: the model consists of several files; choose one of {choices}")
    path = require_file(entry, role)
    files.check_digest(entry, entry.files[role], path, files.checksum(path))
    return path
