"""Photos of many kinds, made by Pillow in a folder, and what the Python tool decodes them to, as JSON lines."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from aicli.image.decode import open_image

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"


def photos() -> dict[str, tuple[Image.Image, dict[str, Any]]]:
    rgb = Image.open(EXAMPLES / "astronaut.png").convert("RGB").resize((100, 90))
    alpha = rgb.copy()
    alpha.putalpha(Image.linear_gradient("L").resize(rgb.size))
    grey, palette = rgb.convert("L"), rgb.quantize(64)
    wide = Image.fromarray((np.asarray(grey).astype(np.uint16) * 257).clip(37, None) - 37)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "plain.jpg": (rgb, {}),
        "444.jpg": (rgb, {"subsampling": 0}),
        "progressive.jpg": (rgb, {"progressive": True}),
        "profile.jpg": (rgb, {"icc_profile": profile}),
        "grey.jpg": (grey, {}),
        "cmyk.jpg": (rgb.convert("CMYK"), {}),
        "cmyk.tif": (rgb.convert("CMYK"), {}),
        "rgb.png": (rgb, {}),
        "rgba.png": (alpha, {}),
        "la.png": (alpha.convert("LA"), {}),
        "palette.png": (palette, {}),
        "transparent.png": (palette, {"transparency": 3}),
        "one_grey_transparent.png": (grey, {"transparency": 90}),
        "bits.png": (rgb.convert("1"), {}),
        "wide.png": (wide, {}),
        "wide.tif": (wide, {}),
        "lossy.webp": (rgb, {}),
        "alpha.webp": (alpha, {"lossless": True}),
        "palette.gif": (rgb, {}),
        "frames.gif": (rgb, {"save_all": True, "append_images": [rgb.rotate(90)]}),
        "alpha.tif": (alpha, {}),
    }
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        made[f"turn{orientation}.jpg"] = (rgb, {"exif": exif})
    return made


def main() -> None:
    folder = Path(sys.argv[1])
    for name, (image, options) in photos().items():
        image.save(folder / name, **options)
        decoded = open_image(folder / name)
        digest = hashlib.sha256(decoded.pixels.tobytes()).hexdigest()
        print(json.dumps([name, decoded.width, decoded.height, decoded.frames, digest]))


if __name__ == "__main__":
    main()
