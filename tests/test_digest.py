"""SHA-256 is the same whoever computes it, and small ones need no OpenSSL."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aicli import _digest
from aicli._digest import LARGE, new_sha256, own_sha256, sha256
from tests.conftest import EXAMPLES, PROJECT

PARTS = (b"", b"a", os.urandom(100_000), memoryview(os.urandom(LARGE)))


@pytest.fixture
def without_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a process that has not loaded it."""
    monkeypatch.delitem(sys.modules, "_hashlib", raising=False)


@pytest.mark.usefixtures("without_openssl")
def test_every_implementation_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for count in range(len(PARTS) + 1):
        right = hashlib.sha256(b"".join(PARTS[:count])).digest()
        assert sha256(*PARTS[:count]).digest() == right
        assert new_sha256(0).digest() == hashlib.sha256().digest()
    own_sha256.cache_clear()
    monkeypatch.setattr(_digest, "OWN", ("no_such_module", "this"))
    try:
        assert own_sha256() is None
        assert sha256(b"a", b"b").hexdigest() == hashlib.sha256(b"ab").hexdigest()
    finally:
        own_sha256.cache_clear()


SAY_OPENSSL = """
import sys
from aicli.cli.main import run
code = run(sys.argv[1:])
print("_hashlib" in sys.modules, code)
"""


@pytest.mark.skipif(own_sha256() is None, reason="Python was built without an implementation of its own")
@pytest.mark.parametrize("task", ["classify", "detect-faces"])
def test_a_run_on_one_photo_loads_no_openssl(task: str, tmp_path: Path) -> None:
    environment = {**os.environ, "AICLI_CACHE_DIR": str(tmp_path), "AICLI_RUNTIME": "wasmtime"}
    environment.pop("AICLI_NO_CACHE", None)
    command = [sys.executable, "-c", SAY_OPENSSL, task, str(EXAMPLES / "astronaut.png")]

    def ask() -> str:
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1]

    plain = [sys.executable, "-c", "import sys, numpy; print('_hashlib' in sys.modules)"]
    if subprocess.run(plain, capture_output=True, text=True, check=True).stdout != "False\n":
        pytest.skip("NumPy 1 loads it")
    ask()  # computes what later runs remember
    assert ask() == "False 0"
