"""Broken and hostile .tflite files: a clear error each, and never the end of the process."""

from __future__ import annotations

import os
import random
import signal
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tiny_models import TinyModel, metadata_block, with_files

from aicli._files import cache_folder
from aicli.catalog import load_classifier, probe
from aicli.catalog.formats.tflite import read_model
from aicli.catalog.inspect import inspect_file
from aicli.errors import ModelError
from aicli.nn.engines import Engine, EngineDied
from aicli.nn.model_file.flatbuffer import DamagedError
from tests.made_models import divides_by

LABELS = [f"class {index}" for index in range(12)]
SEED = 20240607


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\0", "not a TFLite model"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"PK\x03\x04" + bytes(64), "zip"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "not a TFLite model"),
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
    refused = 0
    for changed in mutations(content, 3000):
        try:
            read_model(changed)
        except DamagedError as error:
            assert str(error).isprintable() and str(error)
            refused += 1
    assert (
        1000 < refused < 2999
    )  # those that are cut off, and those whose changed bit says nothing about the file's form


def test_metadata_reader_survives_anything(tmp_path: Path) -> None:
    block = metadata_block([127.0], [128.0], [("names.txt", "en")])
    names = {"names.txt": "\n".join(LABELS)}
    path = tmp_path / "model.tflite"
    for changed in mutations(block, 300):
        path.write_bytes(with_files(TinyModel().flat().describe(changed).finish(), names))
        assert [tensor.name for tensor in inspect_file(path).info.inputs] == ["image"]
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
    runs: list[Any] = []

    def crash(*_: object) -> None:
        runs.append(1)
        raise EngineDied("the model crashed the engine (SIGSEGV); the crash was contained in a process of its own")

    monkeypatch.setattr(probe, "_run_once", crash)
    path = tmp_path / "model.tflite"
    path.write_bytes(TinyModel().flat().finish())
    for _ in range(2):
        with pytest.raises(ModelError, match=r"crashed .*SIGSEGV.*contained"):
            load_classifier(path, LABELS, engine=engine)
    assert len(runs) == 1


def test_a_kill_is_not_remembered(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be this machine's state, such as its memory, and not the file's fault."""

    def killed(*_: object) -> None:
        raise EngineDied("the model crashed the engine", signal.SIGKILL)

    path = tmp_path / "model.tflite"
    path.write_bytes(TinyModel().flat().finish())
    with monkeypatch.context() as patch:
        patch.setattr(probe, "_run_once", killed)
        with pytest.raises(ModelError, match=r"crashed .*not used"):
            load_classifier(path, LABELS, engine=engine)
    load_classifier(path, LABELS, engine=engine)


def test_a_model_that_crashes_on_zeros_is_refused(tmp_path: Path, engine: Engine) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(divides_by(0))
    with pytest.raises(ModelError, match=r"crashed .*SIGFPE.*not used"):
        load_classifier(path, LABELS, engine=engine)


def test_file_that_never_ends(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT", 0.0)
    path = tmp_path / "model.tflite"
    path.write_bytes(TinyModel().flat().finish())
    with pytest.raises(ModelError, match="did not finish"):
        load_classifier(path, LABELS, engine=engine)


def test_unknown_file_is_tried_once(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(TinyModel().flat().finish())
    load_classifier(path, LABELS, engine=engine)
    monkeypatch.setattr(probe, "_run_once", lambda *_, **__: pytest.fail("tried again"))
    load_classifier(path, LABELS, engine=engine)


def kept_verdict(engine: Engine) -> Path:
    return next(path for path in (cache_folder() or Path()).joinpath("models").glob("*.bin"))


@pytest.mark.skipif(os.name != "posix", reason="owners and modes are those of POSIX")
@pytest.mark.parametrize("harm", ["writable by others", "a pipe", "a link", "forged", "very large", "another's"])
def test_a_verdict_of_somebody_else_is_not_believed(
    harm: str, tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AICLI_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "model.tflite"
    path.write_bytes(TinyModel().flat().finish())
    load_classifier(path, LABELS, engine=engine)
    verdict = kept_verdict(engine)
    if harm == "writable by others":
        verdict.chmod(0o666)
    elif harm == "a pipe":
        verdict.unlink()
        os.mkfifo(verdict, 0o600)
    elif harm == "a link":
        verdict.rename(tmp_path / "elsewhere")
        verdict.symlink_to(tmp_path / "elsewhere")
    elif harm == "forged":
        verdict.write_bytes(b"aicliwc1" + bytes(32))
    elif harm == "very large":
        os.truncate(verdict, 3 << 30)
    elif os.geteuid() == 0:
        os.chown(verdict, 12345, 12345)
    else:
        pytest.skip("needs root to give a file away")
    runs: list[Any] = []
    monkeypatch.setattr(probe, "_run_once", runs.append)
    load_classifier(path, LABELS, engine=engine)
    assert len(runs) == 1
