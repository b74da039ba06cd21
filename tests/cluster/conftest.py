"""Two nodes of Ray on this machine, for all tests of a module; and the command line as a process beside them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]


MARK = "AICLI_TEST_RUN"

HOOK = """
import os, sys, time

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].endswith((".jpg", ".png")):
        name = os.path.basename(arguments[0])
        if name.startswith("poison"):
            os.abort()
        if name.startswith("slow"):
            time.sleep(0.3)

sys.addaudithook(hook)
"""
"""In every process of the tests: who opens a photo called poison dies, one called slow takes its time."""


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Aicli = Callable[..., Result]


def require_ray() -> None:
    """Skips where Ray is absent, fails where CI demands it."""
    try:
        import pyarrow  # noqa: F401
        import ray.data  # noqa: F401
    except ImportError as error:
        if os.environ.get("AICLI_REQUIRE_RAY") == "1":
            pytest.fail(f"AICLI_REQUIRE_RAY=1, but {error}")
        pytest.skip(f"needs the extra ray ({error})")


def command_of(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "aicli", *map(str, arguments)]


def start(*arguments: object, cwd: Path = PROJECT) -> subprocess.Popen[str]:
    """``aicli ARGUMENTS`` as a process of its own: Ray's warnings are not this process's."""
    command = command_of(*arguments)
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, cwd=cwd, **pipes)


@pytest.fixture(scope="session")
def aicli() -> Aicli:
    def call(*arguments: object, cwd: Path = PROJECT) -> Result:
        process = start(*arguments, cwd=cwd)
        out, err = process.communicate(timeout=400)
        return Result(process.returncode, out, err)

    return call


def hooked(tmp_path_factory: pytest.TempPathFactory) -> pytest.MonkeyPatch:
    """What is started from now on has the hook, and a mark by which it is found."""
    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv(MARK, str(os.getpid()))
    hooks = tmp_path_factory.mktemp("hooks")
    (hooks / "sitecustomize.py").write_text(HOOK)
    patch.setenv("PYTHONPATH", f"{hooks}{os.pathsep}{PROJECT}")
    return patch


def started() -> dict[int, str]:
    """The processes that were started from here, however many lie between: their numbers and commands."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"{MARK}={os.getpid()}".encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def head() -> Any:
    """A cluster with a node of one core. On a busy machine Ray gives up waiting for it: then another one."""
    from ray.cluster_utils import Cluster

    for last in (False, False, True):
        made = Cluster()
        try:
            made.add_node(num_cpus=1, include_dashboard=False, object_store_memory=200 << 20)
        except Exception:
            if last:
                raise
        else:
            break
    return made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """``ray.cluster_utils.Cluster`` with a node of one core; ``add_node`` gives another."""
    require_ray()
    patch = hooked(tmp_path_factory)
    yield (made := head())
    with suppress(Exception):
        made.shutdown()
    patch.undo()


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The records of a folder of Parquet or JSON lines, in the order of their images, as ``-f jsonl`` has them."""
    from aicli.output.parquet import from_row

    records: list[dict[str, Any]] = []
    for part in sorted(folder.glob("part-*")):
        if part.suffix == ".jsonl":
            records += map(json.loads, part.read_text().splitlines())
        else:
            import pyarrow.parquet as pq

            records += map(from_row, pq.read_table(part).to_pylist())
    return sorted(records, key=lambda record: str(record["image"]))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return sorted(map(json.loads, path.read_text().splitlines()), key=lambda record: str(record["image"]))
