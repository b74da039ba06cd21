"""Finding a cargo whose compiler has the standard library for WebAssembly."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aicli.errors import UnavailableError

__all__ = ["TARGET", "Toolchain", "find_toolchain", "made_by", "toolchains"]

TARGET = "wasm32-unknown-unknown"
EXE = ".exe" if sys.platform == "win32" else ""
SYSTEM_FOLDERS = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin", "/opt/homebrew/opt/rustup/bin")


@dataclass(frozen=True)
class Toolchain:
    """A cargo and its compiler: where they are, ``rustc --version``'s words, and where they were found."""

    cargo: Path
    rustc: Path
    version: str
    origin: str
    commit: str = ""

    def describe(self) -> str:
        return f"{self.version}, {self.cargo} ({self.origin})"

    def environment(self) -> dict[str, str]:
        """The environment to compile in: this compiler, and no flags but the crate's own."""
        changing = re.compile(r"(CARGO_(?!HOME$|HTTP_|NET_|REGISTR)|RUST(C|FLAGS|DOC)|RUSTUP_TOOLCHAIN)")
        kept = {name: value for name, value in os.environ.items() if not changing.match(name)}
        kept["RUSTC"] = str(self.rustc)
        kept["PATH"] = os.pathsep.join([str(self.cargo.parent), kept.get("PATH", "")])
        return kept

    def made(self, wasm: bytes) -> bool:
        """Whether a module holds the traces that this compiler's standard library leaves."""
        maker = made_by(wasm)
        return maker is not None and (maker == self.commit or maker == self.version.split()[1])


def made_by(wasm: bytes) -> str | None:
    """The rustc release (``1.63.0``) or commit whose source paths a module's panic messages name, if any."""
    found = re.search(rb"/rustc-(\d+\.\d+\.\d+)[^/]*/library|/rustc/([0-9a-f]{40})/library", wasm)
    return (found[1] or found[2]).decode() if found else None


def toolchains(environment: Mapping[str, str] | None = None) -> Iterator[Toolchain]:
    """Every toolchain that can compile a guest: PATH's, rustup's, the system's."""
    environment = os.environ if environment is None else environment
    seen = set()
    for folder, origin in candidates(environment):
        cargo, rustc = folder / f"cargo{EXE}", folder / f"rustc{EXE}"
        if not cargo.is_file() or not rustc.is_file():
            continue
        found = ask(cargo, rustc, origin)
        if found is not None and (found.version, sysroot(rustc)) not in seen:
            seen.add((found.version, sysroot(rustc)))
            yield found


def candidates(environment: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    first = shutil.which("cargo", path=environment.get("PATH"))
    if first is not None:
        yield Path(first).parent, "on PATH"
    home = environment.get("RUSTUP_HOME") or str(Path(environment.get("HOME") or Path.home()) / ".rustup")
    rustup = Path(home, "toolchains")
    folders = rustup.iterdir() if rustup.is_dir() else ()
    for folder in sorted(folders, key=lambda path: ("stable" not in path.name, path.name)):
        yield folder / "bin", f"rustup's {folder.name}"
    for name in SYSTEM_FOLDERS:
        yield Path(name), "the system's"


def ask(cargo: Path, rustc: Path, origin: str) -> Toolchain | None:
    """This toolchain, if it works and has the target."""
    root = sysroot(rustc)
    if root is None or not (root / "lib" / "rustlib" / TARGET / "lib").is_dir():
        return None
    verbose = output([str(rustc), "-vV"])
    if not verbose or output([str(cargo), "--version"]) is None:
        return None
    commit = re.search(r"commit-hash: ([0-9a-f]{40})", verbose)
    return Toolchain(cargo, rustc, verbose.splitlines()[0], origin, commit[1] if commit else "")


def sysroot(rustc: Path) -> Path | None:
    text = output([str(rustc), "--print", "sysroot"])
    return Path(text.strip()) if text else None


def output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None


def find_toolchain(maker_of: bytes | None = None) -> Toolchain:
    """The first toolchain, or the one that made the module ``maker_of`` where it is here too.

    Raises :class:`UnavailableError` that says what to install.
    """
    found = list(toolchains())
    if not found:
        raise UnavailableError(f"{missing()}; {advice()}")
    for toolchain in found if maker_of is not None else ():
        if toolchain.made(maker_of or b""):
            return toolchain
    return found[0]


def missing() -> str:
    if shutil.which("cargo") is None:
        return "no Rust compiler is installed"
    return f"no Rust compiler here has the target {TARGET}"


def advice() -> str:
    debian = "on Debian or Ubuntu run: sudo apt install cargo rustc libstd-rust-dev-wasm32 lld"
    rustup = f"with rustup run: rustup target add {TARGET}"
    mac = f"on macOS run: brew install rustup && rustup default stable && rustup target add {TARGET}"
    if sys.platform == "darwin":
        return f"{mac}; {rustup.replace(' run:', ' already there:')}"
    return f"{debian}; {rustup} (get it from https://rustup.rs); {mac}"
