"""The process for TensorFlow graphs, tried without TensorFlow. tests/run/test_tensorflow.py runs graphs there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aicli.nn.dialects.graphs_process import checked
from aicli.nn.values import NnError

PROJECT = Path(__file__).resolve().parents[2]
ATTEMPTS = """
import os, socket, sys
from aicli.nn.isolation.confine import confine
folder, outside = sys.argv[1:]
layers = confine(1 << 30, [folder, "/dev/urandom"])
inside = os.path.join(folder, "inside")
attempts = {
    "read outside": lambda: open(outside).read(),
    "read outside through a link": lambda: open(os.path.join(folder, "link")).read(),
    "list outside": lambda: os.listdir(os.path.dirname(outside)),
    "write inside": lambda: open(inside, "r+"),
    "make inside": lambda: open(os.path.join(folder, "new"), "w"),
    "append": lambda: os.open(inside, os.O_RDONLY | os.O_TRUNC),
    "unlink": lambda: os.unlink(inside),
    "rename": lambda: os.rename(inside, inside + "2"),
    "a socket": lambda: socket.socket(),
    "a copy of the process": os.fork,
}
for name, attempt in attempts.items():
    try:
        attempt()
    except OSError:
        continue
    print("possible:", name)
print(open(inside).read(), sorted(os.listdir(folder)), len(open("/dev/urandom", "rb").read(4)))
print("layers:", *layers)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these layers")
def test_a_folder_may_be_read_and_nothing_else(tmp_path: Path) -> None:
    folder, outside = tmp_path / "granted", tmp_path / "outside"
    folder.mkdir()
    (folder / "inside").write_text("content")
    outside.write_text("secret")
    (folder / "link").symlink_to(outside)
    line = [sys.executable, "-c", ATTEMPTS, str(folder), str(outside)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=PROJECT, check=False)
    if "seccomp" not in done.stdout or "landlock" not in done.stdout:
        pytest.skip(f"this kernel lacks a layer: {done.stdout}{done.stderr}")
    assert done.stdout == "content ['inside', 'link'] 4\nlayers: limits no new privileges landlock seccomp\n", (
        done.stderr
    )


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"types": ["float32"], "shapes": []},
        {"types": ["float32"] * 2, "shapes": [[1]] * 2},
        {"types": ["object"], "shapes": [[1]]},
        {"types": ["O"], "shapes": [[1]]},
        {"types": [["float32"]], "shapes": [[1]]},
        {"types": ["float32"], "shapes": [[-1]]},
        {"types": ["float32"], "shapes": [[True]]},
        {"types": ["float32"], "shapes": [[1.5]]},
        {"types": ["float32"], "shapes": [[1] * 33]},
        {"types": ["float32"], "shapes": ["1"]},
        {"types": "f", "shapes": [[1]]},
    ],
)
def test_outputs_that_cannot_be_are_not_believed(answer: Any) -> None:
    with pytest.raises(NnError, match="impossible outputs"):
        checked(answer, 1)


def test_outputs_of_numbers_and_of_others() -> None:
    answer = {"types": ["int64", "", "float16"], "shapes": [[2, 0], [3], []]}
    assert checked(answer, 3) == [("int64", (2, 0)), ("", ()), ("float16", ())]
