"""The module cache: native code is only ever loaded from files that nobody else could have written."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aicli.wasm import Limits, Runtime, installed_runtimes, load_runtime
from aicli.wasm.cache import MAGIC, ModuleCache, default_cache, load_module, module_key

KEY = "ab" * 32
OTHER = "cd" * 32
# (module (func (export "answer") (result i32) i32.const 42))
ANSWER = bytes.fromhex("0061736d010000000105016000017f03020100070a0106616e7377657200000a06010400412a0b")

posix = pytest.mark.skipif(os.name != "posix", reason="needs file modes")


@pytest.fixture
def cache(tmp_path: Path) -> ModuleCache:
    return ModuleCache(tmp_path / "modules")


@pytest.fixture(params=installed_runtimes())
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return load_runtime(request.param)


def entry(cache: ModuleCache, key: str = KEY) -> Path:
    return cache.folder / f"{key}.bin"


def answer(runtime: Runtime, cache: ModuleCache | None) -> int | None:
    return load_module(runtime, ANSWER, Limits(), cache).instantiate({}, Limits()).call("answer")


def test_gives_back_what_was_written(cache: ModuleCache) -> None:
    assert cache.read(KEY) is None
    assert cache.write(KEY, b"code")
    assert cache.read(KEY) == b"code"
    assert [(item.key, item.size) for item in cache.entries()] == [(KEY, 44)]
    assert cache.clear() == 44
    assert cache.entries() == []


@posix
def test_is_private_to_the_user(cache: ModuleCache) -> None:
    old = os.umask(0)
    try:
        cache.write(KEY, b"code")
    finally:
        os.umask(old)
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    assert entry(cache).stat().st_mode & 0o777 == 0o600


@posix
@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_never_used(cache: ModuleCache, mode: int) -> None:
    cache.write(KEY, b"code")
    entry(cache).chmod(mode)
    assert cache.read(KEY) is None


@posix
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_can_write_is_never_used(cache: ModuleCache, mode: int) -> None:
    cache.write(KEY, b"code")
    cache.folder.chmod(mode)
    assert cache.read(KEY) is None
    assert not cache.write(OTHER, b"code")
    assert cache.entries() == []
    assert cache.problem() == "other users can write to it"


@posix
def test_somebody_elses_file_is_never_used(cache: ModuleCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.write(KEY, b"code")
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert cache.read(KEY) is None
    assert cache.problem() == "it belongs to another user"


@posix
def test_links_pipes_and_folders_are_no_entries(cache: ModuleCache, tmp_path: Path) -> None:
    cache.write(KEY, b"code")
    entry(cache).rename(tmp_path / "elsewhere")
    entry(cache).symlink_to(tmp_path / "elsewhere")
    assert cache.read(KEY) is None
    entry(cache).unlink()
    os.mkfifo(entry(cache), 0o600)
    assert cache.read(KEY) is None
    entry(cache).unlink()
    entry(cache).mkdir()
    assert cache.read(KEY) is None
    assert not cache.write(KEY, b"code")
    linked = ModuleCache(tmp_path / "link")
    linked.folder.symlink_to(cache.folder)
    assert linked.read(KEY) is None


def test_a_damaged_entry_is_dropped(cache: ModuleCache) -> None:
    for damage in (lambda d: d[:-1], lambda d: d[:20], lambda d: b"", lambda d: d[:-1] + b"!", lambda d: MAGIC + d):
        cache.write(KEY, b"code")
        entry(cache).write_bytes(damage(entry(cache).read_bytes()))
        assert cache.read(KEY) is None
        assert not entry(cache).exists()


def test_an_entry_under_another_name_is_not_used(cache: ModuleCache) -> None:
    cache.write(KEY, b"code")
    entry(cache).rename(entry(cache, OTHER))
    assert cache.read(OTHER) is None


def test_keeps_to_its_size_and_drops_the_oldest(tmp_path: Path) -> None:
    cache = ModuleCache(tmp_path / "modules", max_bytes=1000)
    names = [f"{n:064x}" for n in range(5)]
    for age, name in zip(range(50, 0, -10), names, strict=True):
        cache.write(name, b"x" * 260)
        if entry(cache, name).exists():
            os.utime(entry(cache, name), (time.time() - age,) * 2)
    assert [item.key for item in cache.entries()] == [names[4], names[3], names[2]]
    assert not cache.write(KEY, b"x" * 1000)


def test_reading_an_old_entry_keeps_it(cache: ModuleCache) -> None:
    cache.write(KEY, b"code")
    os.utime(entry(cache), (1, 1))
    cache.read(KEY)
    assert cache.entries()[0].used > time.time() - 60


def test_what_was_left_half_written_goes(cache: ModuleCache) -> None:
    cache.write(KEY, b"code")
    stale = cache.folder / f"{OTHER}.1.2.tmp"
    stale.write_bytes(b"half")
    os.utime(stale, (1, 1))
    cache.write(OTHER, b"code")
    assert not stale.exists()


def test_a_folder_that_cannot_be_made_is_harmless(tmp_path: Path, runtime: Runtime) -> None:
    (tmp_path / "file").write_text("no folder")
    assert answer(runtime, ModuleCache(tmp_path / "file" / "modules")) == 42


def test_a_full_disk_is_harmless(cache: ModuleCache, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert answer(runtime, cache) == 42
    assert [path.suffix for path in cache.folder.iterdir() if path.name != "lock"] == []


def test_a_module_comes_from_the_cache_the_second_time(
    cache: ModuleCache, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert answer(runtime, cache) == 42
    assert len(cache.entries()) == 1

    def fail(_: bytes) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(runtime, "compile", fail)
    assert answer(runtime, cache) == 42


def test_code_that_the_runtime_refuses_is_compiled_again(cache: ModuleCache, runtime: Runtime) -> None:
    key = module_key(runtime, runtime.prepare(ANSWER, Limits()))
    cache.write(key, b"not what a runtime wrote")
    assert answer(runtime, cache) == 42
    assert cache.read(key) != b"not what a runtime wrote"


def test_the_key_names_module_runtime_and_version() -> None:
    class Fake:
        name, version = "r", "1"

    keys = set()
    for name, version, wasm in [
        ("r", "1", b"a"),
        ("r", "2", b"a"),
        ("s", "1", b"a"),
        ("r", "1", b"b"),
        ("r1", "", b"a"),
    ]:
        fake = Fake()
        fake.name, fake.version = name, version
        keys.add(module_key(fake, wasm))  # type: ignore[arg-type]
    assert len(keys) == 5


def test_the_environment_moves_and_switches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AICLI_NO_CACHE", raising=False)
    monkeypatch.setenv("AICLI_CACHE_DIR", str(tmp_path))
    cache = default_cache()
    assert cache is not None and cache.folder == tmp_path / "modules"
    monkeypatch.setenv("AICLI_NO_CACHE", "1")
    assert default_cache() is None


WORKER = """
import sys
from pathlib import Path
from aicli.wasm import Limits, load_runtime
from aicli.wasm.cache import ModuleCache, load_module
runtime = load_runtime(sys.argv[2])
module = load_module(runtime, bytes.fromhex(sys.argv[3]), Limits(), ModuleCache(Path(sys.argv[1])))
assert module.instantiate({}, Limits()).call("answer") == 42
"""


def test_many_processes_share_an_empty_cache(tmp_path: Path, runtime: Runtime) -> None:
    folder = tmp_path / "modules"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WORKER, str(folder), runtime.name, ANSWER.hex()]
    processes = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(12)]
    failures = [error for process in processes if (error := process.communicate(timeout=120)[1])]
    assert failures == []
    assert len(ModuleCache(folder).entries()) == 1
    assert not list(folder.glob("*.tmp"))
