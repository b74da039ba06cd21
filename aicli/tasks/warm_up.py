"""A photo to warm up with."""

from __future__ import annotations

import io

__all__ = ["small_photo"]


def small_photo() -> bytes:
    """A JPEG of 64 x 64 pixels, the format of most photos."""
    from PIL import Image

    file = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").save(file, "JPEG")
    return file.getvalue()
