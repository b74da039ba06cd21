"""Running the command line, inside the test or as a process of its own."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from aicli.cli.main import run

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Aicli = Callable[..., Result]


@pytest.fixture
def aicli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Aicli:
    """Runs ``aicli ARGUMENTS`` in this process."""

    def call(*arguments: object, stdin: bytes = b"") -> Result:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        code = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def spawn() -> Callable[..., subprocess.Popen[bytes]]:
    """Starts ``aicli ARGUMENTS`` as a process, its output piped."""

    def start(*arguments: object, **more: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "aicli", *map(str, arguments)]
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": PROJECT}
        return subprocess.Popen(command, **{**pipes, **more})  # type: ignore[call-overload, no-any-return]

    return start


@pytest.fixture
def photos(tmp_path: Path, examples: Path) -> Path:
    """A folder with three photos, a broken one, and a hidden one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(examples / "grace_hopper.jpg", folder / "img10.jpg")
    shutil.copy(examples / "chelsea.png", folder / "img2.png")
    (folder / "deep").mkdir()
    shutil.copy(examples / "astronaut.png", folder / "deep" / "astronaut.png")
    shutil.copy(examples / "chelsea.png", folder / ".hidden.png")
    (folder / "broken.jpg").write_bytes((examples / "grace_hopper.jpg").read_bytes()[:2000])
    return folder
