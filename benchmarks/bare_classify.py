"""The floor for a cold start: one photo through Pillow, NumPy and ai-edge-litert, in one process and nothing else.

    python benchmarks/bare_classify.py PHOTO [MODEL]

MODEL is a file with an input of 224 x 224 bytes; without it, the bundled classifier answers.
"""

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

bundled = Path(__file__).parent.parent / "models" / "efficientnet_lite0.tflite"
interpreter = Interpreter(str(sys.argv[2] if len(sys.argv) > 2 else bundled), num_threads=1)
interpreter.allocate_tensors()
image = Image.open(sys.argv[1]).convert("RGB")
side = min(image.size)
left, top = (image.width - side) // 2, (image.height - side) // 2
box = (left, top, left + side, top + side)
pixels = np.asarray(image.resize((224, 224), Image.Resampling.BICUBIC, box=box))
target = interpreter.get_input_details()[0]
if target["dtype"] == np.float32:
    pixels = (pixels.astype(np.float32) - 127) / 128
interpreter.set_tensor(target["index"], pixels[None])
interpreter.invoke()
scores = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
for index in scores.argsort()[::-1][:5]:
    print(index, scores[index])
