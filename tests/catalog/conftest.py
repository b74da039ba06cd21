"""A user's folders of their own for every test, and a server on the loopback that can misbehave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback_server import Server

from aicli.nn.engines import Engine, load_engine


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AICLI_MODEL_MIRROR", "AICLI_OFFLINE", "AICLI_AUTO_PULL", "AICLI_NO_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AICLI_MODELS_DIR", str(tmp_path / "user-models"))
    monkeypatch.setenv("AICLI_CACHE_DIR", str(tmp_path / "user-cache"))


@pytest.fixture(scope="session")
def engine() -> Engine:
    return load_engine()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()
