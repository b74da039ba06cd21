"""The answers in tests/data/golden.json, which the JavaScript package is held to as well (js/test/golden.test.mjs)."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from aicli import Classifier, FaceDetector
from tests.conftest import PROJECT, require_shared

CASES = json.loads((PROJECT / "tests" / "data" / "golden.json").read_bytes())


def golden_tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden", PROJECT / "tools" / "golden.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def close(found: Any, expected: Any) -> bool:
    """Equal, numbers to 1e-3 (scores) or a fiftieth of a pixel."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    if isinstance(expected, float):
        return abs(found - expected) <= (1e-3 if 0 <= expected <= 1 else 0.02)
    return bool(found == expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: Path(case["answer"]["image"]).stem)
def test_answers_are_the_golden_ones(case: dict[str, Any]) -> None:
    if "shared/" in json.dumps(case):
        require_shared()
    options = golden_tool().placed(case["options"])
    ask = Classifier(**options) if case["task"] == "classify" else FaceDetector(**options)
    photo = case["answer"]["image"]
    found = ask(str(PROJECT / photo)).to_dict() | {"image": photo}
    assert close(json.loads(json.dumps(found)), case["answer"])
