"""Label files as people have them."""

from __future__ import annotations

from pathlib import Path

import pytest

from aicli.catalog.formats.label_file import parse_labels
from aicli.catalog.labels import fit_labels, read_labels
from aicli.errors import LabelsError

FOUR = ("dog", "cat", "food", "bird")


@pytest.mark.parametrize(
    "name",
    [
        *("class_indices.json", "csv.txt", "csvhead.csv", "dash.txt", "data.yaml", "dot.txt", "eq.txt", "idx.json"),
        *("list.json", "one_based.txt", "quoted.txt", "synset.txt"),
    ],
)
def test_every_form_of_the_shared_cases(shared: Path, name: str) -> None:
    assert read_labels(shared / "cases" / "labels" / name) == FOUR


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("map.pbtxt", ("dog",)),
        ("photo5.txt", ("astronaut", "cat", "hotdog", "officer", "parrot")),
        ("tm.txt", ("Class 1", "Class 2", "Class 3", "Class 4")),
        ("fingers.txt", ("0 fingers", "1 finger", "2 fingers", "3 fingers")),
        ("four_lines.json", ("dog", "cat")),
    ],
)
def test_other_shared_cases(shared: Path, name: str, labels: tuple[str, ...]) -> None:
    assert read_labels(shared / "cases" / "labels" / name) == labels


def test_json_of_two_names_is_not_four_labels(shared: Path) -> None:
    with pytest.raises(LabelsError, match="4 classes, but there are 2 labels; give a name for each"):
        fit_labels(read_labels(shared / "cases" / "labels" / "four_lines.json"), 4, "m")
    with pytest.raises(LabelsError, match="4 classes, but there is 1 label;"):
        fit_labels(["dog"], 4, "m")


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
        (b"1) dog\n2) cat\n", ("dog", "cat")),
        (b"0\tdog\n1\tcat\n", ("dog", "cat")),
        (b"dog,0\ncat,1\n", ("dog", "cat")),
        (b"2 cats\n3 dogs\n", ("2 cats", "3 dogs")),
        (b"0 people\n1 person\n2 people\n", ("0 people", "1 person", "2 people")),
        (b"0: crane\n1: ox\n2: crane\n", ("crane", "ox", "crane")),
        (b"0 cat\ndog\n", ("0 cat", "dog")),
        (b"cat\n\ndog\n", ("cat", "", "dog")),
        (b"tench, Tinca tinca\ngoldfish, Carassius auratus\n", ("tench, Tinca tinca", "goldfish, Carassius auratus")),
        (b"n01440764 tench, Tinca tinca\nn01443537 goldfish\n", ("tench, Tinca tinca", "goldfish")),
        (b"n01440764\nn01443537\n", ("n01440764", "n01443537")),
        (b"0: n01440764 tench\n1: n01443537 goldfish\n", ("tench", "goldfish")),
        (b'0,"dog, big"\n1,"cat"\n', ("dog, big", "cat")),
        (b"7\n8\n9\n", ("7", "8", "9")),
        ("Käfer\n".encode(), ("Käfer",)),
        (b"[\n  'no', json\n]\n", ("[", "'no', json", "]")),
        (b'["a", "b"]', ("a", "b")),
        (b'{"0": ["n01440764", "tench"], "1": ["n01443537", "goldfish"]}', ("tench", "goldfish")),
        (b'{"id2label": {"1": "dog", "0": "cat"}, "hidden_size": 64}', ("cat", "dog")),
        (b'{"names": ["a", "b"], "nc": 2}', ("a", "b")),
        (b'[{"id": 2, "name": "dog"}, {"id": 1, "name": "cat"}]', ("cat", "dog")),
        (b'{"categories": [{"name": "dog"}, {"name": "cat"}]}', ("dog", "cat")),
        (b"path: data\nnames: ['dog', \"cat\"]  # two\nnc: 2\n", ("dog", "cat")),
        (b"names:\n- dog\n- cat\nnc: 2\n", ("dog", "cat")),
        (b"nc: 2\nnames:\n  1: 'dog: big'\n  # the other\n  0: cat # small\n", ("cat", "dog: big")),
        (b"names: {0: dog, 1: cat}\n", ("dog", "cat")),
        (b"label;id\ndog;1\ncat;0\n", ("cat", "dog")),
        (b"class,description\ndog,barks\n", ("class,description", "dog,barks")),
        (b"index\tlabel\n0\tdog\n1\tcat\n", ("dog", "cat")),
        (b'item { name: "n1" id: 2 display_name: "cat" }\nitem { id: 1\n name: \'dog\' }', ("dog", "cat")),
    ],
)
def test_label_files(content: bytes, labels: tuple[str, ...]) -> None:
    assert parse_labels(content, "labels.txt") == labels


@pytest.mark.parametrize(
    ("content", "looks"),
    [
        (b"", "no labels"),
        (b"\n\n", "no labels"),
        (b"\xff\x00\xfe", "not UTF-8"),
        (b"a\0b", "not a text file"),
        (b"caf\xe9", "not UTF-8"),
        (b"\x1c\0\0\0TFL3", "a .tflite model"),
        (b"PK\x03\x04", "a zip file"),
        (b"\xff\xd8\xff\xe0", "a JPEG image"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b'{"a": {"b": 1}}', "JSON with the keys a"),
        (b'{"dog": 0, "cat": 5}', "JSON"),
        (b'{"dog": 0, ', "looks like JSON and is none"),
        (b"[1, 2]", "JSON"),
        (b"names: &x\n", "YAML"),
        (b"names:\n  0: dog\n  5: cat\n", "YAML"),
        (b'item { id: 7 name: "x" }', "pbtxt"),
    ],
)
def test_what_is_no_label_file_names_what_it_looks_like(content: bytes, looks: str) -> None:
    with pytest.raises(LabelsError, match=rf"labels\.txt: .*{looks}"):
        parse_labels(content, "labels.txt")


def test_all_names_in_one_line() -> None:
    assert fit_labels(("dog, cat,food",), 3, "m") == (("dog", "cat", "food"), ())
    assert fit_labels(("dog, big",), 1, "m") == (("dog, big",), ())


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
