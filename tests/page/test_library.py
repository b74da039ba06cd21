"""The module of the browser: Python's answers, Python's pixels, its errors; nothing but the own origin is asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest

from tests.chromium import needs_chromium
from tests.conftest import PROJECT, SHARED, require_shared
from tests.page.conftest import StaticServer

pytestmark = [pytest.mark.slow, needs_chromium]

CASES = json.loads((PROJECT / "tests" / "data" / "golden.json").read_text())
CALL = """
const done = arguments[arguments.length - 1];
const {task, options, calls} = arguments[0];
import("/aicli/index.js").then(async ({FaceDetector, Classifier}) => {
  const loaded = await (task === "classify" ? Classifier : FaceDetector).load(options);
  const answers = [];
  for (const {image, ...call} of calls) {
    const asked = task === "classify" ? loaded.classify(image, call) : loaded.detect(image, call);
    answers.push(await asked.catch((error) => ({error: error.name, message: error.message})));
  }
  await loaded.close();
  return {model: loaded.model, engine: loaded.engine, answers};
}).then(done, (error) => done({error: error.name, message: error.message}));
"""


@pytest.fixture
def page(browser: Any, server: StaticServer) -> Iterator[Any]:
    """An empty page of the site's origin."""
    server.extra["empty.html"] = b"<!doctype html><title>empty</title>"
    browser.get(f"{server.url}_/empty.html")
    browser.get_log("browser")
    yield browser
    assert [entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]] == []


def call(page: Any, task: str, options: dict[str, Any], *calls: Any) -> Any:
    items = [item if isinstance(item, dict) else {"image": item} for item in calls]
    return page.execute_async_script(CALL, {"task": task, "options": options, "calls": items})


def address(path: str) -> str:
    return f"/_/{path.removeprefix('../')}"


def options_of(case: dict[str, Any]) -> dict[str, Any]:
    def value(key: str, given: Any) -> Any:
        return address(given) if key in ("model", "labels") and "/" in given else given

    def camel(name: str) -> str:
        return re.sub("_(.)", lambda match: match[1].upper(), name)

    return {camel(key): value(key, given) for key, given in case["options"].items()}


def close(found: Any, expected: Any, key: str = "") -> bool:
    """Scores within 0.001, coordinates within a fiftieth of a pixel, anything else equal."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[name], expected[name], name) for name in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(close(a, b, key) for a, b in zip(found, expected, strict=True))
    if isinstance(expected, float):
        return abs(found - expected) <= (1e-3 if key == "score" else 0.02)
    return bool(found == expected)


def usable() -> list[dict[str, Any]]:
    if not SHARED.is_dir():
        return [case for case in CASES if "shared/" not in json.dumps(case)]
    return CASES


def group(case: dict[str, Any]) -> str:
    return f"{case['task']} {json.dumps(case['options'])}"


def test_answers_are_the_golden_ones(page: Any, server: StaticServer) -> None:
    if "shared/" in json.dumps(CASES):
        require_shared()
    wrong, engines = [], set()
    for name, cases in groupby(sorted(usable(), key=group), key=group):
        expected = [case["answer"] for case in cases]
        first = next(case for case in usable() if group(case) == name)
        images = [{"image": address(answer["image"]), "name": answer["image"]} for answer in expected]
        found = call(page, first["task"], options_of(first), *images)
        assert "answers" in found, f"{name}: {found}"
        engines.add(found["engine"])
        pairs = zip(found["answers"], expected, strict=True)
        wrong += [f"{name}: {mine} not {right}" for mine, right in pairs if not close(mine, right)]
    assert wrong == []
    assert engines == {"LiteRT.js, relaxed SIMD"}
