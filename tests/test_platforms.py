"""Windows and macOS, pretended: Python is told that it runs there and lacks what it lacks there.

This shows that the code asks before it takes what only Linux has. It does not show that aicli runs on those systems.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import EXAMPLES, PROJECT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="pretends another platform on Linux"),
]

# What is imported first belongs to Linux, as it really runs there: the standard library and the packages that choose
# their native part by the platform.
FIRST = """
import asyncio, concurrent.futures, ctypes.util, multiprocessing.connection, os, platform, select, shutil, signal
import socket, ssl, subprocess, sys, tempfile, threading, types, urllib.request, uuid
import ai_edge_litert.interpreter, click, numpy, PIL.Image, rich.console, wasmtime

def without(module, names):
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

without(os, "memfd_create pidfd_open sched_getaffinity")
without(select, "epoll")
"""
MACOS = (
    FIRST
    + """
sys.platform = "darwin"
without(os, "fork forkpty register_at_fork")  # its own libraries do not survive it
"""
)
WINDOWS = (
    FIRST
    + """
sys.platform = "win32"
for name in ("fcntl", "grp", "pty", "pwd", "readline", "resource", "termios", "tty"):
    sys.modules[name] = None  # importing it fails
sys.modules["msvcrt"] = types.ModuleType("msvcrt")
sys.modules["msvcrt"].LK_NBLCK, sys.modules["msvcrt"].locking = 2, lambda *_: None
without(os, "O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_NONBLOCK fchmod fork forkpty getegid geteuid getgid getpgid getuid"
            " killpg mkfifo posix_spawn register_at_fork setsid uname waitid")
without(select, "poll")
without(signal, "SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGUSR1 alarm pthread_kill pthread_sigmask setitimer")
without(socket, "AF_UNIX recv_fds send_fds")
begin = subprocess.Popen.__init__

def popen(self, *arguments, pass_fds=(), preexec_fn=None, **options):
    assert not pass_fds and preexec_fn is None, "not supported on Windows"
    begin(self, *arguments, **options)

subprocess.Popen.__init__ = popen
subprocess.Popen.kill = lambda process: process.poll() is None and os.kill(process.pid, 9)
"""
)
PLATFORMS = {"macos": MACOS, "windows": WINDOWS}
IMPORTS = """
import importlib, pkgutil, sys, aicli
sys.modules["ray"] = None  # it looks at the platform too, and cannot be told another one
for found in pkgutil.walk_packages(aicli.__path__, "aicli."):
    if not found.name.startswith(("aicli.wasm.wasmer", "aicli.nn.dialects.tensorflow")):
        try:
            importlib.import_module(found.name)
        except ImportError as error:
            if (error.name or "aicli").partition(".")[0] in {"aicli", *sys.argv[1:]}:
                print(found.name, error.name or error)
"""


class Pretended:
    def __init__(self, name: str, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(PLATFORMS[name], encoding="utf-8")
        self.name = name
        self.environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (folder, PROJECT)))}
        self.environment |= {"HOME": str(folder), "AICLI_CACHE_DIR": str(folder / "cache")}

    def python(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            command, env=self.environment, cwd=PROJECT, capture_output=True, text=True, timeout=300, check=False
        )
        assert "Error in sitecustomize" not in done.stderr, done.stderr
        return done

    def aicli(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "aicli", *arguments)


@pytest.fixture(params=PLATFORMS)
def pretended(request: pytest.FixtureRequest, tmp_path: Path) -> Pretended:
    return Pretended(request.param, tmp_path)


def test_modules_can_be_imported(pretended: Pretended) -> None:
    """All of them, but for those of confined processes and the service where there is neither; extras may be absent."""
    done = pretended.python("-c", IMPORTS, "fcntl", "resource", "pwd", "termios")
    assert (done.returncode, done.stderr) == (0, "")
    absent = [line.split()[0] for line in done.stdout.splitlines()]
    if pretended.name == "windows":
        absent = [name for name in absent if not name.startswith("aicli.serve.")]
        children = ["aicli.nn.dialects.graphs_child", "aicli.nn.isolation.child"]
        assert absent == [*children, "aicli.nn.isolation.confine"]
    else:
        assert absent == []


def test_photos_are_answered_here_and_by_workers(pretended: Pretended, tmp_path: Path) -> None:
    wanted = ["Egyptian cat\t0.3843", "military uniform\t0.3941"]
    photos = [EXAMPLES / "chelsea.png", EXAMPLES / "grace_hopper.jpg"]
    for jobs in (1, 2):
        done = pretended.aicli("classify", "-j", jobs, *photos)
        assert (done.returncode, done.stderr) == (0, "")
        assert [line.partition("\t")[2] for line in done.stdout.splitlines()] == wanted
    boxed = tmp_path / "boxed.png"
    done = pretended.aicli("detect-faces", EXAMPLES / "astronaut.png", "-o", boxed)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.partition("\t")[2] == "179.3\t60.3\t268.4\t174.8\t0.9999\n"
    assert boxed.read_bytes().startswith(b"\x89PNG")


def test_a_guest_of_ones_own_has_its_process(pretended: Pretended) -> None:
    guest = PROJECT / "aicli" / "_bundled" / "aicli_guest.wasm"
    done = pretended.aicli("classify", "--guest", guest, EXAMPLES / "chelsea.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Egyptian cat\t0.3843\n")


def test_a_model_apart_is_answered_or_refused_in_one_line(pretended: Pretended) -> None:
    model, labels = PROJECT / "models" / "dog_breeds.tflite", PROJECT / "labels" / "dog_breeds.txt"
    options = ("--isolate", "-m", model, "-l", labels, "--input-range", "-1,1")
    done = pretended.aicli("classify", *options, EXAMPLES / "chelsea.png")
    if pretended.name == "windows":
        assert (done.returncode, done.stdout) == (2, "")
        assert (
            done.stderr
            == "aicli: a model that nobody vouches for needs a process of its own, which this system lacks\n"
        )
    else:
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"{EXAMPLES / 'chelsea.png'}\t")


def test_the_installation_is_found_to_be_whole(pretended: Pretended) -> None:
    done = pretended.aicli("doctor")
    assert done.stderr == ""
    assert [line for line in done.stdout.splitlines() if line.startswith("bad") and "name:" not in line] == []
    assert "ok    wasmtime with litert: classify and detect-faces work" in done.stdout


def test_the_service_is_refused_in_one_line_where_it_cannot_be(tmp_path: Path) -> None:
    done = Pretended("windows", tmp_path).aicli("serve", "--port", 0)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "aicli: aicli serve needs Linux or macOS: its workers are held by limits that Windows lacks\n"


def test_folders_are_the_platforms_own(pretended: Pretended, tmp_path: Path) -> None:
    code = "from aicli._files import platform_folder; print(platform_folder('cache'), platform_folder('data'), sep='|')"
    del pretended.environment["AICLI_CACHE_DIR"]
    found = pretended.python("-c", code).stdout.strip().split("|")
    places = {
        "macos": ["Library/Caches/aicli", "Library/Application Support/aicli"],
        "windows": ["AppData/Local/aicli/cache", "AppData/Local/aicli"],
    }
    assert found == [str(tmp_path / place) for place in places[pretended.name]]
