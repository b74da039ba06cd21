"""Models that are damaged with knowledge of the format: the host lives, keeps its deadlines and its memory.

To try more: ``AICLI_FUZZ_MODELS=20000 AICLI_FUZZ_SEED=5 python -m pytest tests/fuzz/test_model_files.py -s``.
"""

from __future__ import annotations

import collections
import os
import random
import sys

import pytest

from aicli.wasm import installed_runtimes
from tests.fuzz.model_files import ModelFiles

CASES = int(os.environ.get("AICLI_FUZZ_MODELS", "300"))
SEED = int(os.environ.get("AICLI_FUZZ_SEED", "1"))

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or "wasmtime" not in installed_runtimes(), reason="engine processes and wasmtime"
)


def test_damaged_models_cost_the_host_nothing() -> None:
    surface = ModelFiles()
    surface.prepare()
    outcomes: collections.Counter[str] = collections.Counter()
    past = 0
    for number in range(CASES):
        try:
            outcome, passed = surface.case(random.Random(f"models:{SEED}:{number}"))
        except Exception as error:
            raise AssertionError(f"seed {SEED} case {number}: {error!r}") from error
        outcomes[outcome] += 1
        past += passed
    print(f"{CASES} models, {past} past the reader: {dict(outcomes.most_common())}")
    assert past > 0.3 * CASES
    assert outcomes["answered"] > 0
