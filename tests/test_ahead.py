"""The engine's library is there before Python asks for it, and only where the command needs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="nothing is loaded ahead elsewhere")

LOADED = """
import sys
from aicli._ahead import load_ahead, wait_until_loaded
from aicli.nn.engines import native_library
load_ahead(sys.argv[1:])
wait_until_loaded()
assert "numpy" not in sys.modules and "ai_edge_litert" not in sys.modules
print(str(native_library()) in open("/proc/self/maps").read())
"""
WITHOUT = """
import sys
from aicli import _ahead
from aicli.nn import engines
engines.ENGINES = {"litert": ("no_such_package", "none")}
sys.argv[1:] = ["classify", "photo.jpg"]
_ahead.load_ahead(sys.argv[1:])
_ahead.wait_until_loaded()
"""
ORDER = """
import sys
from aicli import _ahead

def waiting(wait=_ahead.wait_until_loaded):
    wait()
    waited.append("numpy" not in sys.modules)

waited, _ahead.wait_until_loaded = [], waiting
from aicli.cli.main import run
run(sys.argv[1:])
print("numpy" in sys.modules, waited[0])
"""


def run(program: str, *arguments: str, **more: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "AICLI_ENGINE"} | more
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


@pytest.mark.parametrize("line", ["classify photo.jpg", "detect-faces -o out/ photos/", "classify -m my.tflite a.jpg"])
def test_the_library_is_loaded_in_a_thread(line: str) -> None:
    pytest.importorskip("ai_edge_litert")
    assert run(LOADED, *line.split()) == "True"


@pytest.mark.parametrize(
    "line",
    [
        *("", "--help", "classify --help", "classify -h", "models list", "a.jpg"),
        *("classify a.jpg --jobs=2", "classify a.jpg -j2", "classify --cluster local photos/"),
        "classify --engine tflite-runtime a.jpg",
    ],
)
def test_nothing_is_loaded_for_what_does_not_need_it(line: str) -> None:
    assert run(LOADED, *line.split()) == "False"


@pytest.mark.parametrize("options", ["", "-o {out}", "--cover solid -o {out}", "--cover {photo} -o {out}"])
def test_numpy_is_imported_after_the_wait(options: str, tmp_path: Path) -> None:
    photo = PROJECT / "examples" / "astronaut.png"
    words = options.format(out=tmp_path / "out.png", photo=photo).split()
    assert run(ORDER, "detect-faces", *words, str(photo)).splitlines()[-1] == "True True"


def test_another_engine_by_the_environment_is_respected() -> None:
    assert run(LOADED, "classify", "photo.jpg", AICLI_ENGINE="tflite-runtime") == "False"


def test_a_missing_package_is_left_to_who_needs_it() -> None:
    assert run(WITHOUT) == ""
