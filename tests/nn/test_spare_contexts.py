"""Guests that get a fresh instance for every image: nothing of one image reaches the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aicli import Classifier, FaceDetector
from aicli.nn.engines import load_engine
from aicli.nn.session import NnError, Session, SpareContexts, TensorType

MODELS = {"pnet": Path(__file__).resolve().parents[2] / "models" / "pnet.tflite"}
SHAPE = (1, 12, 12, 3)


def feed(session: Session, context: int, value: float, shape: tuple[int, ...] = SHAPE) -> None:
    data = np.full(shape, value, np.float32).reshape(-1).view(np.uint8)
    session.set_input(context, 0, shape, (TensorType.F32,), data)


def begin(spare: SpareContexts) -> tuple[Session, int]:
    session = Session(load_engine(), MODELS, 1, spare=spare)
    return session, session.init_execution_context(session.load_by_name("pnet"))


def test_a_context_comes_back_empty() -> None:
    spare = SpareContexts()
    session, context = begin(spare)
    session.compute(context)
    from_nothing = session.context(context).output(1).tobytes()
    feed(session, context, 0.9)
    session.compute(context)
    secret = session.context(context).output(1).tobytes()
    used = session.context(context)
    assert secret != from_nothing
    session.release()
    with pytest.raises(NnError):
        session.context(context)

    session, context = begin(spare)
    assert session.context(context) is used
    with pytest.raises(NnError, match="before it was computed"):
        session.context(context).output(1)
    session.compute(context)
    assert session.context(context).output(1).tobytes() == from_nothing


def test_a_context_of_the_right_shape_is_taken() -> None:
    spare = SpareContexts()
    session, small = begin(spare)
    large = session.init_execution_context(1)
    feed(session, small, 0.1)
    feed(session, large, 0.1, (1, 40, 24, 3))
    planned = session.context(large)
    session.release()
    session, context = begin(spare)
    other = session.init_execution_context(1)
    feed(session, context, 0.1, (1, 40, 24, 3))
    assert session.context(context) is planned
    assert session.context(other) is not planned


def test_answers_with_fresh_guests_are_the_same(examples: Path, runtime: str) -> None:
    photo = Image.open(examples / "astronaut.png").convert("RGB")
    pictures = [photo, photo.resize((300, 280)), photo.crop((150, 0, 350, 200)), photo]
    warm, fresh = (FaceDetector(runtime=runtime, fresh_guest=choice) for choice in (False, True))
    assert [fresh(picture) for picture in pictures] == [warm(picture) for picture in pictures]
    classifier = Classifier(runtime=runtime, fresh_guest=True)
    assert classifier(photo) == classifier(photo) == Classifier(runtime=runtime)(photo)
