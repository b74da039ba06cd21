"""WASI as ``aicli run`` grants it: a folder to write in, a folder to read, and secrets beside them."""

from __future__ import annotations

import os
import resource
import shutil
import struct
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from aicli.errors import GuestTrap
from aicli.wasm import PAGE, Limits, load_runtime
from aicli.wasm.runtime import WASI_MODULE, ExternType, GuestExit, WasiConfig, WasiFolder
from tests.fuzz.driver import Outcome
from tests.fuzz.guests import PAGES, Watched, forwarder

__all__ = ["WasiCalls"]

CALLS = 60
SECRET = b"secret-4f1c"
LARGEST = 1 << 20
"""Bytes that a file may have: what a guest writes in its folder is its own affair, this machine's disk is ours."""
PATH, SECOND, VECTORS, SUBSCRIPTION, OUT, BUFFER = 1024, 2048, 3072, 4096, 8192, 65536
END = PAGES * PAGE
EDGES = (0, 1, END - 4, END - 1, END, 2**31 - 1, 2**31, 2**32 - 8, 2**32 - 1)
WRITABLE, READABLE = 3, 4
NAMES = (
    "file", "new", "folder", "folder/inner", "folder/deep", ".", "", "..", "../outside", "../outside/secret", "up",
    "up/secret", "link", "absolute", "/etc/passwd", "folder/../../outside/secret", "loop", "file/", "a" * 300, "made",
    "made/secret", "./folder/./inner", "ü", "\0", "folder/../file",
)  # fmt: skip

# What each argument is: d a descriptor, p a path and its length, v vectors and their number, o where an answer goes,
# b a buffer and its size, 1 itself, 4 and 8 any number of so many bytes; the other letters are in Case.make.
ARGUMENTS = {
    "args_get": "oo", "args_sizes_get": "oo", "environ_get": "oo", "environ_sizes_get": "oo", "clock_res_get": "co",
    "clock_time_get": "c8o", "fd_advise": "d8sa", "fd_allocate": "dsS", "fd_close": "d", "fd_datasync": "d",
    "fd_fdstat_get": "do", "fd_fdstat_set_flags": "df", "fd_fdstat_set_rights": "drr", "fd_filestat_get": "do",
    "fd_filestat_set_size": "dS", "fd_filestat_set_times": "d88w", "fd_pread": "dvSo", "fd_prestat_get": "do",
    "fd_prestat_dir_name": "db", "fd_pwrite": "dvSo", "fd_read": "dvo", "fd_readdir": "dbko", "fd_renumber": "dd",
    "fd_seek": "dSao", "fd_sync": "d", "fd_tell": "do", "fd_write": "dvo", "path_create_directory": "dp",
    "path_filestat_get": "dlpo", "path_filestat_set_times": "dlp88w", "path_link": "dlpdp", "path_open": "dlpgrrfo",
    "path_readlink": "dpbo", "path_remove_directory": "dp", "path_rename": "dpdp", "path_symlink": "pdp",
    "path_unlink_file": "dp", "poll_oneoff": "Po1o", "proc_raise": "4", "random_get": "b", "sched_yield": "",
    "sock_accept": "dfo", "sock_recv": "dvaoo", "sock_send": "dvao", "sock_shutdown": "da",
}  # fmt: skip
WEIGHTS = {
    "path_open": 14,
    "fd_read": 4,
    "fd_write": 4,
    "path_symlink": 3,
    "path_link": 3,
    "path_rename": 3,
    "proc_raise": 0.02,
}
REFUSED = {8, 21, 28, 57, 58}
"""Numbers of errors that say that an argument was wrong: badf, fault, inval, notsock, notsup."""


class Tree(NamedTuple):
    """A folder that may be written, one that may only be read, and what lies beside them."""

    writable: Path
    readable: Path
    outside: Path

    def state(self) -> list[tuple[str, int, bytes]]:
        """All that no guest may change."""
        found = []
        for folder in (self.readable, self.outside):
            for path in sorted(folder.rglob("*")):
                info = path.lstat()
                data = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
                found.append((f"{path} {info.st_mode} {info.st_mtime_ns}", info.st_nlink, data))
        return found


def grow(folder: Path) -> None:
    (folder / "folder").mkdir(parents=True)
    (folder / "file").write_bytes(b"text")
    (folder / "secret").write_bytes(SECRET if folder.name == "outside" else b"")
    (folder / "folder" / "inner").write_bytes(b"inner")
    outside = folder.with_name("outside")
    for name, target in {"up": "../outside", "link": "folder/inner", "absolute": str(outside), "loop": "loop"}.items():
        (folder / name).symlink_to(target)


class WasiCalls:
    """A guest with sixty calls of WASI preview 1, in wasmtime."""

    name = "wasi"

    def prepare(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST, LARGEST))
        runtime = load_runtime("wasmtime")
        types = runtime.wasi_types(ARGUMENTS)
        assert set(types) - {"proc_exit"} == set(ARGUMENTS)
        functions = [
            ExternType(WASI_MODULE, name, "func", types[name].params, types[name].results) for name in ARGUMENTS
        ]
        self._module = forwarder(tuple(functions), "wasmtime")
        self._folder = tempfile.TemporaryDirectory()
        self._tree = Tree(*(Path(self._folder.name, name) for name in Tree._fields))
        for folder in self._tree:
            grow(folder)

    def run(self, random: Random) -> Outcome:
        tree = self._tree
        shutil.rmtree(tree.writable)
        grow(tree.writable)
        before = tree.state()
        outcome = Case(random, self._module, tree).run()
        assert tree.state() == before, "something outside of what was granted has changed"
        assert sorted(os.listdir(self._folder.name)) == sorted(Tree._fields)
        return outcome


class Case:
    def __init__(self, random: Random, module: object, tree: Tree) -> None:
        self.random = random
        folders = (WasiFolder(tree.writable, "/w"), WasiFolder(tree.readable, "/r", True))
        config = WasiConfig(("guest", "argument"), {"NAME": "value"}, folders)
        self.limits = Limits(END, 2.0)
        self.instance = module.instantiate({}, self.limits, config)  # type: ignore[attr-defined]
        self.memory = Watched(self.instance)
        self.descriptors = [WRITABLE, READABLE]
        self.outcome = Outcome()

    def run(self) -> Outcome:
        names, weights = list(ARGUMENTS), [WEIGHTS.get(name, 1) for name in ARGUMENTS]
        for name in self.random.choices(names, weights, k=CALLS):
            if not self.call(name):
                break
        assert SECRET not in self.memory.whole().tobytes() and b"root:x:" not in self.memory.whole().tobytes()
        return self.outcome

    def call(self, name: str) -> bool:
        """Calls one function; whether the guest goes on, which it does not after a trap."""
        places = iter((PATH, SECOND))
        kinds = ARGUMENTS[name]
        if name.startswith("path_"):
            kinds = kinds.replace("d", "D")
        numbers = [n for kind in kinds for n in self.make(kind, places)]
        if name in ("fd_close", "fd_renumber") and numbers[0] in (WRITABLE, READABLE) and self.random.random() < 0.9:
            return True  # little would be left to try
        if name in ("fd_read", "fd_pread", "sock_recv") and numbers[0] in (0, 1, 2):
            numbers[0] = WRITABLE  # a terminal would wait for somebody
        begin = time.monotonic()
        try:
            errno = self.instance.call(f"{WASI_MODULE}.{name}", *numbers)
        except GuestExit as end:
            self.outcome.note(name, "exit", False, str(end.code))
            return False
        except GuestTrap as trap:
            reason = str(trap)
            assert reason.isprintable() and "backtrace" not in reason, reason
            self.outcome.note(name, "trap", False, reason)
            return False
        assert time.monotonic() - begin < 5
        assert errno is not None and 0 <= errno < 77, (name, numbers, errno)
        self.outcome.note(name, errno, errno not in REFUSED)
        if errno == 0 and name == "path_open":
            opened = int.from_bytes(self.memory.get(numbers[-1], 4), "little")
            self.descriptors.append(opened)
        if errno == 0 and name in ("fd_close", "fd_renumber") and numbers[0] in self.descriptors:
            self.descriptors.remove(numbers[0])
        return True

    def make(self, kind: str, places: object) -> list[int]:
        """The numbers of one argument, mostly good ones."""
        random, memory = self.random, self.memory
        if kind == "D" and random.random() < 0.85:
            return [random.choice([WRITABLE, WRITABLE, READABLE])]
        if kind in "dD":
            if random.random() < 0.9 and self.descriptors:
                return [random.choice(self.descriptors)]
            return [random.choice([0, 1, 2, 5, 6, 99, 2**31, 2**32 - 1])]
        if kind == "p":
            name = random.choice(NAMES).encode()
            if random.random() < 0.01:
                name = random.randbytes(random.randrange(40))
            place = memory.put(next(places), name)  # type: ignore[call-overload]
            return [self.odd(place), self.odd(len(name))]
        if kind == "v":
            count = random.randrange(4)
            sizes = [random.choice([0, 1, 7, 4096, 65536]) for _ in range(count)]
            pairs = [(self.odd(BUFFER), self.odd(size)) for size in sizes]
            return [self.odd(memory.put(VECTORS, b"".join(struct.pack("<II", *pair) for pair in pairs))), count]
        if kind == "P":
            return [memory.put(SUBSCRIPTION, self.subscription())]
        simple: dict[str, Callable[[], int]] = {
            "o": lambda: self.odd(random.choice([OUT, OUT + 64, OUT + 4096])),
            "c": lambda: self.odd(random.randrange(4)),
            "1": lambda: 1,
            "4": lambda: random.getrandbits(32),
            "8": lambda: random.choice([0, 1, 10**9, random.getrandbits(64)]),
            "s": lambda: random.randrange(5000),
            "S": lambda: random.choice([0, 1, 5, 100, 5000, 2**40, 2**63, 2**64 - 1]),
            "k": lambda: random.choice([0, 0, 1, 2, 5, 2**63, 2**64 - 1]),
            "a": lambda: self.odd(random.randrange(3)),
            "f": lambda: self.odd(random.choice([0, 0, 0, 1, 4, 31])),
            "g": lambda: self.odd(random.choice([0, 0, 0, 1, 1, 2, 3, 4, 5, 8, 9, 15])),
            "l": lambda: self.odd(random.choice([0, 1, 1])),
            "w": lambda: self.odd(random.choice([0, 1, 2, 3, 5, 10, 15])),
            "r": lambda: random.choice([2, 64, 66, 2 | 1 << 14, 2**28 - 1, 2**28 - 1, 0]),
        }
        if kind == "b":
            return [self.odd(BUFFER), self.odd(random.choice([0, 1, 24, 100, 4096, 65536]))]
        return [simple[kind]()]

    def subscription(self) -> bytes:
        """A clock that rings soon, or a descriptor."""
        random = self.random
        if random.random() < 0.6:
            clock, flags = self.odd(random.randrange(2)), random.choice([0, 0, 1])
            nanoseconds = random.choice([0, 1, 1000, 100_000])
            return struct.pack("<QB7xI4xQQH6x", random.getrandbits(64), 0, clock, nanoseconds, 0, flags)
        kind, descriptor = random.choice([1, 2, 2]), random.choice([1, 2, *self.descriptors])
        return struct.pack("<QB7xI28x", random.getrandbits(64), kind, descriptor)

    def odd(self, value: int) -> int:
        return self.random.choice(EDGES) if self.random.random() < 0.003 else value
