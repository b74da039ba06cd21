"""WASI: streams, grants, limits, and guests that try to get out."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aicli.wasm import installed_runtimes

pytestmark = pytest.mark.skipif(os.name != "posix", reason="symbolic links and signals as POSIX has them")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder to grant, beside secrets that links and paths point to."""
    (tmp_path / "outside.txt").write_text("secret")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "inside.txt").write_text("mine")
    for name, target in {
        "link_abs": "/etc/passwd",
        "link_rel": "../outside.txt",
        "link_dir": "/etc",
        "link_out": "../outside",
        "link_in": "sub/../inside.txt",
        "sub/up": "../../outside",
        "loop": "loop",
    }.items():
        (inside / name).symlink_to(target)
    return inside


def test_streams_arguments_variables_and_clock(build, aicli_run) -> None:
    done = aicli_run(build("wasi"), "--env", "A=1", "--env", "B=x=y", "show", "--", "--flag", "ü", text="hello")
    assert done.stdout == '["--flag", "ü"] [("A", "1"), ("B", "x=y")] "hello"\n'
    assert (done.stderr, done.returncode) == ("to stderr\n", 0)


@pytest.mark.parametrize("code", [0, 1, 3, 200, 255])
def test_the_exit_code_is_the_guests(build, aicli_run, code: int) -> None:
    assert aicli_run(build("wasi"), "exit", code).returncode == code


def test_a_failing_code_never_becomes_success(build, aicli_run) -> None:
    assert aicli_run(build("wasi"), "exit", 256).returncode == 1


def test_a_panic_shows_its_own_message_and_a_short_reason(build, aicli_run) -> None:
    done = aicli_run(build("wasi"), "panic", "my own words")
    assert done.returncode == 1
    assert "my own words" in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("aicli: ") and "trapped" in last and "unreachable" in last


def test_reading_below_a_granted_folder(build, aicli_run, tree: Path) -> None:
    paths = ("/data/inside.txt", "/data/link_in", "/data/sub/../inside.txt", "/data/./sub/..//inside.txt")
    done = aicli_run(build("wasi"), "--dir", f"{tree}:/data", "read", *paths)
    assert done.stdout == "".join(f"{path}: ok mine\n" for path in paths)
    assert aicli_run(build("wasi"), "--dir", f"{tree}:.", "read", "inside.txt").stdout == "inside.txt: ok mine\n"
    listed = aicli_run(build("wasi"), "--dir", f"{tree}:/data", "list", "/data").stdout
    assert listed.strip() == str(sorted(os.listdir(tree))).replace("'", '"')


def test_no_folder_is_there_unless_granted(build, aicli_run, tree: Path) -> None:
    done = aicli_run(build("wasi"), "read", tree / "inside.txt", "/etc/passwd")
    assert done.returncode == 0 and "ok" not in done.stdout


def test_no_way_out_of_a_granted_folder(build, aicli_run, tree: Path) -> None:
    done = aicli_run(build("wasi"), "--dir", f"{tree}:/data", "escape", "/data")
    assert done.returncode == 0, done.stderr
    # A second name for a link is a link as confined as the first.
    oks = {line.strip() for line in done.stdout.splitlines() if ": ok" in line}
    assert oks - {"hard: ok"} == {"inside: ok mine"}
    assert (tree.parent / "outside.txt").read_text() == "secret"
    assert sorted(os.listdir(tree.parent / "outside")) == ["secret"]
    assert (tree / "inside.txt").read_text() == "mine"


def test_a_loop_of_links_ends(build, aicli_run, tree: Path) -> None:
    assert "ok" not in aicli_run(build("wasi"), "--dir", f"{tree}:/data", "read", "/data/loop").stdout


def write_tree(folder: Path) -> Path:
    folder.mkdir()
    (folder / "present").write_text("text")
    return folder


def test_writing(build, aicli_run, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "w")
    done = aicli_run(build("wasi"), "--dir", f"{folder}:/w", "write", "/w")
    assert [line.split(":")[1].split() for line in done.stdout.splitlines()] == [["ok"]] * 6 + [["ok", "0"]] + [
        ["ok"]
    ] * 2, done.stdout
    assert sorted(os.listdir(folder)) == ["linked", "new"]
    assert (folder / "new").read_text() == "text"


def test_read_only(build, aicli_run, tmp_path: Path) -> None:
    folder = write_tree(tmp_path / "w")
    done = aicli_run(build("wasi"), "--dir", f"{folder}:/w", "--read-only", "write", "/w")
    assert "ok" not in done.stdout
    assert os.listdir(folder) == ["present"]
    assert (folder / "present").read_text() == "text"
    read = aicli_run(build("wasi"), "--dir", f"{folder}:/w", "--read-only", "read", "/w/present")
    assert read.stdout == "/w/present: ok text\n"


def test_time_limit(build, aicli_run) -> None:
    begin = time.monotonic()
    done = aicli_run(build("wasi"), "--guest-timeout", "0.5", "spin")
    assert time.monotonic() - begin < 20
    assert done.returncode == 1
    assert "0.5 seconds" in done.stderr and len(done.stderr.splitlines()) == 1


def test_memory_limit(build, aicli_run) -> None:
    done = aicli_run(build("wasi"), "--guest-memory", "64M", "grow")
    assert done.returncode == 1
    assert 16 <= int(done.stdout.split()[-1]) < 64
    assert done.stderr.splitlines()[-1].startswith("aicli: ")


@pytest.mark.parametrize("action", ["spin", "wait"])
def test_interrupt(build, action: str) -> None:
    line = [sys.executable, "-m", "aicli", "run", str(build("wasi")), action]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert time.monotonic() - begin < 20
    assert (process.returncode, errors) == (130, "aicli: interrupted\n")


def test_wrong_grants_are_one_line(build, aicli_run, tmp_path: Path) -> None:
    guest = build("wasi")
    for arguments, words in (
        (("--dir", tmp_path / "absent"), "there is no such folder"),
        (("--env", "=x"), "NAME=VALUE"),
        (("--model", "x"), "NAME=FILE"),
        (("--model", f"x={tmp_path / 'absent.tflite'}"), "no such file"),
        (("--invoke", "absent"), "it exports: "),
    ):
        done = aicli_run(guest, *arguments, "show")
        assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
        assert words in done.stderr


def test_a_runtime_without_wasi_is_refused(build, aicli_run) -> None:
    done = aicli_run("--runtime", "wasmer", build("wasi"), "show")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1), done.stderr
    assert "wasmer" in done.stderr
    if "wasmer" in installed_runtimes():
        assert "it has no WASI" in done.stderr and "leave out --runtime" in done.stderr


def test_the_runtime_of_the_other_commands_is_not_asked_for(build, aicli_run) -> None:
    # Whoever wants wasmer for classify and detect-faces need not unset it.
    assert aicli_run(build("wasi"), "exit", 3, AICLI_RUNTIME="wasmer").returncode == 3
