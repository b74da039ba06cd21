"""Broken and hostile .tflite files: a clear error each, and never the end of the process."""

from __future__ import annotations

import random
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from tiny_models import TinyModel, metadata_block, with_files

from aicli.catalog import load_classifier, probe
from aicli.catalog.formats.tflite import read_model
from aicli.catalog.inspect import inspect_file
from aicli.errors import ModelError
from aicli.nn.engines import Engine
from aicli.nn.model_file.flatbuffer import DamagedError

LABELS = [f"class {index}" for index in range(12)]
SEED = 20240607


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0", "no TFLite model"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\x03\x04" + bytes(64), "zip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "no TFLite model"),
        (bytes(4) + b"TFL3" + bytes(8), "damaged"),
        (b"\xff\xff\xff\xffTFL3" + bytes(8), "damaged"),
    ],
)
def test_other_formats(tmp_path: Path, engine: Engine, content: bytes, words: str) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        load_classifier(path, LABELS, engine=engine)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def mutations(content: bytes, count: int) -> list[bytes]:
    """Truncated, bit-flipped and overwritten copies."""
    chance = random.Random(SEED)
    made = []
    for number in range(count):
        changed = bytearray(content)
        at = chance.randrange(len(content))
        if number % 3 == 0:
            changed = changed[:at]
        elif number % 3 == 1:
            changed[at] ^= 1 << chance.randrange(8)
        else:
            at -= at % 4
            changed[at : at + 4] = struct.pack("<i", chance.choice([-1, 2**31 - 1, -(2**31), 0, 1 << 16]))
        made.append(bytes(changed))
    return made


def test_reader_survives_anything() -> None:
    """No index beyond the file, no endless loop, no memory for a length that the file cannot hold."""
    block = metadata_block([127.0], [128.0], [("names.txt", "en")])
    content = TinyModel().flat(last="SOFTMAX").describe(block).finish()
    for changed in mutations(content, 3000):
        with suppress(DamagedError):
            read_model(changed)


def test_metadata_reader_survives_anything(tmp_path: Path) -> None:
    block = metadata_block([127.0], [128.0], [("names.txt", "en")])
    names = {"names.txt": "\n".join(LABELS)}
    path = tmp_path / "model.tflite"
    for changed in mutations(block, 300):
        path.write_bytes(with_files(TinyModel().flat().describe(changed).finish(), names))
        inspect_file(path)
    whole = with_files(TinyModel().flat().describe(block).finish(), names)
    for changed in mutations(whole, 300):
        path.write_bytes(changed)
        with suppress(ModelError):
            inspect_file(path)


@pytest.mark.slow
def test_hundred_broken_files(tmp_path: Path, engine: Engine) -> None:
    content = TinyModel().flat(last="SOFTMAX").finish()
    path = tmp_path / "model.tflite"
    refused = 0
    for changed in mutations(content, 100):
        path.write_bytes(changed)
        try:
            load_classifier(path, LABELS, engine=engine)
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 30


def test_huge_declared_tensor(tmp_path: Path, engine: Engine) -> None:
    made = TinyModel(shape=(1, 8000, 8000, 3))
    huge = made.tensor("huge", "float32", (1, 2**31 - 1))
    made.outputs.append(huge)
    path = tmp_path / "model.tflite"
    path.write_bytes(made.finish())
    with pytest.raises(ModelError):
        load_classifier(path, LABELS, engine=engine)


def test_crash_is_contained_and_remembered(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []

    def crash(command: list[str], **options: object) -> subprocess.CompletedProcess[bytes]:
        runs.append(command)
        return subprocess.CompletedProcess(command, -11, b"", b"")

    monkeypatch.setattr(probe.subprocess, "run", crash)
    path = tmp_path / "model.tflite"
    path.write_bytes(TinyModel().flat().finish())
    for _ in range(2):
        with pytest.raises(ModelError, match=r"crashes .*SIGSEGV.*contained"):
            load_classifier(path, LABELS, engine=engine)
    assert len(runs) == 1


def test_file_that_never_ends(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT", 0.01)
    path = tmp_path / "model.tflite"
    path.write_bytes(TinyModel().flat().finish())
    with pytest.raises(ModelError, match="did not finish"):
        load_classifier(path, LABELS, engine=engine)


def test_unknown_file_is_tried_once(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(TinyModel().flat().finish())
    load_classifier(path, LABELS, engine=engine)
    monkeypatch.setattr(probe.subprocess, "run", lambda *_, **__: pytest.fail("tried again"))
    load_classifier(path, LABELS, engine=engine)
