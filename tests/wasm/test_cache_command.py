"""aicli cache: what it shows, and that clearing leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aicli.cli.main import run
from aicli.wasm.cache import ModuleCache


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleCache:
    monkeypatch.setenv("AICLI_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("AICLI_NO_CACHE", raising=False)
    return ModuleCache(tmp_path / "modules")


def test_shows_and_clears(cache: ModuleCache, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["cache", "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == []
    cache.write("ab" * 32, b"code")
    assert run(["cache"]) == 0
    text = capsys.readouterr().out
    assert str(cache.folder) in text and "1 compiled module\n" in text and "abab" in text
    assert run(["cache", "clear"]) == 0
    assert capsys.readouterr().out == "44 bytes freed\n"
    assert cache.entries() == []


def test_says_why_it_is_not_used(
    cache: ModuleCache, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write("ab" * 32, b"code")
    cache.folder.chmod(0o777)
    assert run(["cache"]) == 0
    assert "other users can write to it" in capsys.readouterr().out
    monkeypatch.setenv("AICLI_NO_CACHE", "1")
    assert run(["cache"]) == 0
    assert "AICLI_NO_CACHE" in capsys.readouterr().out
