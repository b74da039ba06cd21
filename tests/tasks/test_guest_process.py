"""Strangers' guests on every runtime: each ends when its time is up, whatever it does, and costs its own image only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from aicli import Classifier
from aicli.errors import GuestError, GuestTimeout, GuestTrap
from aicli.options import SandboxOptions
from aicli.tasks.guest_process import GuestProcess, GuestRecipe
from aicli.wasm import Limits
from tests.made_models import endless, identity
from tests.wasm.hostile import ANSWER, DATA, PIXELS, guest_text, request, wat

NEAREST = Path(__file__).parent.parent / "wasm" / "nearest.wat"
PHOTO = Path(__file__).parent.parent.parent / "examples" / "grace_hopper.jpg"
NAME = '(data (i32.const 256) "classifier")'
COMPUTE = """
  (drop (call $load_by_name (i32.const 256) (i32.const 10) (i32.const 512)))
  (drop (call $init_execution_context (i32.load (i32.const 512)) (i32.const 516)))
  (drop (call $compute (i32.load (i32.const 516))))"""
SPIN = "(loop br 0)"
# Harm is done to images 8 pixels wide; any other is answered well.
ON_WIDTH_8 = f"(if (i32.eq (i32.load offset=8 (local.get 0)) (i32.const 8)) (then {{}})) {ANSWER}"


def process(folder: Path, text: str, runtime: str, *, model: bytes = b"", timeout: float = 0.5) -> GuestProcess:
    (folder / "guest.wasm").write_bytes(wat(text))
    (folder / "model.tflite").write_bytes(model or identity())
    models: dict[str, Path | bytes] = {"classifier": folder / "model.tflite"}
    options = SandboxOptions(runtime=runtime, threads=1, guest=folder / "guest.wasm", limits=Limits(64 << 20, timeout))
    return GuestProcess(GuestRecipe("classify", models, options))


@contextmanager
def in_time(limit: float) -> Iterator[None]:
    begin = time.monotonic()
    with pytest.raises(GuestTimeout, match=f"used up its {limit:g} seconds"):
        yield
    assert time.monotonic() - begin < limit + 1


@pytest.mark.parametrize("harm", [SPIN, COMPUTE], ids=["loop", "model"])
def test_the_time_limit_is_kept_for_one_image(harm: str, runtime: str, tmp_path: Path) -> None:
    text = guest_text(ON_WIDTH_8.format(harm), more=f"{DATA} {NAME}")
    guest = process(tmp_path, text, runtime, model=endless())
    good = PIXELS[:, :4].copy()
    assert guest.classify(good, request()) == [(2, 0.75)]
    with in_time(0.5):
        guest.classify(PIXELS, request())
    assert guest.classify(good, request()) == [(2, 0.75)]


@pytest.mark.parametrize("where", ["(start $spin)", '(export "_initialize" (func $spin))'])
def test_the_time_limit_is_kept_before_the_first_image(where: str, runtime: str, tmp_path: Path) -> None:
    text = guest_text(ANSWER, more=f"{DATA} (func $spin {SPIN}) {where}")
    with pytest.raises(GuestTimeout, match=r"\.wasm: the guest used up its 0\.5 seconds"):
        process(tmp_path, text, runtime)


def test_a_process_that_dies_costs_one_image(runtime: str, tmp_path: Path) -> None:
    guest = process(tmp_path, guest_text(ON_WIDTH_8.format(SPIN), more=DATA), runtime, timeout=30)
    worker = guest._worker
    assert worker is not None
    os.kill(worker.pid, signal.SIGKILL)
    with pytest.raises(GuestTrap, match=r"the guest's process died \(signal 9\)"):
        guest.classify(PIXELS, request())
    assert guest.classify(PIXELS[:, :4].copy(), request()) == [(2, 0.75)]


def test_its_process_ends_with_it(runtime: str, tmp_path: Path) -> None:
    guest = process(tmp_path, guest_text(ANSWER, more=DATA), runtime)
    assert guest._worker is not None
    pid = guest._worker.pid
    os.kill(pid, 0)
    del guest
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_strangers_guest_answers_as_a_trusted_one(runtime: str, tmp_path: Path) -> None:
    path = tmp_path / "nearest.wasm"
    path.write_bytes(wat(NEAREST.read_text(encoding="utf-8")))
    foreign = Classifier(guest=path, runtime=runtime)
    assert isinstance(foreign.guest, GuestProcess)
    trusted = Classifier(guest=path, runtime=runtime, trust_guest=True)
    assert not isinstance(trusted.guest, GuestProcess)
    assert foreign(PHOTO) == trusted(PHOTO)
    assert foreign.guest.times["classifier"].calls == trusted.guest.times["classifier"].calls == 1
    assert foreign.guest.memory_size > 0
    with pytest.raises(GuestError, match=r"nearest\.wasm: the guest exports no function aicli_detect_faces"):
        GuestProcess(GuestRecipe("detect-faces", {}, SandboxOptions(runtime=runtime, guest=path)))


def test_the_command_line_says_so_in_one_line(runtime: str, tmp_path: Path) -> None:
    path = tmp_path / "spins.wasm"
    path.write_bytes(wat(guest_text(SPIN + ANSWER, more=DATA, memory="64")))
    line = [
        sys.executable,
        "-m",
        "aicli",
        "classify",
        "--guest",
        str(path),
        "--runtime",
        runtime,
        "--guest-timeout",
        "0.5",
    ]
    done = subprocess.run([*line, str(PHOTO)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
    assert "used up its 0.5 seconds" in done.stderr
