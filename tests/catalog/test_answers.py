"""A file classified by aicli answers as the same file run through the interpreter on the same pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tiny_models import TinyModel, metadata_block, with_files

from aicli import Classifier
from aicli.nn.engines import Engine

LABELS = [f"class {index}" for index in range(12)]
PIXELS = np.random.default_rng(7).integers(0, 256, (2, 2, 3), dtype=np.uint8)


def scores(model: Classifier, pixels: NDArray[Any]) -> NDArray[Any]:
    """The score of every class, by its index."""
    predictions = model(pixels, top_k=0).predictions
    return np.array([item.score for item in sorted(predictions, key=lambda item: item.index)])


def softmax(values: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())


@pytest.mark.parametrize("signature", [None, (-1, 2, 2, 3)])
@pytest.mark.parametrize(
    ("dtype", "quantization"),
    [("uint8", (1 / 255, 0)), ("int8", (1 / 255, -128)), ("float32", None), ("float16", None)],
)
def test_every_type_and_batch(
    tmp_path: Path, dtype: str, quantization: tuple[float, int] | None, signature: tuple[int, ...] | None
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(TinyModel(dtype, signature=signature, quantization=quantization).flat().finish())
    model = Classifier(path, LABELS, input_range=None if quantization else "0,1")
    np.testing.assert_allclose(scores(model, PIXELS), PIXELS.reshape(-1) / 255, atol=3e-4)


def test_metadata_and_logits(tmp_path: Path) -> None:
    block = metadata_block([100.0, 110.0, 120.0], [50.0, 60.0, 70.0], [("labels.txt", "")])
    path = tmp_path / "model.tflite"
    content = TinyModel().flat(last="FULLY_CONNECTED").describe(block).finish()
    path.write_bytes(with_files(content, {"labels.txt": "\n".join(LABELS)}))
    expected = softmax(((PIXELS - [100.0, 110.0, 120.0]) / [50.0, 60.0, 70.0]).reshape(-1))
    np.testing.assert_allclose(scores(Classifier(path), PIXELS), expected, atol=1e-6)


def test_channels_and_output_tensor(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(TinyModel().flat(last="SOFTMAX").flat().finish())
    model = Classifier(path, LABELS, input_range="0,1", channels="bgr", output_tensor=1)
    np.testing.assert_allclose(scores(model, PIXELS), PIXELS[..., ::-1].reshape(-1) / 255, atol=1e-6)


@pytest.mark.parametrize(
    "file",
    [
        "mobilenet_v1_0.25_128_quant.tflite",
        "mobilenet_v2_1.0_224_quant.tflite",
        "mobilenet_v2_1.0_224_inat_bird_quant.tflite",
        "tf2_mobilenet_v2_1.0_224_ptq.tflite",
    ],
)
def test_real_mobilenets(shared: Path, engine: Engine, file: str) -> None:
    path = shared / "models" / file
    labels = "inat_bird_labels.txt" if "bird" in file else "imagenet_labels.txt"
    model = Classifier(path, shared / "labels" / labels, threads=1)
    side = model.model.input.width
    interpreter = engine.interpreter(path, 1)
    interpreter.allocate_tensors()
    for name in ("parrot.jpg", "grace_hopper.jpg", "hot_dog.jpg"):
        with Image.open(shared / "images" / name) as photo:
            pixels = np.array(photo.convert("RGB").resize((side, side)))
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
        interpreter.invoke()
        raw = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
        np.testing.assert_allclose(scores(model, pixels), raw / 256, atol=1e-6)
