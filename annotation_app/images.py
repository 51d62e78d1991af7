"""A sample's bytes as a picture that a browser can show. Pure."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image, UnidentifiedImageError

from learnloop.errors import InvalidInput

SMALL = 64
"""A picture whose longer side is below this is shown enlarged with hard pixels: blurred, it could not be read."""
_SHOWN = 512  # an enlarged picture's longer side, at least
_LARGEST = 1600  # larger ones are shrunk: nobody sees more on the page, and it must arrive at once


@dataclass(frozen=True)
class Picture:
    """``url`` is a ``data:`` URL; ``width`` and ``height`` are the sample's own, in pixels."""

    url: str
    width: int
    height: int

    @property
    def small(self) -> bool:
        return max(self.width, self.height) < SMALL


def picture(content: bytes) -> Picture:
    """Decode ``content`` and write it as PNG, small ones enlarged by a whole factor, large ones shrunk.

    Raises:
        InvalidInput: the bytes are no image that can be read.
    """
    try:
        with Image.open(io.BytesIO(content)) as opened:
            if opened.width * opened.height > (
                Image.MAX_IMAGE_PIXELS or 0
            ):  # Pillow itself only warns up to twice that
                raise ValueError(f"{opened.width} x {opened.height} pixels are too many")
            image = _displayable(opened)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput(f"this sample is no image that can be shown: {error}") from error
    width, height = image.size
    longer = max(width, height)
    if longer < SMALL:
        factor = -(-_SHOWN // longer)
        image = image.resize((width * factor, height * factor), Image.Resampling.NEAREST)
    elif longer > _LARGEST:
        image.thumbnail((_LARGEST, _LARGEST), Image.Resampling.LANCZOS)
    written = io.BytesIO()
    image.save(written, "PNG")
    return Picture("data:image/png;base64," + base64.b64encode(written.getvalue()).decode(), width, height)


def _displayable(image: Image.Image) -> Image.Image:
    """8 bits a channel. Wider greys (16-bit, float) are stretched from their own minimum to their maximum."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        wide = image.convert("F")
        low, high = wide.getextrema()
        span = (high - low) or 1.0  # type: ignore[operator]
        return wide.point(lambda value: value * (255.0 / span) - low * (255.0 / span)).convert("L")  # type: ignore[operator]
    if image.mode in ("L", "RGB", "RGBA"):
        image.load()
        return image.copy()
    return image.convert("RGBA" if "transparency" in image.info or image.mode in ("LA", "PA", "La") else "RGB")
