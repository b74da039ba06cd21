from __future__ import annotations

from pathlib import Path

import pytest

from aicli.catalog.labels import fit_labels, parse_labels, read_labels
from aicli.errors import LabelsError


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        (b"cat\ndog\n", ("cat", "dog")),
        (b"cat\r\ndog", ("cat", "dog")),
        (b"\xef\xbb\xbfcat\ndog\n\n\n", ("cat", "dog")),
        ("cat\ndog\n".encode("utf-16"), ("cat", "dog")),
        (b"0 cat\n1 big dog\n", ("cat", "big dog")),
        (b"0: cat\n1: dog\n", ("cat", "dog")),
        (b"1  dog\n0  cat\n", ("cat", "dog")),
        (b"2 cats\n3 dogs\n", ("2 cats", "3 dogs")),
        (b"0 cat\ndog\n", ("0 cat", "dog")),
        (b"cat\n\ndog\n", ("cat", "", "dog")),
        ("Käfer\n".encode(), ("Käfer",)),
    ],
)
def test_label_files(content: bytes, labels: tuple[str, ...]) -> None:
    assert parse_labels(content, "labels.txt") == labels


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\x00\xfe", b"a\0b", b"caf\xe9"])
def test_no_label_file(content: bytes) -> None:
    with pytest.raises(LabelsError, match=r"labels\.txt"):
        parse_labels(content, "labels.txt")


def test_missing_label_file(tmp_path: Path) -> None:
    with pytest.raises(LabelsError, match="No such file"):
        read_labels(tmp_path / "none.txt")


def test_background_class_is_added() -> None:
    labels, notes = fit_labels([f"class {index}" for index in range(1000)], 1001, "m")
    assert labels[:2] == ("background", "class 0")
    assert len(labels) == 1001
    assert "background" in notes[0]


def test_background_class_is_left_out() -> None:
    labels, notes = fit_labels(["background", *(f"class {index}" for index in range(1000))], 1000, "m")
    assert labels[0] == "class 0"
    assert len(labels) == 1000
    assert len(notes) == 1


@pytest.mark.parametrize(("given", "classes"), [(999, 1001), (1002, 1000), (5, 6), (965, 964), (0, 3)])
def test_any_other_difference_is_an_error(given: int, classes: int) -> None:
    with pytest.raises(LabelsError, match=f"{classes} classes.* {given} labels"):
        fit_labels(["x"] * given, classes, "m")
