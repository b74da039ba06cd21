"""Finding a compiler: only one with the WebAssembly standard library will do, and the advice says how to get it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aicli.build import toolchain
from aicli.build.toolchain import TARGET, Toolchain, find_toolchain, made_by, toolchains
from aicli.errors import UnavailableError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="fakes programs with shell scripts")
COMMIT = "a" * 40


@pytest.fixture(autouse=True)
def no_rust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any Rust."""
    monkeypatch.setattr(toolchain, "SYSTEM_FOLDERS", (str(tmp_path / "system" / "bin"),))
    monkeypatch.setenv("PATH", str(tmp_path / "path" / "bin"))
    monkeypatch.setenv("RUSTUP_HOME", str(tmp_path / "rustup"))


def install(root: Path, version: str = "1.63.0", target: bool = True) -> None:
    """A cargo and a rustc that only say who they are."""
    (root / "bin").mkdir(parents=True)
    if target:
        (root / "lib" / "rustlib" / TARGET / "lib").mkdir(parents=True)
    verbose = f"rustc {version} (aaaa 2022-08-08)\\ncommit-hash: {COMMIT}"
    script = f'#!/bin/sh\nif [ "$1" = --print ]; then echo "{root}"; else printf "{verbose}\\n"; fi\n'
    for name, text in {"rustc": script, "cargo": f"#!/bin/sh\necho cargo {version}\n"}.items():
        (root / "bin" / name).write_text(text)
        (root / "bin" / name).chmod(0o755)


def test_says_what_to_install_where_there_is_no_rust() -> None:
    with pytest.raises(UnavailableError, match="no Rust compiler is installed") as caught:
        find_toolchain()
    text = str(caught.value)
    assert "\n" not in text
    assert f"rustup target add {TARGET}" in text
    assert "macOS" in text


def test_says_what_to_install_where_the_target_is_missing(tmp_path: Path) -> None:
    install(tmp_path / "path", target=False)
    with pytest.raises(UnavailableError, match=f"no Rust compiler here has the target {TARGET}") as caught:
        find_toolchain()
    assert "apt install" in str(caught.value)


def test_path_comes_first_then_rustup_then_the_system(tmp_path: Path) -> None:
    install(tmp_path / "system", "1.1.0")
    install(tmp_path / "rustup" / "toolchains" / "nightly-x", "1.3.0")
    install(tmp_path / "rustup" / "toolchains" / "stable-x", "1.2.0")
    install(tmp_path / "path", "1.4.0")
    assert [found.version.split()[1] for found in toolchains()] == ["1.4.0", "1.2.0", "1.3.0", "1.1.0"]
    assert find_toolchain().origin == "on PATH"


def test_a_toolchain_without_the_target_is_passed_over(tmp_path: Path) -> None:
    install(tmp_path / "path", target=False)
    install(tmp_path / "system")
    assert find_toolchain().cargo == tmp_path / "system" / "bin" / "cargo"


def test_the_one_that_made_the_packaged_guest_is_preferred(tmp_path: Path) -> None:
    install(tmp_path / "path", "1.70.0")
    install(tmp_path / "system", "1.63.0")
    made = b"..../usr/src/rustc-1.63.0/library/core/src/slice/mod.rs"
    assert find_toolchain(made).version.startswith("rustc 1.63.0")
    assert find_toolchain(b"no traces").version.startswith("rustc 1.70.0")


def test_traces_of_a_compiler() -> None:
    assert made_by(b"x/usr/src/rustc-1.63.0/library/alloc/src/vec/mod.rs") == "1.63.0"
    assert made_by(f"/rustc/{COMMIT}/library/core".encode()) == COMMIT
    assert made_by(b"nothing") is None
    one = Toolchain(Path("cargo"), Path("rustc"), "rustc 1.80.0 (aaaa)", "on PATH", COMMIT)
    assert one.made(f"/rustc/{COMMIT}/library/core".encode())


def test_flags_from_outside_do_not_change_the_guest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_TARGET_DIR",
        "CARGO_PROFILE_RELEASE_LTO",
        "RUSTC_WRAPPER",
    ):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("CARGO_HOME", "/home/me/.cargo")
    environment = Toolchain(Path("/r/bin/cargo"), Path("/r/bin/rustc"), "rustc 1.63.0", "on PATH").environment()
    assert "x" not in environment.values()
    assert environment["CARGO_HOME"] == "/home/me/.cargo"
    assert environment["RUSTC"] == "/r/bin/rustc"
    assert environment["PATH"].startswith("/r/bin")
