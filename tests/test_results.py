"""Results as plain values: the words beside scores, and the arithmetic of boxes."""

from __future__ import annotations

import pytest

from aicli.results import confidence_word


@pytest.mark.parametrize(
    ("score", "word"),
    [
        *((1.0, "very high"), (0.751, "very high"), (0.75, "high"), (0.501, "high"), (0.5, "medium")),
        *((0.201, "medium"), (0.2, "low"), (0.0, "low")),
    ],
)
def test_words_begin_above_their_bounds(score: float, word: str) -> None:
    assert confidence_word(score) == word
