"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
SHARED = PROJECT.parent / "shared"


def require_shared() -> Path:
    """The folder of large test data beside the project; skips where it is absent, fails where CI demands it."""
    if SHARED.is_dir():
        return SHARED
    if os.environ.get("AICLI_REQUIRE_SHARED") == "1":
        pytest.fail(f"AICLI_REQUIRE_SHARED=1, but there is no folder {SHARED.name} beside the project")
    pytest.skip("needs the folder of test data beside the project")


@pytest.fixture(scope="session")
def shared() -> Path:
    return require_shared()
