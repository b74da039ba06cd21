"""Prints what Pillow's ``reduce`` makes of an example: how many times smaller, width, height, SHA-256 of the pixels."""

import hashlib
import json
from pathlib import Path

from PIL import Image

with Image.open(Path(__file__).resolve().parents[2] / "examples" / "chelsea.png") as image:
    for times in (2, 3, 5, 7):
        small = image.convert("RGB").reduce(times)
        print(json.dumps([times, *small.size, hashlib.sha256(small.tobytes()).hexdigest()]))
