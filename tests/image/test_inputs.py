"""aicli.image.inputs: what the words on a command line name."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aicli.errors import ImageError, UsageError
from aicli.image.inputs import Input, expand, in_natural_order, natural_key
from tests.corpus import samples_jpeg


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with photos in it and below it."""
    names = ["img10.jpg", "img2.JPG", "IMG1.png", "notes.txt", ".hidden.jpg", "b/c/deep.webp", "b/x.tif", ".git/y.jpg"]
    for name in names:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names_of(inputs: Iterator[Input]) -> list[str]:
    return [item.name.replace(os.sep, "/") for item in inputs]


def refused(item: Input) -> str:
    with pytest.raises(ImageError) as caught:
        item.source()
    message = str(caught.value)
    assert message.isprintable() and "; " in message
    return message


def test_files_are_taken_whatever_they_are_called(folder: Path) -> None:
    arguments = ["photos/notes.txt", "missing.jpg", "photos/img2.JPG"]
    items = list(expand(arguments))
    assert [item.name for item in items] == arguments
    assert [item.source() for item in items] == [Path(argument) for argument in arguments]


def test_folders_in_natural_order_without_hidden_names(folder: Path) -> None:
    expected = ["photos/b/c/deep.webp", "photos/b/x.tif", "photos/IMG1.png", "photos/img2.JPG", "photos/img10.jpg"]
    assert names_of(expand(["photos"])) == expected
    assert [item.source() for item in expand(["photos/"])] == [Path(name) for name in expected]


@pytest.mark.parametrize(
    ("alphabet", "length"),
    [("0123456789", 6), ("019aA._", 5), ("12\u0661\u0662b", 4), ("0123456789abcdefghijklmnop", 9)],
)
def test_natural_order_is_the_same_whether_names_are_alike_or_not(alphabet: str, length: int) -> None:
    chance = random.Random(alphabet)
    names = list({"".join(chance.choices(alphabet, k=chance.randint(1, length))) for _ in range(2000)})
    assert list(in_natural_order(names)) == sorted(names, key=natural_key)


def test_the_first_of_many_names_is_there_before_all_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("aicli.image.inputs.natural_key", lambda name: (asked.append(name), natural_key(name))[1])
    names = [f"IMG_{number}.jpg" for number in range(20_000)]
    assert next(in_natural_order(names[::-1])) == "IMG_0.jpg"
    assert len(asked) < 20


def test_include(folder: Path) -> None:
    assert names_of(expand(["photos"], include=["*.jpg"])) == ["photos/img2.JPG", "photos/img10.jpg"]
    assert names_of(expand(["photos"], include=["*.TXT", "deep*"])) == ["photos/b/c/deep.webp", "photos/notes.txt"]
    assert names_of(expand(["photos/notes.txt"], include=["*.jpg"])) == ["photos/notes.txt"]


def test_patterns_that_the_shell_left_alone(folder: Path) -> None:
    assert names_of(expand(["photos/*.jpg"])) == ["photos/img10.jpg"]
    assert names_of(expand(["photos/**/*.[tw][ei]*"])) == ["photos/b/c/deep.webp", "photos/b/x.tif"]
    (folder / "a[1].jpg").touch()
    assert names_of(expand(["a[1].jpg"])) == ["a[1].jpg"]
    (item,) = expand(["no*.jpg"])
    assert "no file matches" in refused(item)


def test_nothing_there(folder: Path) -> None:
    (folder / "empty").mkdir()
    (item,) = expand(["empty"])
    assert "no images in this folder" in refused(item)
    (item,) = expand(["photos"], include=["*.xyz"])
    assert "*.xyz" in refused(item)
    (item,) = expand([""])
    assert "an empty name" in refused(item)
    assert list(expand([])) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_links_form_no_loops_and_no_explosion(folder: Path) -> None:
    (folder / "photos/b/loop").symlink_to(folder / "photos")
    (folder / "photos/self.jpg").symlink_to(folder / "photos/self.jpg")
    found = names_of(expand(["photos"]))
    assert len(found) == 6 and found.count("photos/self.jpg") == 1
    # Two links from each folder to the next: 2**30 ways lead to the last one.
    for level in range(30):
        (folder / f"maze/{level}").mkdir(parents=True)
        for link in "ab":
            (folder / f"maze/{level}/{link}").symlink_to(folder / f"maze/{level + 1}")
    (folder / "maze/30").mkdir()
    (folder / "maze/30/end.jpg").touch()
    assert len(names_of(expand(["maze/0"]))) == 1


def test_unreadable_folders_are_one_failure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.listdir

    def guarded(path: str) -> list[str]:
        if path.endswith("b"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "listdir", guarded)
    first, *others = expand(["photos"])
    assert "cannot read the folder (Permission denied)" in refused(first)
    assert len(others) == 3


@pytest.mark.parametrize(
    ("data", "null"),
    [
        (b"a.jpg\nphotos\n", False),
        (b"\xef\xbb\xbfa.jpg\r\n\r\nphotos", False),
        (b"a.jpg\0photos\0", True),
        (b"a.jpg\0\0photos", True),
    ],
)
def test_lists_of_names(folder: Path, data: bytes, null: bool) -> None:
    (folder / "list").write_bytes(data)
    expected = ["first.jpg", "a.jpg", *names_of(expand(["photos"]))]
    assert names_of(expand(["first.jpg"], files_from="list", null=null)) == expected
    assert names_of(expand(["first.jpg"], files_from="-", null=null, stdin=io.BytesIO(data))) == expected


def test_names_in_lists_are_no_patterns_and_may_hold_anything(folder: Path) -> None:
    names = ["a b.jpg", "-", "*.jpg", "line\nbreak.jpg", os.fsdecode(b"\xff.jpg")]
    data = b"\0".join(map(os.fsencode, names))
    assert [item.path for item in expand([], files_from="-", null=True, stdin=io.BytesIO(data))] == list(
        map(Path, names)
    )


def test_lists_are_taken_as_they_arrive() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream, os.fdopen(writer, "wb", buffering=0) as sink:
        items = expand([], files_from="-", stdin=stream)
        sink.write(b"one.jpg\ntwo")
        assert next(items).name == "one.jpg"
        sink.write(b".jpg\n")
        assert next(items).name == "two.jpg"


def test_lists_that_are_none(folder: Path) -> None:
    for name in ("missing", ".", "nul\0"):
        with pytest.raises(UsageError, match="cannot be read"):
            expand([], files_from=name)
    with pytest.raises(UsageError, match="give -0 too"):
        list(expand([], files_from="-", stdin=io.BytesIO(b"a.jpg\0b.jpg\0")))
    with pytest.raises(UsageError, match="not a list of names"):
        list(expand([], files_from="-", stdin=io.BytesIO(b"x" * 1_000_000)))
    assert list(expand([], files_from="-", stdin=io.BytesIO())) == []
    with pytest.raises(UsageError, match="-: a PNG image, not a list of names; name it without files_from"):
        list(expand([], files_from="-", stdin=io.BytesIO(b"\x89PNG\r\n\x1a\n" + bytes(99))))
    for name in ("P1000123.jpg", "BMW.png", "GIF89a.gif", "ftypheic"):
        assert names_of(expand([], files_from="-", stdin=io.BytesIO(f"{name}\n".encode()))) == [name]


def test_standard_input_is_one_image() -> None:
    data = samples_jpeg()
    (item,) = expand(["-"])
    assert (item.name, item.path) == ("-", None)
    assert item.source(io.BytesIO(data)) == data
    for nothing, words in ((b"", "-: empty"), (b"%PDF-1.7", "a PDF document")):
        with pytest.raises(ImageError, match=words):
            item.source(io.BytesIO(nothing))


def test_a_terminal_is_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    (item,) = expand(["-"])
    for stdin in (Terminal(), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        assert "a terminal" in refused(item)


def test_standard_input_is_wanted_once() -> None:
    with pytest.raises(UsageError, match="can be given once"):
        expand(["-", "-"])
    with pytest.raises(UsageError, match="both an image"):
        expand(["-"], files_from="-")
    with pytest.raises(UsageError, match="name it with files_from"):
        expand(["a.jpg"], null=True)


def test_ten_thousand_files_take_no_memory(tmp_path: Path) -> None:
    for part in range(10):
        (tmp_path / f"{part}").mkdir()
        for number in range(1000):
            (tmp_path / f"{part}/{number}.jpg").touch()
    code = "import sys, tracemalloc; from aicli.image.inputs import expand; tracemalloc.start();"
    code += " print(sum(1 for _ in expand(sys.argv[1:])), tracemalloc.get_traced_memory()[1])"
    # In a process of its own: what other threads of this one take would count too.
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    count, peak = map(int, done.stdout.split())
    assert count == 10_000
    assert peak < 2_000_000  # one folder's names


def test_addresses_are_no_files_and_the_advice_can_be_pasted(folder: Path) -> None:
    for address, quoted in (
        ("https://example.org/a.jpg", "https://example.org/a.jpg"),
        ("http://example.org/a b.jpg?x=1&y=[2]", "'http://example.org/a b.jpg?x=1&y=[2]'"),
    ):
        (item,) = expand([address], program="aicli detect-faces")
        assert refused(item) == f"{address}: an address, not a file; curl -fsSL {quoted} | aicli detect-faces -"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs POSIX files")
def test_a_named_pipe_is_read_to_its_end_and_one_in_a_folder_is_not_waited_for(folder: Path) -> None:
    os.mkfifo("photos/pipe.jpg")
    (item,) = expand(["photos/pipe.jpg"])
    writer = threading.Thread(target=Path("photos/pipe.jpg").write_bytes, args=[samples_jpeg()])
    writer.start()
    assert item.source() == samples_jpeg()
    writer.join()
    (item,) = (item for item in expand(["photos"]) if item.name.endswith("pipe.jpg"))
    assert item.source() == Path("photos/pipe.jpg")  # whoever opens it refuses it


def test_what_is_no_image_by_its_suffix_is_told(folder: Path) -> None:
    told: list[str] = []
    list(expand(["photos"], passed_over=lambda path, why: told.append(path)))
    assert [name.replace(os.sep, "/") for name in told] == ["photos/notes.txt"]
    list(expand(["photos"], include=["*.jpg"], passed_over=lambda path, why: told.append(path)))
    assert len(told) == 1
