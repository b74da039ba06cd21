"""A run on a cluster as one sees it on a terminal, and Ctrl-C there."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from aicli.cluster.record_folder import RecordFolder
from tests.cluster.conftest import PROJECT, command_of, hooked, require_ray, started
from tests.cluster.test_run import many

pytestmark = pytest.mark.slow


def test_ctrl_c(examples: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    require_ray()
    patch = hooked(tmp_path_factory)
    photos, out = many(tmp_path / "photos", examples, 500, "slow"), tmp_path / "labels"
    leader, terminal = pty.openpty()
    command = command_of("classify", photos, "-O", out, "--cluster", "local", "-j", "1")
    run = subprocess.Popen(
        ["setsid", "--ctty", "--wait", *command], stdin=terminal, stdout=terminal, stderr=terminal, cwd=PROJECT
    )
    os.close(terminal)
    try:
        said = read_until(leader, rb"\d+/500  [^\r]*1 actor on 1 node", 300)
        os.write(leader, b"\x03")
        said += read_until(leader, rb"--resume\r\n", 60)
        assert run.wait(60) == 130, said
        said += read_until(leader, None, 10)
        deadline = time.monotonic() + 30
        while left := started():
            assert time.monotonic() < deadline, left
            time.sleep(0.1)
    finally:
        patch.undo()
        run.kill()
        run.wait()
        os.close(leader)
        for number in started():
            os.kill(number, signal.SIGKILL)
    text = said.decode().replace("^C", "")  # the terminal's echo, wherever the line was
    lines = [line for part in text.split("\r\n") for line in re.split(r"\r\x1b\[2K|\r", part) if line]
    assert re.fullmatch(r"\[\.{20}\] 0/500  0\.0/s  starting", lines[0])
    progress = re.compile(r"\[[#.]{20}\] \d+/500  \d+\.\d/s(  [\d:.]+( s)? left)?  (starting|1 actor on 1 node)")
    *shown, last = lines
    assert [line for line in shown if not progress.fullmatch(line)] == []
    assert last == f"aicli: interrupted; the records so far are in {out}, continue with --resume"
    folder = RecordFolder(str(out), "parquet", "classify")
    about = {"all_frames": False, "model": json.loads((out / "_aicli" / "run.json").read_text())["model"]}
    assert folder.begin(about, resume=True, overwrite=False) is not None
    assert not list((out / "_aicli").glob("writer-*"))


def read_until(leader: int, end: bytes | None, seconds: float) -> bytes:
    """What appears on the terminal, until it matches ``end`` or nobody writes any more."""
    said, deadline = b"", time.monotonic() + seconds
    while end is None or not re.search(end, said):
        assert time.monotonic() < deadline, said
        if select.select([leader], [], [], 0.1)[0]:
            try:
                said += os.read(leader, 4096)
            except OSError:  # so Linux says that it has no other end any more
                break
    return said
