"""A small run of ``benchmarks/cluster_chaos.py``: processes killed while photos of odd names are answered."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.conftest import PROJECT, require_ray

pytestmark = pytest.mark.slow


def test_every_photo_once_whatever_is_killed(tmp_path: Path) -> None:
    """An actor, a worker process and the command; nodes are removed in test_run."""
    require_ray()
    command = [sys.executable, "benchmarks/cluster_chaos.py", "--photos", "100", "--seed", "2", "--keep", str(tmp_path)]
    kills = ["--kinds", "actor", "worker", "driver", "--kills", "3", "--every", "4"]
    run = subprocess.run([*command, *kills], capture_output=True, text=True, cwd=PROJECT, timeout=500)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.splitlines()[-1] == "every photo once, records equal to one machine's"
