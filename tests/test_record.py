"""Records: frozen values with named fields, as a dataclass has them."""

from __future__ import annotations

import copy
import pickle
from inspect import signature

import pytest

from aicli._record import Record


class Place(Record):
    name: str
    size: int = 3


class Other(Record):
    name: str
    size: int = 3


def test_fields_by_place_and_by_name() -> None:
    assert Place("a", 4) == Place(name="a", size=4) == Place("a", size=4)
    assert Place("a").size == 3
    assert repr(Place("a")) == "Place(name='a', size=3)"
    assert str(signature(Place)) == "(name: 'str', size: 'int' = 3)"


def test_compared_and_hashed_by_value_within_a_class() -> None:
    assert Place("a") == Place("a") and hash(Place("a")) == hash(Place("a"))
    assert Place("a") != Place("b") and Place("a") != Other("a")


@pytest.mark.parametrize(
    ("values", "keywords", "said"),
    [
        ((), {}, "Place needs a value for name"),
        (("a", 1, 2), {}, "Place has 2 fields and was given 3 values"),
        (("a",), {"name": "b"}, "Place has no field 'name', or was given it twice"),
        (("a",), {"side": 1}, "Place has no field 'side', or was given it twice"),
    ],
)
def test_what_does_not_fit_is_refused(values: tuple[object, ...], keywords: dict[str, object], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Place(*values, **keywords)  # type: ignore[arg-type]


def test_frozen() -> None:
    place = Place("a")
    with pytest.raises(AttributeError, match="Place is frozen"):
        place.size = 4  # type: ignore[misc]
    with pytest.raises(AttributeError, match="Place is frozen"):
        del place.size
    assert place.replace(size=4) == Place("a", 4) and place.size == 3


def test_goes_to_other_processes() -> None:
    place = Place("a", 4)
    assert pickle.loads(pickle.dumps(place)) == place == copy.deepcopy(place)
