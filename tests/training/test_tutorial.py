"""Every block of docs/train.md, run as it stands there and in its order, as one session."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.serve.conftest import free_port
from tests.training.conftest import PROJECT, make_photos

PAGE = (PROJECT / "docs" / "train.md").read_text(encoding="utf-8")
BLOCKS = [
    (kind, textwrap.dedent(text))
    for kind, text in re.findall(r"^ *```(\w+)\n(.*?)^ *```$", PAGE, re.MULTILINE | re.DOTALL)
]


def session(port: int) -> str:
    """The shell's blocks as one script, each after a line with its number."""
    lines = ["set -e", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    for number, (kind, text) in enumerate(BLOCKS):
        if kind == "sh" and not text.startswith("pip "):
            lines += [f"echo; echo '== {number}'", text.replace("8080", str(port))]
    return "\n".join(lines).replace("aicli serve --train", f"aicli serve --train --port {port} --workers 1")


@pytest.mark.slow
def test_every_block_works(tmp_path: Path, own_cache: Path) -> None:
    if os.name == "nt" or not (shutil.which("bash") and shutil.which("curl") and shutil.which("openssl")):
        pytest.skip("needs bash, curl and openssl")
    for package in ("starlette", "httptools", "python_multipart"):
        pytest.importorskip(package)
    assert {kind for kind, _ in BLOCKS} == {"sh", "python"} and len(BLOCKS) >= 9
    desk, tools = tmp_path / "desk", tmp_path / "bin"
    tools.mkdir()
    for name, command in (("aicli", f'"{sys.executable}" -m aicli'), ("python3", f'"{sys.executable}"')):
        (tools / name).write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        (tools / name).chmod(0o755)
    make_photos(desk / "photos", 5)
    make_photos(desk / "test-photos", 1, first=8)
    make_photos(tmp_path / "more", 1, first=6)
    (desk / "unsorted").mkdir()
    for photo in (tmp_path / "more").rglob("*.png"):
        shutil.copy(photo, desk / "unsorted" / f"{photo.parent.name}-new.png")
    shutil.copy(tmp_path / "more" / "cat" / "6.png", desk / "new.jpg")
    environment = {**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(PROJECT)}
    environment |= {"AICLI_MODELS_DIR": str(tmp_path / "models"), "HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    shell = ["bash", "-c", session(free_port())]
    done = subprocess.run(shell, cwd=desk, env=environment, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    answers = done.stdout.split("\n== ")[1:]
    assert "3 classes from 15 photos" in answers[0] and re.search(r"^cat +\d", answers[0], re.MULTILINE)
    assert "accuracy 100.0%" in answers[1] and (desk / "test.md").is_file() and (desk / "birds.html").is_file()
    assert "3 classes from 18 photos" in answers[2] and (desk / "all" / "cat" / "cat-new.png").exists()
    assert answers[4].count('"label":"cat"') == answers[5].count('"label":"cat"') == 1
    assert re.search(r"^.*new\.jpg.*cat", answers[6], re.MULTILINE | re.DOTALL)
    for kind, text in BLOCKS:
        if kind == "python":
            subprocess.run([sys.executable, "-c", text], cwd=desk, env=environment, timeout=300, check=True)


def test_the_extra_that_the_page_names_exists() -> None:
    text = (PROJECT / "pyproject.toml").read_text()
    extras = [name for names in re.findall(r"pip install '\.\[([\w,]+)\]'", PAGE) for name in names.split(",")]
    assert extras and all(re.search(rf"^{name} = \[", text, re.MULTILINE) for name in extras)
