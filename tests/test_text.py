"""Words for people: numbers with their nouns."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from aicli._text import counted

PACKAGE = Path(__file__).resolve().parents[1] / "aicli"


@pytest.mark.parametrize(
    ("number", "word", "said"),
    [
        (1, "photo", "1 photo"),
        (1.0, "second", "1 second"),
        (0.5, "second", "0.5 seconds"),
        (0, "byte", "0 bytes"),
        (2, "class", "2 classes"),
        (1234567, "byte", "1234567 bytes"),
    ],
)
def test_numbers_have_their_nouns(number: float, word: str, said: str) -> None:
    assert counted(number, word) == said


def test_seconds_that_a_user_gives_are_not_always_several() -> None:
    fixed = [
        found
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.JoinedStr)
        for found in re.findall(r"[a-z_.]+:g} seconds", ast.unparse(node))
    ]
    assert fixed == []
