"""The floor for a cold start: one photo through Pillow, NumPy and ai-edge-litert, in one process and nothing else."""

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

interpreter = Interpreter(str(Path(__file__).parent.parent / "models" / "efficientnet_lite0.tflite"), num_threads=1)
interpreter.allocate_tensors()
image = Image.open(sys.argv[1]).convert("RGB")
side = min(image.size)
left, top = (image.width - side) // 2, (image.height - side) // 2
box = (left, top, left + side, top + side)
pixels = np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC, box=box), np.float32)
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], ((pixels - 127) / 128)[None])
interpreter.invoke()
scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
for index in scores.argsort()[::-1][:5]:
    print(index, scores[index])
