"""Plants slow-downs of about 10 % in copies of this checkout and runs the guard on each: it must find them all.

    build/counts/bin/python benchmarks/planted.py [NAME ...] [--list]

Run it after a change to the guard itself. Each takes as long as the guard; those that need no valgrind are quick.
Those in the guest need Rust.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
KEPT = ("aicli", "models", "labels", "guest-rust")


class Plant(NamedTuple):
    """A text of a file that is replaced by a slower one; ``found`` is what a line of the guard must begin with."""

    file: str
    text: str
    slower: str
    found: str
    needs_valgrind: bool = False


PLANTS = {
    "guest": Plant(
        "guest-rust/src/classify.rs",
        "        begin(Stage::Other);\n",
        "        begin(Stage::Other);\n"
        "        let wasted = pixels.iter().step_by(8).fold(7u32, |sum, &v| sum.rotate_left(1) ^ u32::from(v));\n"
        "        if wasted == 1 {\n            self.classes.clear();\n        }\n",
        "more:  guest: classify 512 x 600: guest instructions",
    ),
    "allocation": Plant(
        "guest-rust/src/classify.rs",
        "        begin(Stage::Other);\n",
        "        begin(Stage::Other);\n        self.input = self.input.clone();\n",
        "more:  guest: classify 512 x 600: allocations",
    ),
    "host path": Plant(
        "aicli/guest/client.py",
        "        height, width, _ = pixels.shape\n",
        "        height, width, _ = pixels.shape\n        for _ in range(1_200):\n            pass\n",
        "more:  instructions: aicli classify, a later photo: Python",
        needs_valgrind=True,
    ),
    "import": Plant(
        "aicli/cli/main.py",
        "from __future__ import annotations\n",
        "from __future__ import annotations\n\nimport asyncio  # noqa: F401\n",
        "more:  start: aicli classify: modules imported",
    ),
    "copy": Plant(
        "aicli/guest/client.py",
        "= pixels.reshape(-1)\n",
        "= pixels.reshape(-1).copy()\n",
        "more:  instructions: aicli classify, a later photo: copies",
        needs_valgrind=True,
    ),
    "copy out of the guest": Plant(
        "aicli/nn/wasi_nn.py",
        "        view(buffer, needed)[:] = tensor\n",
        "        view(buffer, needed)[:] = tensor\n        bytes(view(buffer, needed))\n",
        "more:  guest: detect-faces 1024 x 600: bytes",
    ),
    "invocation": Plant(
        "aicli/nn/session.py",
        "        context.compute()\n",
        "        context.compute()\n        context.compute()\n",
        "more:  guest: classify 512 x 600: invocations",
    ),
}


def plant(name: str, folder: Path) -> str:
    """Copies the checkout, plants a slow-down and runs the guard; what it prints."""
    item = PLANTS[name]
    for part in KEPT:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("target", "__pycache__"))
    file = folder / item.file
    text = file.read_text()
    if text.count(item.text) != 1:
        raise SystemExit(f"planted: {item.file} has no single place with {item.text.strip()!r}; adapt the plant {name}")
    file.write_text(text.replace(item.text, item.slower))
    if item.file.startswith("guest-rust/"):
        build_guest(folder)
    guard = [sys.executable, str(ROOT / "benchmarks" / "counts.py"), "--checkout", str(folder)]
    guard += [] if item.needs_valgrind else ["--without-valgrind"]
    done = subprocess.run(guard, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 1:
        raise SystemExit(f"planted: the guard did not fail on {name} (exit code {done.returncode})\n{done.stdout}")
    return done.stdout


def build_guest(folder: Path) -> None:
    path = f"/usr/bin{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CARGO_TARGET_DIR": str(folder / "target")}
    target = "wasm32-unknown-unknown"
    build = ["cargo", "build", "--quiet", "--release", "--locked", "--offline", "--target", target]
    subprocess.run(build, cwd=folder / "guest-rust", env=environment, check=True)
    shutil.copy(folder / "target" / target / "release" / "aicli_guest.wasm", folder / "aicli" / "_bundled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which of them; all by default")
    parser.add_argument("--list", action="store_true", help="say what there is")
    options = parser.parse_args()
    if options.list:
        print("\n".join(PLANTS))
        return
    for name in options.names or PLANTS:
        with tempfile.TemporaryDirectory() as folder:
            printed = plant(name, Path(folder))
        line = next((line for line in printed.splitlines() if line.startswith(PLANTS[name].found)), None)
        if line is None:
            raise SystemExit(f"planted: the guard failed on {name}, but not for it:\n{printed}")
        print(f"{name}: {line}", flush=True)


if __name__ == "__main__":
    main()
