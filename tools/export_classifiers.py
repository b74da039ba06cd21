"""Makes the small classifiers in tests/data/classifiers with the exporters that people use.

    python tools/export_classifiers.py keras FOLDER     needs tensorflow (made with 2.21.0)
    python tools/export_classifiers.py torch FOLDER     needs torch and litert-torch (made with 2.13.0 and the versions
                                                        that the files name)

The weights are random, the classes four; README.md in the folder says what is right for each. The files were made once
and are committed, because neither package is needed to run aicli or its tests.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SIDE, CLASSES = 48, 4
IMAGENET_MEAN, IMAGENET_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def photos(prepare: Callable[[Any], Any], depth: int = 3) -> Callable[[], Iterator[list[Any]]]:
    """Calibration data: noise and flat colours, as floats that ``prepare`` makes of 0..255."""

    def give() -> Iterator[list[Any]]:
        random = np.random.default_rng(1)
        for level in (0, 255, None, None, None):
            shape = (1, SIDE, SIDE, depth)
            pixels = random.integers(0, 256, shape) if level is None else np.full(shape, level)
            yield [prepare(pixels.astype(np.float64)).astype(np.float32)]

    return give


def unit(pixels: Any) -> Any:
    return pixels / 255


def signed(pixels: Any) -> Any:
    return pixels / 127.5 - 1


def imagenet(pixels: Any) -> Any:
    return (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD


def dark(pixels: Any) -> Any:
    """As calibration with photos that have no white in them gives."""
    return pixels / 255 * 0.87


def keras_models(folder: Path) -> None:
    import tensorflow as tf

    tf.keras.utils.set_random_seed(7)
    layers = tf.keras.layers

    def network(*first: Any, depth: int = 3, outputs: int = CLASSES, last: str | None = "softmax") -> Any:
        stack = [
            tf.keras.Input((SIDE, SIDE, depth)),
            *first,
            layers.Conv2D(8, 5, strides=2, activation="relu"),
            layers.Conv2D(8, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(outputs, activation=last, kernel_initializer=tf.keras.initializers.RandomNormal(0, 2.0)),
        ]
        return tf.keras.Sequential(stack)

    def convert(model: Any, **settings: Any) -> bytes:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        for name, value in settings.items():
            target = converter.target_spec if name in ("supported_ops", "supported_types") else converter
            setattr(target, name, value)
        content: bytes = converter.convert()
        return content

    def save(name: str, content: bytes) -> Path:
        path = folder / f"{name}.tflite"
        path.write_bytes(content)
        return path

    optimize = {"optimizations": [tf.lite.Optimize.DEFAULT]}
    bytes_only = {**optimize, "supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]}
    words = {
        **optimize,
        "supported_ops": [tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8],
        "representative_dataset": photos(signed),
    }
    plain = network()
    save("int16_signed", convert(plain, **words, inference_input_type=tf.int16, inference_output_type=tf.int16))
    save("int16_inside_signed", convert(plain, **words))
    save("quantised_dark", convert(plain, **bytes_only, representative_dataset=photos(dark)))
    for name, kind in (("uint8", tf.uint8), ("int8", tf.int8)):
        settings = {**bytes_only, "inference_input_type": kind, "inference_output_type": kind}
        save(f"{name}_imagenet", convert(plain, **settings, representative_dataset=photos(imagenet)))
        save(f"{name}_dark", convert(plain, **settings, representative_dataset=photos(dark)))
    save("dynamic_range_rescaling", convert(network(layers.Rescaling(1 / 255)), **optimize))
    save("half_rescaling", convert(network(layers.Rescaling(1 / 255)), **optimize, supported_types=[tf.float16]))
    save("rescaling_from_unit", convert(network(layers.Rescaling(2.0, -1.0), layers.ZeroPadding2D(1))))
    save("logit_grey", convert(network(depth=1, outputs=1, last=None)))

    class Entries(tf.Module):  # type: ignore[misc]
        """A classifier with a second signature that gives its features."""

        kernel = tf.constant(np.random.default_rng(2).normal(0, 0.3, (5, 5, 3, 8)).astype(np.float32))
        head = tf.constant(np.random.default_rng(3).normal(0, 2, (8, CLASSES)).astype(np.float32))
        spec = tf.TensorSpec([1, SIDE, SIDE, 3], tf.float32)

        @tf.function(input_signature=[spec])
        def embed(self, image: Any) -> dict[str, Any]:
            features = tf.nn.relu(tf.nn.conv2d(image / 255.0, self.kernel, 2, "VALID"))
            return {"features": tf.reduce_mean(features, (1, 2))}

        @tf.function(input_signature=[spec])
        def infer(self, image: Any) -> dict[str, Any]:
            return {"probabilities": tf.nn.softmax(self.embed(image)["features"] @ self.head)}

    entries = Entries()
    saved = folder / "saved"
    tf.saved_model.save(entries, str(saved), signatures={"embed": entries.embed, "infer": entries.infer})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved), signature_keys=["embed", "infer"])
    save("two_entries", converter.convert())
    for path in sorted(saved.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    saved.rmdir()

    image = tf.keras.Input((SIDE, SIDE, 3))
    flex = tf.keras.Model(image, tf.keras.layers.Lambda(determinant)(image))
    save("flex", convert(flex, supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]))


def determinant(image: Any) -> Any:
    """An operator that TFLite does not have."""
    import tensorflow as tf

    return tf.linalg.det(tf.transpose(image, (0, 3, 1, 2)))


def torch_models(folder: Path) -> None:
    import litert_torch
    import torch

    torch.manual_seed(7)
    for name, depth in (("planes", 3), ("planes_grey", 1)):
        model = torch.nn.Sequential(
            torch.nn.Conv2d(depth, 8, 5, stride=2),
            torch.nn.ReLU(),
            torch.nn.Conv2d(8, 8, 3, stride=2),
            torch.nn.ReLU(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(8, CLASSES),
        ).eval()
        with torch.no_grad():
            model[-1].weight.mul_(20)
        exported = litert_torch.convert(model, (torch.zeros(1, depth, SIDE, SIDE),))
        exported.export(str(folder / f"{name}.tflite"))


if __name__ == "__main__":
    {"keras": keras_models, "torch": torch_models}[sys.argv[1]](Path(sys.argv[2]))
