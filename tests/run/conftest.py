"""Guests built from the sources in guests/, and the command as a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

GUESTS = Path(__file__).parent / "guests"
PROJECT = GUESTS.parents[2]
TARGETS = ("wasm32-wasi", "wasm32-wasip1")
STRIP = ("-C", "strip=symbols")
RUST_FLAGS = ("--edition", "2021", "-O", "-C", "panic=abort", *STRIP)

Build = Callable[..., Path]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def find_rustc() -> tuple[str, str] | None:
    """A compiler with a standard library for WASI, and that target's name; the distribution's is tried too."""
    for rustc in dict.fromkeys(filter(None, (shutil.which("rustc"), "/usr/bin/rustc"))):
        for target in TARGETS:
            asked = [rustc, "--print", "target-libdir", "--target", target]
            answer = (
                subprocess.run(asked, capture_output=True, text=True, check=False) if Path(rustc).exists() else None
            )
            if answer and answer.returncode == 0 and any(Path(answer.stdout.strip()).glob("libstd-*")):
                return rustc, target
    return None


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Compiles guests/NAME.rs once for each set of ``--cfg``, those in functions/ as libraries; skips where no compiler
    can."""
    folder = tmp_path_factory.mktemp("guests")
    compiler = find_rustc()

    def compile_guest(name: str, *cfg: str) -> Path:
        if compiler is None:
            if os.environ.get("AICLI_REQUIRE_SHARED") == "1":
                pytest.fail("no rustc with a standard library for WASI")
            pytest.skip("needs rustc with a standard library for WASI")
        target = folder / f"{'-'.join((name.replace('/', '-'), *cfg))}.wasm"
        if not target.exists():
            flags = [part for item in cfg for part in ("--cfg", item)]
            source = str(GUESTS / f"{name}.rs")
            kind = "cdylib" if name.startswith("functions/") else "bin"
            line = [compiler[0], *RUST_FLAGS, "--crate-type", kind, "--crate-name", Path(name).name]
            line += ["--target", compiler[1], *flags, source, "-o", str(target)]
            subprocess.run(line, check=True, timeout=300)
        return target

    return compile_guest


@pytest.fixture(scope="session")
def vision(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The articles' functions, guests/functions/vision.rs, for each set of ``--cfg``, with a model or aicli's guest."""
    folder = tmp_path_factory.mktemp("vision")
    compiler = find_rustc()
    tensors = {"INPUT": "image", "OUTPUT": "probabilities"}
    files = {"MODEL": PROJECT / "models/efficientnet_lite0.tflite", "LABELS": PROJECT / "labels/imagenet_1000.txt"}

    def compile_with(source: Path, target: Path, *flags: str) -> None:
        assert compiler is not None
        line = [compiler[0], *RUST_FLAGS[:-2], "--target", compiler[1], *flags, str(source), "-o", str(target)]
        environment = {**os.environ, **tensors, **{name: str(path) for name, path in files.items()}}
        subprocess.run(line, check=True, timeout=300, env=environment)

    def compile_function(*cfg: str) -> Path:
        if compiler is None:
            if os.environ.get("AICLI_REQUIRE_SHARED") == "1":
                pytest.fail("no rustc with a standard library for WASI")
            pytest.skip("needs rustc with a standard library for WASI")
        target = folder / f"vision-{'-'.join(cfg)}.wasm"
        guest = folder / "libaicli_guest.rlib"
        if "faces" in cfg and not guest.exists():
            simd = ("-C", "target-feature=+simd128")
            source = PROJECT / "guest-rust" / "src" / "lib.rs"
            compile_with(source, guest, *simd, "--crate-type", "rlib", "--crate-name", "aicli_guest")
        if not target.exists():
            flags = [part for item in cfg for part in ("--cfg", item)]
            flags += ["--extern", f"aicli_guest={guest}"] if "faces" in cfg else []
            compile_with(GUESTS / "functions" / "vision.rs", target, "--crate-type", "cdylib", *STRIP, *flags)
        return target

    return compile_function


@pytest.fixture(scope="session")
def assemble(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A module from WebAssembly text, or from guests/NAME.wat."""
    wasmtime = pytest.importorskip("wasmtime")
    folder = tmp_path_factory.mktemp("text")

    def to_module(text: str) -> Path:
        source = text if text.lstrip().startswith("(") else (GUESTS / f"{text}.wat").read_text()
        target = folder / f"{abs(hash(source)):x}.wasm"
        target.write_bytes(wasmtime.wat2wasm(source))
        return target

    return to_module


@pytest.fixture
def aicli_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """``aicli run`` as a process of its own."""
    cache = tmp_path_factory.getbasetemp() / "module-cache"

    def call(*arguments: object, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "aicli", "run", *map(str, arguments)]
        variables = {**os.environ, "AICLI_CACHE_DIR": str(cache), **environment}
        return subprocess.run(line, input=text, capture_output=True, text=True, timeout=120, env=variables, check=False)

    return call
