"""How often a guest calls the host: bounded by the invocations, whatever the image holds (docs/performance.md)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from aicli import Classifier, FaceDetector
from aicli.nn.wasi_nn import WasiNn
from aicli.wasm import HostFunction


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Calls of the host by name."""
    counted: Counter[str] = Counter()
    original = WasiNn.functions

    def functions(self: WasiNn) -> dict[tuple[str, str], HostFunction]:
        def counting(function: HostFunction) -> HostFunction:
            def call(*arguments: int) -> int | None:
                counted[function.name] += 1
                return function.call(*arguments)

            return function.replace(call=call)

        return {key: counting(function) for key, function in original(self).items()}

    monkeypatch.setattr(WasiNn, "functions", functions)
    return counted


def test_calls_of_a_detection(shared: Path, calls: Counter[str], runtime: str) -> None:
    detector = FaceDetector(runtime=runtime)
    photo = detector.open(shared / "images" / "solvay.jpg")
    detector.detect(photo)
    calls.clear()
    before = {name: stage.calls for name, stage in detector.guest.times.items()}
    detector.detect(photo)
    runs = {name: stage.calls - before[name] for name, stage in detector.guest.times.items()}
    # A warm guest makes nothing new: per invocation one input, one run, and the outputs, which are 2, 2 and 3.
    assert set(calls) == {"set_input", "compute", "get_output"}
    assert calls["set_input"] == calls["compute"] == sum(runs.values())
    assert calls["get_output"] <= 2 * runs["pnet"] + 2 * runs["rnet"] + 3 * runs["onet"]
    assert sum(calls.values()) <= 210
    # 960 x 661 pixels are 332,000 in the pyramid, and a frame shows 224 x 118 that no other does.
    assert runs["pnet"] <= 24


def test_calls_of_a_classification(examples: Path, calls: Counter[str], runtime: str) -> None:
    classifier = Classifier(runtime=runtime)
    photo = classifier.open(examples / "grace_hopper.jpg")
    classifier.classify(photo)
    calls.clear()
    classifier.classify(photo)
    assert calls == {"set_input": 1, "compute": 1, "get_output": 1}
