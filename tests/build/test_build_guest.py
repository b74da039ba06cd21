"""aicli build-guest with a real compiler: skipped where none has the WebAssembly target, unless CI demands one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from aicli.build.compile import packaged_source, run_wasm_opt
from aicli.build.toolchain import Toolchain, find_toolchain, toolchains
from aicli.cli.main import run
from aicli.guest.client import packaged_guest


@pytest.fixture(scope="module")
def rust() -> Toolchain:
    if not any(True for _ in toolchains()):
        if os.environ.get("AICLI_REQUIRE_RUST") == "1":
            pytest.fail("AICLI_REQUIRE_RUST=1, but no Rust compiler has the WebAssembly target")
        pytest.skip("needs a Rust compiler with the WebAssembly target")
    return find_toolchain()


@pytest.fixture
def crate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert run(["build-guest", "--new", "my-guest"]) == 0
    return tmp_path / "my-guest"


def test_a_new_crate_is_whole(crate: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = {path.relative_to(crate).as_posix() for path in crate.rglob("*") if path.is_file()}
    assert names >= {"Cargo.toml", ".cargo/config.toml", ".gitignore", "README.md", "src/lib.rs", "src/preprocess.rs"}
    assert "@" not in (crate / "README.md").read_text()
    assert 'name = "my-guest"' in (crate / "Cargo.toml").read_text()


@pytest.mark.parametrize("name", ["My-Guest", "1guest", "test", "a b", "-x", "gäst"])
def test_names_that_no_crate_can_have(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["build-guest", f"--new={name}"]) == 2
    assert "cannot name a crate" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(crate: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["build-guest", "--new", "my-guest"]) == 2
    assert "exists already" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--check", "--out", "x.wasm"],
        ["--new", "x", "--check"],
        ["--source", "nowhere", "--out", "x.wasm"],
        ["--source", "."],
    ],
)
def test_requests_that_make_no_sense(
    arguments: list[str], rust: Toolchain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["build-guest", *arguments]) == 2
    assert not list(tmp_path.iterdir())


def test_a_compile_error_is_the_compilers_own(crate: Path, rust: Toolchain, capfd: pytest.CaptureFixture[str]) -> None:
    (crate / "src" / "preprocess.rs").write_text("pub fn preprocess() -> u32 { true }\n")
    capfd.readouterr()
    assert run(["build-guest", "--source", "my-guest", "--out", "out.wasm"]) == 1
    captured = capfd.readouterr()
    assert "error[E0308]" in captured.err and "src/preprocess.rs" in captured.err
    ours = [line for line in captured.err.splitlines() if "aicli" in line]
    assert len(ours) == 1 and "my-guest: does not compile with rustc" in ours[0]
    assert captured.out == ""
    assert not Path("out.wasm").exists()


def test_a_crate_that_is_no_guest_is_not_written(
    crate: Path, rust: Toolchain, capfd: pytest.CaptureFixture[str]
) -> None:
    (crate / "src" / "lib.rs").write_text("#[no_mangle] pub extern fn other() {}\n")
    assert run(["build-guest", "--source", "my-guest", "--out", "out.wasm"]) == 1
    assert "exports no function aicli_abi_version" in capfd.readouterr().err
    assert not Path("out.wasm").exists()


@pytest.mark.slow
def test_the_packaged_guest_is_what_its_source_compiles_to(rust: Toolchain, capfd: pytest.CaptureFixture[str]) -> None:
    if not rust.made(packaged_guest().read_bytes()) and not find_toolchain(packaged_guest().read_bytes()).made(
        packaged_guest().read_bytes()
    ):
        pytest.skip("the packaged guest was made by another compiler")
    assert run(["build-guest", "--check"]) == 0, capfd.readouterr().err


@pytest.mark.slow
def test_the_source_compiles_in_a_folder_that_cannot_be_written(
    rust: Toolchain, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source, _ = packaged_source()
    copy = tmp_path / "_bundled" / "guest-rust"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("target"))
    assert run(["build-guest", "--source", str(copy), "--out", str(tmp_path / "out.wasm")]) == 0, capfd.readouterr().err
    assert not (copy / "target").exists()
    assert (tmp_path / "out.wasm").stat().st_size > 10_000


@pytest.mark.parametrize(("first", "words"), [("", "optimised with"), ("echo broken >&2; exit 1", "broken")])
def test_wasm_opt_is_used_when_it_is_there(
    first: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "wasm-opt"
    # The last three arguments are: input, -o, output.
    tool.write_text(f"#!/bin/sh\n{first}\nwhile [ $# -gt 3 ]; do shift; done\ncp $1 $3\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    said: list[str] = []
    wasm = packaged_guest().read_bytes()
    assert run_wasm_opt(wasm, tmp_path, said.append) == wasm
    assert len(said) == 1 and words in said[0]
