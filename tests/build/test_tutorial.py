"""Every step of docs/guest-tutorial.md, run as it stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from aicli.build.toolchain import toolchains

PROJECT = Path(__file__).parent.parent.parent
TUTORIAL = (PROJECT / "docs" / "guest-tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(sh|rust|python)\n(.*?)^```$", TUTORIAL, re.MULTILINE | re.DOTALL)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photo and with aicli on PATH."""
    if os.name == "nt":
        pytest.skip("needs a POSIX shell")
    if not any(True for _ in toolchains()):
        if os.environ.get("AICLI_REQUIRE_RUST") == "1":
            pytest.fail("AICLI_REQUIRE_RUST=1, but no Rust compiler has the WebAssembly target")
        pytest.skip("needs a Rust compiler with the WebAssembly target")
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "aicli").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m aicli "$@"\n')
    (tools / "aicli").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    desk = tmp_path / "desk"
    desk.mkdir()
    shutil.copy(PROJECT / "examples" / "grace_hopper.jpg", desk / "photo.jpg")
    return desk


def perform(kind: str, text: str, desk: Path) -> str:
    """Does what one block of the page says, and gives what it prints."""
    if kind == "rust":
        path = re.match(r"// (\S+\.rs)\n", text)
        assert path, "a Rust block says in its first line which file it is"
        (desk / path[1]).write_text(text, encoding="utf-8")
        return ""
    command = ["sh", "-e", "-c", text] if kind == "sh" else [sys.executable, "-c", text]
    done = subprocess.run(command, cwd=desk, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_every_step_works(desk: Path) -> None:
    printed = [perform(kind, text, desk) for kind, text in BLOCKS]
    answers = [text for text in printed if "military uniform" in text]
    assert len(answers) >= 3
    assert any("can run      yes" in text for text in printed)
    # The change of step 5 took effect: the same photo, another score.
    assert len(set(answers)) == len(answers)


def test_the_page_has_the_steps() -> None:
    assert [kind for kind, _ in BLOCKS] == ["sh", "sh", "sh", "sh", "rust", "sh", "python"]
