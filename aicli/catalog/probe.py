"""Unknown model files are run once in a child process: a file that crashes the interpreter crashes only the child.

The result is remembered by the file's SHA-256 and the engine, so that a file pays for this once (0.3 s).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aicli._files import write_file
from aicli.catalog import folders
from aicli.errors import ModelError, WriteError

if TYPE_CHECKING:
    from aicli.nn.engines import Engine

__all__ = ["require_safe"]

TIMEOUT = 120.0
"""Seconds that loading and running a model once may take."""
VERSION = 1
"""Part of what is remembered; raise it when the child tests more."""


def require_safe(path: Path, sha256: str, engine: Engine) -> None:
    """Raises :class:`ModelError` unless this engine has run this file without a crash, now or earlier."""
    memory = _memory(sha256, engine)
    problem = _recall(memory)
    if problem is None:
        problem, lasting = _run_child(path, engine)
        if lasting and memory is not None:
            _remember(memory, problem)
    if problem:
        raise ModelError(f"{path}: {problem}")


def _memory(sha256: str, engine: Engine) -> Path | None:
    if os.environ.get("AICLI_NO_CACHE", "0") not in ("", "0"):
        return None
    return folders.cache_folder() / "models" / f"{sha256}-{engine.name}-{engine.version}-{VERSION}.json"


def _recall(memory: Path | None) -> str | None:
    """What an earlier run found: an empty text for no problem, ``None`` where there was none."""
    if memory is None:
        return None
    try:
        found = json.loads(memory.read_bytes())
        problem = found["problem"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return problem if isinstance(problem, str) else None


def _remember(memory: Path, problem: str) -> None:
    """Writes the finding; a cache that cannot be written only costs time."""
    with suppress(WriteError):
        write_file(memory, json.dumps({"problem": problem}).encode(), mode=0o600)


def _run_child(path: Path, engine: Engine) -> tuple[str, bool]:
    """The problem (empty: none) and whether it would be the same the next time."""
    if not sys.executable:
        raise ModelError(f"{path}: there is no Python program to try this unknown model in; use a model of the catalog")
    script = Path(__file__).with_name("probe_child.py")
    import_path = json.dumps([entry for entry in sys.path if entry])
    # -I: no PYTHON* variables and no import from the current folder, which may be full of somebody's downloads.
    command = [sys.executable, "-I", str(script), import_path, engine.name, str(path.resolve())]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return f"{engine.name} did not finish with this model in {TIMEOUT:.0f} s; it is not used", False
    except OSError as error:
        raise ModelError(f"{path}: cannot start a process to try this unknown model: {error}") from None
    answer = _answer(done.stdout)
    if done.returncode == 0 and answer.get("ok") is True:
        return "", True
    if done.returncode == 0 and isinstance(answer.get("error"), str):
        return f"no TFLite model that {engine.name} can run: {_reason(answer['error'])}", True
    # An end by MemoryError or a kill may be this machine's state rather than the file's fault.
    how = _ending(done.returncode)
    return f"the model crashes {engine.name} ({how}); the crash was contained, the file is not used", "KILL" not in how


def _reason(text: str) -> str:
    """The engine's own words without our file's name before them."""
    marker = "can run: "
    return text[text.index(marker) + len(marker) :] if marker in text else text


def _answer(stdout: bytes) -> dict[str, Any]:
    """The last line of the child's output, if it is a JSON object."""
    lines = stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1]) if lines else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _ending(code: int) -> str:
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit code {code}"
