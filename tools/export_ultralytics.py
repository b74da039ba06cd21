"""Makes the ultralytics_* classifiers in tests/data/classifiers with Ultralytics' own exporters, one a generation.

    python tools/export_ultralytics.py litert FOLDER          needs ultralytics>=8.4, litert-torch (made with 8.4.190)
    python tools/export_ultralytics.py saved_model FOLDER     needs ultralytics>=8.4, onnx2tf, tensorflow (the same)
    python tools/export_ultralytics.py tflite FOLDER          needs ultralytics==8.3.0, onnx2tf, tflite-support

The network is the one below with random weights and four classes; exporters refuse one of less than 0.1 MB. The files
were made once and are committed, because nothing of this is needed to run aicli or its tests. Their metadata state the
exporter's licence, as it writes it into every model.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

SIDE = 48
CLASS_NAMES = {0: "dog", 1: "cat", 2: "food", 3: "bird"}
NETWORK = """nc: 4
scales: {n: [1.0, 1.0, 1024]}
backbone:
  - [-1, 1, Conv, [8, 3, 2]]
  - [-1, 1, Conv, [16, 3, 2]]
head:
  - [-1, 1, Classify, [nc]]
"""
CALIBRATION = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""What the exporters with onnx2tf would download; a float model has no use for it."""
FILES = {
    "litert": ("ultralytics_planes", "small-cls.tflite"),
    "saved_model": ("ultralytics_json", "small-cls_saved_model/small-cls_float16.tflite"),
    "tflite": ("ultralytics_dictionary", "small-cls_saved_model/small-cls_float16.tflite"),
}


def export(form: str, folder: Path) -> None:
    """Runs the exporter in the current folder and copies what it made."""
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false")
    import torch

    declare_detection_operators(torch)
    from ultralytics import YOLO

    Path("small-cls.yaml").write_text(NETWORK)
    np.save(CALIBRATION, np.zeros((20, 128, 128, 3), np.float32))
    torch.manual_seed(7)
    model = YOLO("small-cls.yaml", task="classify")
    model.model.names = CLASS_NAMES
    with torch.no_grad():
        # Random weights answer nearly the same for everything, which would hide a wrong input.
        model.model.model[-1].linear.weight.mul_(1000)
    model.export(format=form, imgsz=SIDE)
    name, made = FILES[form]
    shutil.copy(made, folder / f"{name}.tflite")


def declare_detection_operators(torch: Any) -> None:
    """A torchvision whose native part does not fit this PyTorch lacks these, and its import fails for want of them."""
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


if __name__ == "__main__":
    target = Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as work:
        os.chdir(work)
        export(sys.argv[1], target)
        os.chdir(target)
