"""Fresh processes run nothing from the folder that the user stands in, which a stranger may have filled."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aicli import Classifier
from aicli._child import Child, limit, limit_processor, python_command, socket_pair
from tests.conftest import EXAMPLES, PROJECT

TRAP = "open({!r}, 'a').write(__name__ + '\\n')\n"


@pytest.fixture
def trapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder has a file for each module of the standard library and of this program; the file that they
    write to when they are imported."""
    folder, caught = tmp_path / "downloads", tmp_path / "caught"
    folder.mkdir()
    for name in [*sys.stdlib_module_names, "aicli", "click", "numpy", "PIL", "wasmtime"]:
        (folder / f"{name}.py").write_text(TRAP.format(str(caught)))
    monkeypatch.chdir(folder)
    return caught


def test_the_trap_works(trapped: Path) -> None:
    subprocess.run([sys.executable, "-c", "import json"], check=False, capture_output=True)
    assert "json" in trapped.read_text().split()


def test_a_command_imports_nothing_from_the_current_folder(trapped: Path) -> None:
    done = subprocess.run(
        python_command("platform:python_version", "one", "two"), check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    assert not trapped.exists()


def test_workers_import_nothing_from_the_current_folder(trapped: Path) -> None:
    photos = [EXAMPLES / "chelsea.png", EXAMPLES / "grace_hopper.jpg"]
    with Classifier() as classify:
        found = [answer.to_dict()["predictions"][0]["label"] for answer in classify.many(photos, jobs=2)]
    assert found == ["Egyptian cat", "military uniform"]
    assert not trapped.exists()


def test_arguments_and_path_arrive() -> None:
    code = "import json, sys; print(json.dumps([sys.argv[1:], sys.path]))"
    command = python_command("runpy:run_path", "a", "b c")
    command[2] = command[2].rpartition("\n")[0] + f"\n{code}"
    arguments, path = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert (arguments, path) == (["a", "b c"], sys.path)


@pytest.fixture
def child() -> Iterator[tuple[Child, socket.socket, threading.Event]]:
    """A process that is none: its end of the connection, and whether it was ended."""
    ended = threading.Event()
    ours, theirs = socket_pair()
    found = Child(0, ended.set, ours)  # type: ignore[arg-type]
    yield found, theirs, ended
    found.close()
    theirs.close()


def test_a_block_that_ends_with_its_clock_is_late(child: tuple[Child, socket.socket, threading.Event]) -> None:
    """Even if it has its answer: the process is gone, and must not be asked again."""
    process, _, ended = child
    with pytest.raises(TimeoutError), process.limited(0.01):
        assert ended.wait(10)


def test_a_block_that_waits_is_woken_by_its_clock(child: tuple[Child, socket.socket, threading.Event]) -> None:
    process, _, ended = child
    with pytest.raises(TimeoutError), process.limited(0.01):
        if not process.stdout.read(1):
            raise EOFError
    assert ended.wait(10)


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_a_block_in_time(child: tuple[Child, socket.socket, threading.Event], seconds: float | None) -> None:
    process, theirs, ended = child
    theirs.sendall(b"x")
    with process.limited(seconds):
        assert process.stdout.read(1) == b"x"
    theirs.close()
    with pytest.raises(EOFError), process.limited(seconds):
        process.stdin.write(b"x")
        process.stdin.flush()
    assert not ended.is_set()


def test_only_one_place_starts_python() -> None:
    """And the engine's process, which is isolated by an option of Python itself."""
    starts = {
        path.relative_to(PROJECT).as_posix()
        for path in (PROJECT / "aicli").rglob("*.py")
        if "sys.executable" in path.read_text()
    }
    assert starts == {"aicli/_child.py", "aicli/nn/isolation/process.py"}
    assert '[sys.executable, "-I", "-S", ' in (PROJECT / "aicli/nn/isolation/process.py").read_text()


LIMITS = """
import resource, aicli._child as child
child.limit({"RLIMIT_CORE": 0, "RLIMIT_NOFILE": 50})
child.limit({"RLIMIT_NOFILE": 80, "RLIMIT_STACK": 1 << 62})
child.limit_processor(100)
print(resource.getrlimit(resource.RLIMIT_CORE), resource.getrlimit(resource.RLIMIT_NOFILE))
print(100 <= resource.getrlimit(resource.RLIMIT_CPU)[0] <= 103)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limits")
def test_limits_are_lowered_and_never_raised() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITS], check=True, capture_output=True, text=True, cwd=PROJECT)
    assert done.stdout.splitlines() == ["(0, 0) (50, 50)", "True"]


def test_a_system_without_limits_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)
    limit({"RLIMIT_CORE": 0})
    limit_processor(1)
