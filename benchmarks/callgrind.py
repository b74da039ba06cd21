"""Instructions of the program under valgrind's callgrind, by what they were spent in.

Callgrind writes a profile whenever Pillow's JPEG library begins with another photo, so that a run over three photos
falls into four parts without a change to the program: the start, the first photo, the second, the third and the end.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

PHOTOS = 3
NEXT_PHOTO = "jpeg_read_header"
GROUPS = {
    "libpython": "Python",
    "bin/python": "Python",
    "lib-dynload": "Python",
    "libffi": "Python",
    "wasmtime": "wasmtime",
    "ai_edge_litert": "engine",
    "numpy": "NumPy",
    "PIL": "Pillow",
    "pillow.libs": "Pillow",
    "libcrypto": "SHA-256",
    "???": "guest",
}
"""What a file's path contains, and who that is. Code that was compiled at run time has no file: the guest."""
COPIES = re.compile(r"_*(mem(cpy|move|set)|mempcpy)")
"""Functions of the C library, which copies large blocks with an instruction that counts once for each byte."""


def command(arguments: list[str], out: Path) -> list[str]:
    return [
        "valgrind",
        "--tool=callgrind",
        f"--dump-before={NEXT_PHOTO}",
        f"--callgrind-out-file={out}",
        f"--log-file={out}.log",
        sys.executable,
        *arguments,
    ]


def instructions(arguments: list[str], out: Path, environment: dict[str, str], photos: int) -> list[Counter[str]]:
    """The parts of a run over so many photos: ``photos + 1`` of them. Raises :class:`SystemExit` when it fails."""
    # Not in a checkout: `python -m` takes the package of the current folder before all others.
    done = subprocess.run(
        command(arguments, out), cwd=out.parent, env=environment, capture_output=True, text=True, check=False
    )
    # The last part has no number.
    parts = [*(Path(f"{out}.{number}") for number in range(1, photos + 1)), out]
    if done.returncode or not all(part.exists() for part in parts) or Path(f"{out}.{photos + 1}").exists():
        raise SystemExit(f"counts: a run under callgrind went wrong: {' '.join(arguments)}\n{done.stderr}")
    return [by_group(part) for part in parts]


def by_group(profile: Path) -> Counter[str]:
    """Instructions of a profile by :data:`GROUPS`, ``copies`` and ``other``.

    The format is that of valgrind's manual, "Callgrind Format Specification": a line of numbers is a place and its
    cost, but the one after ``calls=`` has the cost of what was called, which is counted there. Names are numbered when
    first seen.
    """
    files: dict[str, str] = {}
    functions: dict[str, str] = {}
    found: Counter[str] = Counter()
    file = function = ""
    is_call = False
    with profile.open(errors="replace") as lines:
        for line in lines:
            if line[0].isdigit() or line[0] in "+-*":
                words = line.split()
                if not is_call and len(words) > 1:
                    found[group(file, function)] += int(words[1])
                is_call = False
            elif line.startswith(("ob=", "cob=")):
                name = resolve(line, files)
                file = name if line[0] == "o" else file
            elif line.startswith(("fn=", "cfn=")):
                name = resolve(line, functions)
                function = name if line[0] == "f" else function
            elif line.startswith("calls="):
                is_call = True
    return found


def resolve(line: str, names: dict[str, str]) -> str:
    number, _, name = line.split("=", 1)[1].strip().partition(" ")
    return names.setdefault(number, name)


def group(file: str, function: str) -> str:
    if "libc.so" in file and COPIES.match(function):
        return "copies"
    return next((name for part, name in GROUPS.items() if part in file), "other")
