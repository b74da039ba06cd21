"""docs/guest-abi.md is enough to write a guest from: here is one in WebAssembly text."""

from __future__ import annotations

from pathlib import Path

import pytest

from aicli import Classifier
from aicli.errors import GuestError, GuestFault
from aicli.wasm import installed_runtimes
from tests.wasm.hostile import PIXELS, make_guest, request, wat

HERE = Path(__file__).parent
PHOTO = HERE.parent.parent / "examples" / "grace_hopper.jpg"


@pytest.fixture
def nearest(tmp_path: Path) -> Path:
    path = tmp_path / "nearest.wasm"
    path.write_bytes(wat((HERE / "nearest.wat").read_text(encoding="utf-8")))
    return path


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_classifies_a_photo(nearest: Path, runtime: str) -> None:
    classifier = Classifier(guest=nearest, runtime=runtime, trust_guest=True)
    for _ in range(2):
        answer = classifier(PHOTO)
        assert answer.best is not None
        assert answer.best.label == "military uniform"
        assert len(answer.predictions) == 1


@pytest.mark.parametrize("runtime", installed_runtimes())
def test_says_why_it_cannot(nearest: Path, runtime: str, tmp_path: Path) -> None:
    guest = make_guest(tmp_path, nearest.read_bytes(), runtime)
    wanted = request()
    wanted.input.dtype = "uint8"  # type: ignore[misc]
    with pytest.raises(GuestFault, match=r"status 1: nearest\.wat wants a float32 model"):
        guest.classify(PIXELS, wanted)


@pytest.mark.parametrize("name", ["planes", "planes_grey", "int16_signed", "logit_grey"])
def test_a_guest_for_the_shorter_record_is_refused_for_what_that_cannot_say(nearest: Path, name: str) -> None:
    model = HERE.parent / "data" / "classifiers" / f"{name}.tflite"
    with pytest.raises(GuestError, match=r"nearest\.wasm: this guest does not know .*aicli_features"):
        Classifier(model, guest=nearest)


def test_a_guest_whose_features_have_another_type_is_refused(tmp_path: Path) -> None:
    text = (HERE / "nearest.wat").read_text(encoding="utf-8")
    path = tmp_path / "other.wasm"
    path.write_bytes(wat(text.rstrip().removesuffix(")") + '(func (export "aicli_features") (param i32)))'))
    with pytest.raises(GuestError, match="aicli_features has another type"):
        Classifier(guest=path)
