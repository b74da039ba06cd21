"""Small sets of labelled photos, made from the examples."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from PIL import Image, ImageEnhance

from aicli.cli.main import run

PROJECT = Path(__file__).resolve().parents[2]
SHOWN = {"cat": "chelsea.png", "officer": "grace_hopper.jpg", "astronaut": "astronaut.png"}


class Result(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("features")


@pytest.fixture(autouse=True)
def cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One cache of features for all tests here that are not about the cache."""
    pytest.importorskip("sklearn", reason="needs scikit-learn")
    monkeypatch.setenv("AICLI_CACHE_DIR", str(shared_cache))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: None) -> Path:
    """A cache of features that no other test has filled."""
    monkeypatch.setenv("AICLI_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def make_photos(root: Path, each: int, first: int = 0, names: tuple[str, ...] = tuple(SHOWN)) -> Path:
    """``each`` different crops of a photo for each class, from the crop number ``first`` on."""
    for name in names:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        with Image.open(PROJECT / "examples" / SHOWN[name]) as opened:
            image = opened.convert("RGB")
        width, height = image.size
        for number in range(first, first + each):
            left, top = number * width // 60, number * height // 80
            part = image.crop((left, top, left + width * 3 // 4, top + height * 3 // 4)).resize((240, 240))
            ImageEnhance.Brightness(part).enhance(0.8 + 0.03 * number).save(folder / f"{number}.png", compress_level=1)
    return root


@pytest.fixture
def aicli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs ``aicli ARGUMENTS`` in this process."""

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture(scope="session")
def made_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_photos(tmp_path_factory.mktemp("made") / "photos", 8)


@pytest.fixture
def photos(tmp_path: Path, made_photos: Path) -> Path:
    return Path(shutil.copytree(made_photos, tmp_path / "photos"))
