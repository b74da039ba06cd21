"""Compiling a guest crate with cargo, and wasm-opt where it is wanted and installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from aicli.build.toolchain import TARGET, Toolchain
from aicli.errors import BuildError, Hint, UsageError

__all__ = ["build", "packaged_source"]

OPTIMISE = ("-O3", "--enable-simd", "--enable-bulk-memory", "--enable-sign-ext", "--enable-mutable-globals",
            "--enable-nontrapping-float-to-int", "--enable-reference-types", "--enable-multivalue")  # fmt: skip


def packaged_source() -> tuple[Path, bool]:
    """The source of the packaged guest, and whether it lies in a checkout.

    Raises :class:`UsageError` when it is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    checkout, installed = package.parent / "guest-rust", package / "_bundled" / "guest-rust"
    for folder, in_checkout in ((checkout, True), (installed, False)):
        if (folder / "Cargo.toml").is_file():
            return folder, in_checkout
    raise UsageError("the guest's source is not here", hint=Hint("source", "give a crate with {} DIR"))


def build(source: Path, toolchain: Toolchain, *, locked: bool, optimise: bool, say: Callable[[str], None]) -> bytes:
    """The module that the crate in ``source`` compiles to; ``say`` gets a line per step.

    Nothing is written to a folder that cannot be written. Raises :class:`UsageError` when there is no crate and
    :class:`BuildError` when it does not compile.
    """
    if not (source / "Cargo.toml").is_file():
        raise UsageError(f"{source}: no Cargo.toml", hint=Hint("source", "{} takes the folder of a Rust crate"))
    with tempfile.TemporaryDirectory(prefix="aicli-build-") as scratch:
        environment = toolchain.environment()
        if not os.access(source, os.W_OK) or "_bundled" in source.parts:
            environment["CARGO_TARGET_DIR"] = scratch
        wasm = cargo_build(source, toolchain, environment, locked).read_bytes()
        say(f"compiled {source} with {toolchain.describe()}")
        return run_wasm_opt(wasm, Path(scratch), say) if optimise else wasm


def cargo_build(source: Path, toolchain: Toolchain, environment: dict[str, str], locked: bool) -> Path:
    command = [str(toolchain.cargo), "build", "--release", "--target", TARGET]
    command += ["--message-format", "json-render-diagnostics", *(["--locked"] if locked else [])]
    try:
        # Progress and the compiler's messages go where they always go; the artifacts are told on standard output.
        done = subprocess.run(command, cwd=source, env=environment, stdout=subprocess.PIPE, check=False)
    except OSError as error:
        raise BuildError(f"{toolchain.cargo}: cannot be run ({error.strerror})") from None
    if done.returncode != 0:
        # The compiler has said why, on standard error.
        raise BuildError(f"{source}: does not compile with {toolchain.describe()}; its own message is above")
    modules = [Path(name) for line in done.stdout.splitlines() for name in artifacts(line) if name.endswith(".wasm")]
    if not modules:
        raise BuildError(f'{source}: the crate makes no .wasm file; its Cargo.toml needs [lib] crate-type = ["cdylib"]')
    return modules[-1]


def artifacts(line: bytes) -> list[str]:
    """The files of one of cargo's messages."""
    try:
        message = json.loads(line)
    except ValueError:
        return []
    if not isinstance(message, dict) or message.get("reason") != "compiler-artifact":
        return []
    return [str(name) for name in message.get("filenames", [])]


def run_wasm_opt(wasm: bytes, scratch: Path, say: Callable[[str], None]) -> bytes:
    tool = shutil.which("wasm-opt")
    if tool is None:
        return wasm
    before, after = scratch / "before.wasm", scratch / "after.wasm"
    before.write_bytes(wasm)
    done = subprocess.run([tool, *OPTIMISE, str(before), "-o", str(after)], capture_output=True, text=True, check=False)
    if done.returncode != 0 or not after.is_file():
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[0]
        say(f"wasm-opt could not optimise the guest ({reason}); it stays as the compiler made it")
        return wasm
    optimised = after.read_bytes()
    say(f"optimised with {tool}: {len(wasm)} to {len(optimised)} bytes")
    return optimised
