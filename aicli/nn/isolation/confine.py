"""What a process gives up before it sees a stranger's model: files, network, other processes, privileges, memory.

Linux does all of it: no new privileges, Landlock without a single rule (kernel 5.13) and a seccomp filter that knows
the few calls that arithmetic needs (x86-64 and AArch64). Elsewhere the limits of POSIX are all there is. The kernel is
called through ctypes: two structures and three calls.

Sources: ``Documentation/userspace-api/landlock.rst`` and ``seccomp_filter.rst`` of Linux.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
import sys
from collections.abc import Sequence

from aicli._child import limit

__all__ = ["confine", "filter_program"]

NO_NEW_PRIVS, SET_DUMPABLE, SET_SECCOMP, FILTER_MODE = 38, 4, 22, 2
SECCOMP, SET_FILTER, FOR_ALL_THREADS = (317, 277), 1, 1
LANDLOCK_CREATE, LANDLOCK_RULE, LANDLOCK_RESTRICT, LANDLOCK_VERSION = 444, 445, 446, 1
BENEATH, READ_FILE, READ_FOLDER = 1, 4, 8
OPEN_FILES = 64
THREAD_STACKS = 64 << 20

LOAD, JUMP_EQUAL, JUMP_ANY_BIT, JUMP_AT_LEAST, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
NOT_PERMITTED, NO_SUCH_CALL = 1, 38
CLONE_THREAD, PROT_EXEC, F_DUPFD_CLOEXEC, AT_EMPTY_PATH = 0x10000, 4, 1030, 0x1000
NOT_FOR_READING = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC
FIRST_X32_CALL = 0x40000000

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""The place of each machine's numbers below, and its ``AUDIT_ARCH``."""
CALLS = {
    "brk": (12, 214), "clock_getres": (229, 114), "clock_gettime": (228, 113), "clock_nanosleep": (230, 115),
    "close": (3, 57), "exit": (60, 93), "exit_group": (231, 94), "fstat": (5, 80), "futex": (202, 98),
    "getcpu": (309, 168), "getpid": (39, 172), "getrandom": (318, 278), "getrusage": (98, 165), "gettid": (186, 178),
    "gettimeofday": (96, 169), "lseek": (8, 62), "madvise": (28, 233), "mremap": (25, 216), "munmap": (11, 215),
    "nanosleep": (35, 101), "poll": (7, None), "ppoll": (271, 73), "pread64": (17, 67), "read": (0, 63),
    "recvfrom": (45, 207), "recvmsg": (47, 212), "restart_syscall": (219, 128), "rseq": (334, 293),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sched_getaffinity": (204, 123),
    "sched_yield": (24, 124), "sendmsg": (46, 211), "sendto": (44, 206), "set_robust_list": (273, 99),
    "sigaltstack": (131, 132), "sysinfo": (99, 179), "write": (1, 64),
}  # fmt: skip
"""What is allowed: reading and writing what is open, memory, threads' locks, signals' bookkeeping, clocks, the end."""
CONDITIONAL = {
    "mmap": (9, 222), "mprotect": (10, 226), "clone": (56, 220), "clone3": (435, 435), "fcntl": (72, 25),
    "newfstatat": (262, 79), "prlimit64": (302, 261), "tgkill": (234, 131),
}  # fmt: skip
READING = {
    "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439), "getcwd": (79, 17), "getdents64": (217, 61),
    "lstat": (6, None), "newfstatat": (262, 79), "readlink": (89, None), "readlinkat": (267, 78), "stat": (4, None),
    "statx": (332, 291), "uname": (63, 160),
}  # fmt: skip
"""What is allowed besides where files may be read: of which folders is Landlock's business."""
OPENING = {"open": (2, None, 1), "openat": (257, 56, 2)}
"""And these for reading alone; last the place of the flags."""


def confine(memory: int, readable: Sequence[str] = ()) -> list[str]:
    """Gives up what arithmetic does not need, with ``memory`` bytes more than there are now; the layers that hold.

    Files that are ``readable``, or in such a folder, can still be read.
    """
    layers = ["limits"] if limit_resources(memory) else []
    if not sys.platform.startswith("linux"):
        return layers
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    libc.prctl(SET_DUMPABLE, 0, 0, 0, 0)
    if libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        layers.append("no new privileges")
        layers += ["landlock"] if restrict_paths(libc, readable) else []
        layers += ["seccomp"] if restrict_calls(libc, reading=bool(readable)) else []
    return layers


def limit_resources(memory: int) -> bool:
    held = 0
    with contextlib.suppress(OSError, ValueError), open("/proc/self/statm", "rb") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    values = {"RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0, "RLIMIT_NOFILE": OPEN_FILES}
    limit(values | ({"RLIMIT_AS": held + memory + THREAD_STACKS} if held else {}))
    return bool(held)


def restrict_paths(libc: ctypes.CDLL, readable: Sequence[str]) -> bool:
    """Landlock: no path but what is ``readable``, no TCP, no signals and abstract sockets beyond this process."""
    version = libc.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), LANDLOCK_VERSION)
    if version < 1:
        return False
    rights = {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)  # how many kinds of access this version knows
    rules = struct.pack("<QQQ", (1 << rights) - 1, 3 if version >= 4 else 0, 3 if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    descriptor = libc.syscall(LANDLOCK_CREATE, rules, ctypes.c_size_t(size), 0)
    if descriptor < 0:
        return False
    for path in readable:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", READ_FILE | (READ_FOLDER if os.path.isdir(path) else 0), beneath)
        libc.syscall(LANDLOCK_RULE, descriptor, BENEATH, rule, 0)
        os.close(beneath)
    done: int = libc.syscall(LANDLOCK_RESTRICT, descriptor, 0)
    os.close(descriptor)
    return done == 0


def restrict_calls(libc: ctypes.CDLL, *, reading: bool) -> bool:
    """seccomp: what is not in the tables fails with EPERM."""
    program = filter_program(os.uname().machine, os.getpid(), reading=reading)
    if program is None:
        return False
    code = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    holder = ctypes.create_string_buffer(header, len(header))
    place = ctypes.c_void_p(ctypes.addressof(holder))
    call = SECCOMP[ARCHITECTURES[os.uname().machine][0]]
    if libc.syscall(call, SET_FILTER, FOR_ALL_THREADS, place) == 0:
        return True
    return bool(libc.prctl(SET_SECCOMP, FILTER_MODE, ctypes.addressof(holder), 0, 0) == 0)


def filter_program(machine: str, process: int, *, reading: bool = False) -> bytes | None:
    """The filter in the kernel's packet language; ``None`` for a machine whose call numbers are not known here.

    With ``reading`` files may be opened for that.
    """
    if machine not in ARCHITECTURES or struct.calcsize("P") != 8:
        return None
    column, audited = ARCHITECTURES[machine]
    code = [
        (LOAD, 0, 0, 4),
        (JUMP_EQUAL, 1, 0, audited),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, 0),
    ]
    if machine == "x86_64":
        code += [(JUMP_AT_LEAST, 0, 1, FIRST_X32_CALL), (RETURN, 0, 0, KILL)]
    for numbers in (*CALLS.values(), *(READING.values() if reading else ())):
        number = numbers[column]
        if number is not None:
            code += [(JUMP_EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]
    conditions = {
        "mmap": [(2, JUMP_ANY_BIT, PROT_EXEC, False)],
        "mprotect": [(2, JUMP_ANY_BIT, PROT_EXEC, False)],
        "clone": [(0, JUMP_ANY_BIT, CLONE_THREAD, True)],
        "fcntl": [(1, JUMP_EQUAL, F_DUPFD_CLOEXEC, True)],
        "newfstatat": [(3, JUMP_EQUAL, AT_EMPTY_PATH, True)],
        "tgkill": [(0, JUMP_EQUAL, process, True)],
        "prlimit64": [(0, JUMP_EQUAL, 0, True), (1, JUMP_EQUAL, resource.RLIMIT_CPU, True)],
    }
    for number, place in ((numbers[column], numbers[2]) for numbers in OPENING.values() if reading):
        block = conditional([(place or 0, JUMP_ANY_BIT, NOT_FOR_READING, False)])
        code += [(JUMP_EQUAL, 0, len(block), number), *block] if number is not None else []
    for name, tests in conditions.items():
        block = conditional(tests)
        code += [(JUMP_EQUAL, 0, len(block), CONDITIONAL[name][column]), *block]
    # The flags of clone3 lie in memory, where no filter sees them; libraries then use clone.
    code += [(JUMP_EQUAL, 0, 1, CONDITIONAL["clone3"][column]), (RETURN, 0, 0, ERRNO | NO_SUCH_CALL)]
    code.append((RETURN, 0, 0, ERRNO | NOT_PERMITTED))
    return b"".join(struct.pack("<HBBI", *line) for line in code)


def conditional(tests: list[tuple[int, int, int, bool]]) -> list[tuple[int, int, int, int]]:
    """Allows a call when all tests hold: (number of the argument, kind of jump, value, whether it shall match)."""
    block = []
    for place, (argument, jump, value, wanted) in enumerate(tests):
        to_refusal = 2 * (len(tests) - place - 1) + 1
        block.append((LOAD, 0, 0, 16 + 8 * argument))
        block.append((jump, 0, to_refusal, value) if wanted else (jump, to_refusal, 0, value))
    return [*block, (RETURN, 0, 0, ALLOW), (RETURN, 0, 0, ERRNO | NOT_PERMITTED)]
