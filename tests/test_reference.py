"""The documentation's references are what the program says, and the snippets of docs/python.md run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import aicli
from aicli import Box

PROJECT = Path(__file__).resolve().parent.parent
PYTHON = (PROJECT / "docs" / "python.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```python\n(.*?)^```", PYTHON, re.MULTILINE | re.DOTALL)


def test_the_references_are_what_the_program_says() -> None:
    done = subprocess.run(
        [sys.executable, "tools/reference.py", "--check"], cwd=PROJECT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run: python tools/reference.py"


def test_python_is_not_told_of_flags() -> None:
    table = PYTHON.partition("<!-- reference: options -->")[2].partition("<!-- end of reference -->")[0]
    assert "`guest`" in table and "--" not in re.sub(r"\| -+ ", "", table)


def test_the_manual_page_is_read_without_a_warning() -> None:
    man = shutil.which("man")
    if man is None:
        pytest.skip("no man here")
    command = [man, "--warnings", "-l", str(PROJECT / "man" / "aicli.1")]
    done = subprocess.run(
        command, env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"}, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    for words in ("aicli detect-faces [OPTIONS]", "--max-pixels N", "aicli models pull", "EXIT STATUS"):
        assert words in re.sub(r".\x08", "", done.stdout), words


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_the_snippets_run(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    exec(compile(SNIPPETS[number], f"docs/python.md, snippet {number + 1}", "exec"), {"__name__": "snippet"})


def test_what_is_exported_is_there_and_described() -> None:
    assert sorted(aicli.__all__) == aicli.__all__
    assert set(aicli.__all__) == {*aicli._PUBLIC, "__version__"}
    for name in aicli._PUBLIC:
        assert getattr(aicli, name) is not None
        assert re.search(rf"\b{name}\b", PYTHON), f"docs/python.md does not mention {name}"
    with pytest.raises(AttributeError):
        aicli.nothing  # noqa: B018


def test_every_error_can_be_imported_from_the_top() -> None:
    from aicli import errors

    assert {name for name in errors.__all__ if getattr(aicli, name) is getattr(errors, name)} == set(errors.__all__)


def test_boxes() -> None:
    box = Box(0, 0, 10, 10)
    assert box.iou(Box(20, 20, 30, 30)) == 0
    assert box.iou(box) == 1
    assert Box(5, 5, 5, 5).iou(Box(5, 5, 5, 5)) == 0
    assert Box(10, 10, 0, 0).area == 0
    assert Box(-30, -20, -5, -2).clip(100, 50).area == 0
    assert box.scale(2, 3) == (0, 0, 20, 30)


def test_a_closed_object_says_so() -> None:
    import numpy as np

    with aicli.FaceDetector() as detect:
        assert detect(np.zeros((40, 40, 3), np.uint8)).faces == ()
    detect.close()
    with pytest.raises(aicli.UsageError, match="closed"):
        detect(np.zeros((40, 40, 3), np.uint8))


def test_a_call_overrides_the_options(examples: Path) -> None:
    detect = aicli.FaceDetector()
    photo = examples / "astronaut.png"
    (face,) = detect(photo).faces
    assert detect(photo, min_score=1).faces == ()
    assert detect(photo, min_size=400).faces == ()
    with pytest.raises(aicli.UsageError, match="max_faces"):
        detect(photo, max_faces=-1)
    assert detect(photo).faces == (face,)


@pytest.mark.parametrize(
    ("words", "near"),
    [(["clasify"], "'classify'"), (["models", "lst"], "'list'"), (["classify", "--ouput", "x"], "'--output'")],
)
def test_a_mistyped_word_is_answered_with_the_near_one(
    words: list[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from aicli.cli.main import run

    assert run(words) == 2
    assert near in capsys.readouterr().err
