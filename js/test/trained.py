"""Trains on parts of the examples into the folder that is named, and prints the model's answer for one of them."""

import json
import sys
from pathlib import Path

from PIL import Image

from aicli import Classifier, train

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NAMES = {"cat": "chelsea.png", "officer": "grace_hopper.jpg"}


def main() -> None:
    folder = Path(sys.argv[1])
    try:
        import sklearn  # noqa: F401
    except ImportError:
        print("no scikit-learn")
        return
    for label, name in NAMES.items():
        (folder / "photos" / label).mkdir(parents=True)
        with Image.open(EXAMPLES / name) as image:
            for number in range(4):
                box = (10 * number, 10 * number, 200 + 10 * number, 200 + 10 * number)
                image.convert("RGB").crop(box).save(folder / "photos" / label / f"{number}.png")
    train(folder / "photos", folder / "trained.tflite", jobs=1)
    print(json.dumps(Classifier(folder / "trained.tflite")(EXAMPLES / "chelsea.png").to_dict()))


main()
