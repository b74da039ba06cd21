"""Files that appear whole or not at all, and locks between processes."""

from __future__ import annotations

import os
import pickle
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aicli import _files
from aicli._files import file_lock, replacing, wait_for_lock, write_file
from aicli.errors import AicliError, WriteError

posix = pytest.mark.skipif(os.name != "posix", reason="permissions and locks of POSIX")


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_broken_block_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.txt"]


@posix
def test_permissions_are_kept_given_or_left_to_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        path = tmp_path / "new" / "a.txt"
        write_file(path, b"1")
        assert permissions(path) == 0o640
        path.chmod(0o604)
        write_file(path, b"22", sync=True)
        assert permissions(path) == 0o604 and path.read_bytes() == b"22"
        write_file(path, b"3", mode=0o644)
        assert permissions(path) == 0o644
        write_file(tmp_path / "private" / "b", b"4", mode=0o600)
        assert permissions(tmp_path / "private") == 0o700 and permissions(tmp_path / "private" / "b") == 0o600
    finally:
        os.umask(before)


@posix
def test_a_link_stays_one_but_not_in_an_open_folder(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_file(link, b"new")
    assert link.is_symlink() and target.read_bytes() == b"new"
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with replacing("link", mode=0o600, dir_fd=folder) as file:
            file.write(b"newest")
    finally:
        os.close(folder)
    assert not link.is_symlink() and link.read_bytes() == b"newest" and target.read_bytes() == b"new"


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"cannot write .*b: No such file or directory; make its folder first"):
        replacing(tmp_path / "a" / "b").__enter__()
    with pytest.raises(WriteError, match="it is a folder") as caught:
        write_file(tmp_path, b"")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again), again.path) == (WriteError, str(caught.value), str(tmp_path))


@posix
def test_a_lock_is_held_until_its_process_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "folder" / "lock"
    code = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from aicli._files import file_lock\n"
        "with file_lock(Path(sys.argv[1])):\n"
        "    print('locked', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(path), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        monkeypatch.setattr(_files, "PATIENCE", 0.1)
        with pytest.raises(AicliError, match="end it and try again"), file_lock(path):
            pass
        other.kill()
    begun = time.monotonic()
    with file_lock(path):
        assert time.monotonic() - begun < 5
    with pytest.raises(TimeoutError), file_lock(path):
        raise TimeoutError  # the block's own, and no word of another process


@posix
def test_bytes_of_one_file_are_locks_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = (
        "import os, sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from aicli._files import wait_for_lock\n"
        "wait_for_lock(os.open(sys.argv[1], os.O_RDWR | os.O_CREAT), 1, 7)\n"
        "print('locked', flush=True)\n"
        "time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(path), str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        with open(path, "r+b") as file:
            assert wait_for_lock(file.fileno(), 0, 8) is False
            with pytest.raises(TimeoutError):
                wait_for_lock(file.fileno(), 0.05, 7)
        other.kill()
