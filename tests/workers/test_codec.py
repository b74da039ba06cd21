"""Frames between a process and its workers."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import pytest

from aicli.errors import AicliError, UsageError, WriteError
from aicli.workers.codec import ANSWER, FAILURE, HEAD, JOB, READY, Codec, Plain, WireError, pack, receive


def read(data: bytes, codec: type[Codec]) -> tuple[int, Any]:
    return receive(io.BytesIO(data), codec)


@pytest.mark.parametrize(
    "value", [({"kind": "classify", "names": ["ä"]}, [b"", b"\x00" * 70_000, b"x"]), ({}, []), ({"a": 1.5}, [b"y"])]
)
def test_plain_frames_bring_objects_and_byte_strings(value: Any) -> None:
    for kind in (JOB, ANSWER):
        assert read(b"".join(pack(kind, value, Plain)), Plain) == (kind, value)


def test_large_byte_strings_are_not_copied() -> None:
    blob = b"x" * 100_000
    assert pack(JOB, ({}, [blob]), Plain)[-1] is blob


@pytest.mark.parametrize("error", [UsageError("no such thing"), WriteError("a.jpg", "No space left")])
def test_errors_keep_their_class_among_ourselves_and_their_words_with_others(error: AicliError) -> None:
    _, found = read(b"".join(pack(FAILURE, error, Codec)), Codec)
    assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))
    _, found = read(b"".join(pack(FAILURE, error, Plain)), Plain)
    assert (type(found), str(found)) == (AicliError, str(error))


def test_notes_arrive_with_both() -> None:
    assert read(b"".join(pack(READY, ("a", "b"), Codec)), Codec) == (READY, ("a", "b"))
    assert read(b"".join(pack(READY, ("a", "b"), Plain)), Plain) == (READY, ["a", "b"])


@pytest.mark.parametrize("size", range(0, 40, 7))
def test_a_torn_frame_is_the_end(size: int) -> None:
    with pytest.raises(EOFError):
        read(b"".join(pack(JOB, ({"a": "b" * 20}, [b"12345678"]), Plain))[:size], Plain)


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle of a worker was read",))


@pytest.mark.parametrize(
    "data",
    [
        HEAD.pack(ANSWER, 0, Plain.largest + 1),
        HEAD.pack(ANSWER, 65, 2) + b"\0" * 300,
        HEAD.pack(ANSWER, 1, 2) + b"\xff" * 4 + b"{}",
        HEAD.pack(ANSWER, 0, 2) + b"[]",
        HEAD.pack(ANSWER, 0, 3) + b"{]}",
        HEAD.pack(ANSWER, 0, 200_000) + b"[" * 200_000,
        HEAD.pack(ANSWER, 0, len(pickle.dumps(Bomb()))) + pickle.dumps(Bomb()),
    ],
    ids=["content", "count", "length", "list", "syntax", "depth", "pickle"],
)
def test_what_breaks_the_rules_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        read(data, Plain)


def test_a_plain_content_is_readable_by_anybody() -> None:
    assert json.loads(pack(JOB, ({"a": [1]}, []), Plain)[1]) == {"a": [1]}
