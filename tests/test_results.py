"""Results as plain values: the words beside scores, and the numbers in records."""

from __future__ import annotations

import pytest

from aicli.results import Box, Classification, Face, Landmarks, Point, Prediction, confidence_word


@pytest.mark.parametrize(
    ("score", "word"),
    [
        *((1.0, "very high"), (0.751, "very high"), (0.75, "high"), (0.501, "high"), (0.5, "medium")),
        *((0.201, "medium"), (0.2, "low"), (0.0, "low")),
    ],
)
def test_words_begin_above_their_bounds(score: float, word: str) -> None:
    assert confidence_word(score) == word


def test_the_best_is_the_first_or_none() -> None:
    first, second = Prediction(3, "cat", 0.8), Prediction(1, "dog", 0.1)
    assert Classification("a.jpg", 4, 3, "m", (first, second)).best is first
    assert Classification("a.jpg", 4, 3, "m", ()).best is None


def test_a_record_of_a_label_has_six_digits_and_says_what_was_looked_at_where_it_is_not_all() -> None:
    answer = Classification("a.jpg", 4, 3, "m", (Prediction(3, "cat", 0.87654321),))
    record = {"image": "a.jpg", "width": 4, "height": 3, "model": "m"}
    labels = [{"index": 3, "label": "cat", "score": 0.876543, "confidence": "very high"}]
    assert answer.to_dict() == {**record, "predictions": labels}
    second = answer.replace(frame=1, frames=2, part="embedded JPEG")
    more = {"frames": 2, "frame": 1, "part": "embedded JPEG"}
    assert second.to_dict() == {**record, **more, "predictions": labels}
    assert list(answer.replace(frame=0, frames=2).to_dict())[4:] == ["frames", "frame", "predictions"]


def test_places_in_records_have_two_digits_and_scores_six() -> None:
    points = Landmarks(*(Point(number + 0.12345, number + 0.56789) for number in range(5)))
    face = Face(Box(1.23456, -2.34567, 30.45678, 40.56789), 0.98765432, points)
    assert face.to_dict() == {
        "box": [1.23, -2.35, 30.46, 40.57],
        "score": 0.987654,
        "landmarks": {
            "left_eye": [0.12, 0.57],
            "right_eye": [1.12, 1.57],
            "nose": [2.12, 2.57],
            "mouth_left": [3.12, 3.57],
            "mouth_right": [4.12, 4.57],
        },
    }
    assert face._replace(turn=90).to_dict()["turn"] == 90
