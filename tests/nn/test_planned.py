"""Networks that are planned before the first image, and the memory that they leave to others."""

from __future__ import annotations

import mmap
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aicli import Classifier
from aicli.nn.context import plan_contexts
from aicli.nn.engines import Engine, load_engine
from aicli.nn.resident import LARGE, drop_pages

PROJECT = Path(__file__).resolve().parents[2]
MODELS = PROJECT / "models"
LINUX = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="Linux says what is in memory")


def resident(path: Path) -> list[int]:
    """Kilobytes in memory of each place where this process has mapped the file."""
    blocks = re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text(), flags=re.MULTILINE)
    return [int(re.findall(r"^Rss: +(\d+)", block, re.MULTILINE)[0]) for block in blocks if str(path) in block]


def test_the_first_image_finds_its_network_planned(
    runtime: str, engine: str, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    allocated: list[Any] = []
    allocate = Engine.allocate

    def counted(self: Engine, interpreter: Any) -> None:
        allocated.append(interpreter)
        allocate(self, interpreter)

    monkeypatch.setattr(Engine, "allocate", counted)
    classifier = Classifier(runtime=runtime, engine=engine)
    assert len(allocated) == 1
    first = classifier(examples / "astronaut.png")
    assert len(allocated) == 1
    assert classifier(examples / "astronaut.png") == first


def test_a_network_that_cannot_be_planned_is_left_to_the_first_image(tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"no model")
    models = {"pnet": MODELS / "pnet.tflite", "broken": broken}
    shapes = {"broken": (1, 2, 2, 3), "pnet": (1, 24, 24, 3)}
    spare = plan_contexts(load_engine(), models, 1, shapes)
    assert not spare.has("broken")
    context = spare.take("pnet", (1, 24, 24, 3))
    assert context is not None
    assert context.is_planned_for((1, 24, 24, 3))


FORKED = """
import os, signal, sys
from aicli import Classifier
classifier = Classifier(engine=sys.argv[2], threads=2)
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if classifier(sys.argv[1]).predictions else 1)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
sys.exit(code or not classifier(sys.argv[1]).predictions)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_copied_process_waits_for_no_thread_that_it_lacks(engine: str, examples: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FORKED, str(examples / "astronaut.png"), engine]
    done = subprocess.run(command, env=environment, check=False, timeout=120)
    assert done.returncode == 0


@LINUX
def test_a_planned_model_leaves_no_file_in_memory(tmp_path: Path, engine: str, examples: Path) -> None:
    model = tmp_path / "a (model) of+mine.tflite"
    shutil.copy(MODELS / "efficientnet_lite0.tflite", model)
    classifier = Classifier(str(model), labels=MODELS.parent / "labels" / "imagenet_1000.txt", engine=engine)
    found = resident(model)
    assert found, "the interpreter maps its model"
    assert max(found) < 1024, "kB of 9,071"
    first = classifier(examples / "astronaut.png")
    drop_pages(model)
    assert classifier(examples / "astronaut.png") == first


@LINUX
def test_what_is_dropped_can_be_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = os.urandom(LARGE) + b"end"
    path.write_bytes(content)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        assert data[:] == content
        assert resident(path)[0] >= LARGE >> 10
        drop_pages(path)
        assert resident(path) == [0]
        assert data[:] == content


@LINUX
def test_what_was_written_is_not_dropped(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(2 * LARGE))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as private:
        private[:] = b"x" * len(private)
        drop_pages(path)
        assert private[:] == b"x" * len(private)


def test_files_that_are_not_there_are_nobodys_concern(tmp_path: Path) -> None:
    drop_pages(tmp_path / "absent")
