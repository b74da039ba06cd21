"""``detect-faces --turns``, and what is said where nothing was found to hide."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def test_a_photo_in_which_nothing_was_hidden_is_named(aicli: Any, tmp_path: Path, examples: Path) -> None:
    lying = tmp_path / "lying.png"
    with Image.open(examples / "grace_hopper.jpg") as photo:
        photo.transpose(Image.Transpose.ROTATE_180).save(lying)
    answer = aicli("detect-faces", lying, "--blur", "-o", tmp_path / "out.png")
    assert answer.code == 0
    assert "lying.png: no face was found, and nothing is hidden; --turns finds faces of a photo" in answer.err
    answer = aicli("detect-faces", lying, "--blur", "-o", tmp_path / "out2.png", "--turns", "-f", "json")
    assert answer.err == "" and '"turn": 180' in answer.out
    with Image.open(lying) as before, Image.open(tmp_path / "out2.png") as after:
        changed = (
            np.abs(np.asarray(before.convert("RGB"), int) - np.asarray(after.convert("RGB"), int)).max(axis=2) > 20
        )
    ys, xs = np.nonzero(changed)
    assert 100 < xs.min() < xs.max() < 400 and 200 < ys.min() < ys.max() < 550
