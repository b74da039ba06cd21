"""Every file of the corpus gives an image or an ImageError, quickly and quietly."""

from __future__ import annotations

import signal
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from aicli.errors import ImageError
from aicli.image.decode import DecodedImage, open_image
from tests.corpus import Case, build

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs POSIX files and alarms")

SECONDS = 5


class Hang(BaseException):
    """No Exception, so that the decoder's own handling of errors cannot swallow it."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return build(tmp_path_factory.mktemp("c"))


@pytest.fixture
def alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def attempt(path: Path) -> DecodedImage | ImageError:
    try:
        return open_image(path)
    except ImageError as error:
        return error


def wrong(case: Case, answer: DecodedImage | ImageError) -> str | None:
    """What is wrong with ``answer``, if anything."""
    if isinstance(answer, ImageError):
        message = str(answer)
        if case.outcome == "image":
            return message
        if not message.isprintable() or "; " not in message or len(message) > 900:
            return f"not one line with a next step: {message!r}"
        return None
    pixels = answer.pixels
    if case.outcome == "error":
        return f"decoded to {pixels.shape}"
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.flags.c_contiguous:
        return f"pixels of {pixels.dtype}, {pixels.shape}"
    return None


@pytest.mark.usefixtures("alarm")
def test_every_file_is_answered(corpus: list[Case], capfd: pytest.CaptureFixture[str]) -> None:
    assert len(corpus) >= 300
    failures = []
    for case in corpus:
        signal.alarm(SECONDS)
        start = time.perf_counter()
        try:
            complaint = wrong(case, attempt(case.path))
        except Hang:
            complaint = f"took more than {SECONDS} s"
        except Exception as error:
            complaint = f"{type(error).__name__}: {error}"
        signal.alarm(0)
        if complaint:
            failures.append(f"{case.path.name!r} ({time.perf_counter() - start:.1f} s): {complaint}")
    assert not failures, "\n".join(failures)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err == ""


def test_threads_get_the_same_answers_and_leave_the_filters_alone(corpus: list[Case]) -> None:
    paths = [case.path for case in corpus if case.outcome != "error"]
    alone = [attempt(path) for path in paths]
    before = list(warnings.filters)
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(attempt, paths))
    assert warnings.filters == before
    for path, one, other in zip(paths, alone, together, strict=True):
        assert type(one) is type(other), path
        if isinstance(one, DecodedImage) and isinstance(other, DecodedImage):
            assert np.array_equal(one.pixels, other.pixels), path
