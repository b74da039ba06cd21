"""Checksums of large files are computed once for each state of a file, and never believed from elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from aicli.catalog import digests
from aicli.catalog.digests import LARGE, remembered_digest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="nothing is remembered there")


class Digest:
    """Computes a file's SHA-256 and counts how often."""

    def __init__(self, path: Path) -> None:
        self.path, self.count = path, 0

    def __call__(self) -> str:
        self.count += 1
        return sha256(self.path.read_bytes()).hexdigest()


Ask = Callable[[Path], tuple[str, bool]]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """The digest of a file, and whether it was computed; files need no time to settle."""
    monkeypatch.setenv("AICLI_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("AICLI_NO_CACHE", raising=False)
    monkeypatch.setattr(digests, "SETTLED", -1.0)

    def ask(path: Path) -> tuple[str, bool]:
        compute = Digest(path)
        return remembered_digest(path, compute), bool(compute.count)

    return ask


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(bytes(LARGE))
    return path


def test_it_is_computed_once(ask: Ask, model: Path) -> None:
    right = sha256(bytes(LARGE)).hexdigest()
    assert ask(model) == (right, True)
    assert ask(model) == (right, False)


def test_a_change_that_keeps_size_and_time_is_noticed(ask: Ask, model: Path) -> None:
    before = model.stat()
    ask(model)
    time.sleep(0.05)  # the clock of a file system advances in steps
    with model.open("r+b") as file:
        file.write(b"x")
    os.utime(model, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert model.stat().st_mtime_ns == before.st_mtime_ns
    assert ask(model) == (sha256(model.read_bytes()).hexdigest(), True)


def test_another_file_under_its_name_is_noticed(ask: Ask, model: Path) -> None:
    before = model.stat()
    ask(model)
    other = model.with_name("other")
    other.write_bytes(b"x" * LARGE)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(model)
    assert ask(model) == (sha256(b"x" * LARGE).hexdigest(), True)


def test_a_file_that_may_still_be_written_is_not_remembered(
    ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED", 1e6)
    ask(model)
    assert ask(model)[1]


def test_a_file_that_changes_meanwhile_is_not_remembered(ask: Ask, model: Path) -> None:
    def compute() -> str:
        with model.open("ab") as file:
            file.write(b"x")
        return "0" * 64

    remembered_digest(model, compute)
    assert ask(model) == (sha256(model.read_bytes()).hexdigest(), True)


def test_small_files_are_read(ask: Ask, model: Path) -> None:
    model.write_bytes(bytes(LARGE - 1))
    ask(model)
    assert ask(model)[1]


def test_without_a_cache_they_are_read(ask: Ask, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(model)
    monkeypatch.setenv("AICLI_NO_CACHE", "1")
    assert ask(model)[1]


def test_a_folder_that_others_can_write_is_not_believed(ask: Ask, model: Path, tmp_path: Path) -> None:
    ask(model)
    (tmp_path / "cache" / "checksums").chmod(0o777)
    assert ask(model)[1]


def test_a_memory_that_was_damaged_is_not_believed(ask: Ask, model: Path, tmp_path: Path) -> None:
    right, _ = ask(model)
    (entry,) = (tmp_path / "cache" / "checksums").glob("*.bin")
    content = entry.read_bytes()
    entry.write_bytes(content[:-64] + b"0" * 64)
    assert ask(model) == (right, True)
