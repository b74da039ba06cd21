"""Writes tests/data/golden.json: cases and this aicli's answers to them, which Python and JavaScript are both held to.

Run it where ../shared lies beside the project, after a change that is meant to change answers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from aicli import Classifier, FaceDetector
from aicli.errors import AicliError

PROJECT = Path(__file__).resolve().parent.parent
GOLDEN = PROJECT / "tests" / "data" / "golden.json"

PHOTOS = ("examples/grace_hopper.jpg", "examples/chelsea.png", "../shared/images/parrot.jpg")
CLASSIFIERS: tuple[dict[str, Any], ...] = (
    {},
    {"model": "dog_breeds"},
    {"resize": "squash", "input_range": [-1, 1]},
    {"resize": "pad", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    {"channels": "bgr", "top_k": 0, "min_score": 0.01},
    *(
        {"model": f"../shared/models/{name}", "labels": "../shared/labels/imagenet_labels.txt"}
        for name in ("mobilenet_v1_0.25_128_quant.tflite", "tf2_mobilenet_v2_1.0_224_ptq.tflite")
    ),
    {
        "model": "../shared/models/mobilenet_v2_1.0_224_inat_bird_quant.tflite",
        "labels": "../shared/labels/inat_bird_labels.txt",
    },
)
RANGE: dict[str, Any] = {"input_range": [0, 1]}
SMALL: tuple[dict[str, Any], ...] = tuple(
    {"model": f"tests/data/classifiers/{name}.tflite", **options}
    for name, options in {
        "planes": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        "planes_grey": RANGE,
        "logit_grey": RANGE,
        "int16_signed": {"input_range": [-1, 1]},
        "uint8_dark": {},
        "int8_dark": {},
        "uint8_imagenet": {},
        "int8_imagenet": {},
    }.items()
) + tuple(
    {"model": f"../shared/cases/models/{name}.tflite", **options}
    for name, options in {
        "plain": RANGE,
        "dense1_logit": RANGE,
        "dense1_sigmoid": {**RANGE, "labels": ["no", "yes"]},
        "mnist_gray": RANGE,
        "mnist_3d": {"input_range": [0, 255]},
        "batch8": RANGE,
        "nonsquare_h96_w160": RANGE,
        "dynamic_hw": {"input_range": [0, 255]},
        "resc_int8": {},
        "uint8_cast": {},
        "three_heads": {**RANGE, "output_tensor": 2},
    }.items()
)
FACES: tuple[dict[str, Any], ...] = (
    {},
    {"min_size": 60, "max_faces": 3},
    {"thresholds": [0.8, 0.8, 0.95], "factor": 0.6, "min_score": 0.99},
)
SOUGHT: tuple[tuple[dict[str, Any], str], ...] = (
    ({"turns": True}, "tests/data/faces/on_its_side.jpg"),
    ({"turns": True, "max_faces": 2}, "../shared/images/solvay.jpg"),
    ({"border": True}, "tests/data/faces/cut.jpg"),
    ({"border": True, "min_size": 40, "max_faces": 5}, "../shared/images/solvay.jpg"),
    ({"turns": True, "border": True}, "tests/data/faces/cut_on_its_side.jpg"),
)
"""Faces that are found by looking further, and photos where that changes the answer, or must not."""
FACE_PHOTOS = (
    "examples/astronaut.png",
    "examples/grace_hopper.jpg",
    "examples/chelsea.png",
    "../shared/images/solvay.jpg",
)


def placed(options: dict[str, Any]) -> dict[str, Any]:
    """The options with paths from the project's folder, and tuples where Python wants them."""
    found: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    for key in ("model", "labels"):
        if isinstance(found.get(key), str) and "/" in found[key]:
            found[key] = str(PROJECT / found[key])
    return found


def answers() -> list[dict[str, Any]]:
    cases = []
    for options in (*CLASSIFIERS, *SMALL):
        classify = Classifier(**placed(options))
        photos = PHOTOS if options in CLASSIFIERS else PHOTOS[1:2]
        cases += [case("classify", options, photo, classify(str(PROJECT / photo))) for photo in photos]
    for options in FACES:
        detect = FaceDetector(**placed(options))
        cases += [case("detect-faces", options, photo, detect(str(PROJECT / photo))) for photo in FACE_PHOTOS]
    for options, photo in SOUGHT:
        cases.append(case("detect-faces", options, photo, FaceDetector(**options)(str(PROJECT / photo))))
    return cases


def case(task: str, options: dict[str, Any], photo: str, answer: Any) -> dict[str, Any]:
    record = answer.to_dict() | {"image": photo}
    return {"task": task, "options": options, "answer": record}


def main() -> int:
    try:
        lines = ",\n".join(json.dumps(item, ensure_ascii=False) for item in answers())
    except AicliError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    GOLDEN.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    print(f"{GOLDEN.relative_to(PROJECT)}: {GOLDEN.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
