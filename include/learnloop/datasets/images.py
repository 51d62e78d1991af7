"""Reading an image file, with a clear error for what is not one."""

from __future__ import annotations

import io
import warnings

from PIL import Image

from learnloop.errors import InvalidDataset


def decode(data: bytes, where: str) -> Image.Image:
    """The image in ``data``, fully read.

    Raises:
        InvalidDataset: not an image, a damaged or cut-off one, or one with too many pixels to be honest.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                image.verify()  # checksums, where the format has them; the object is useless afterwards
            image = Image.open(io.BytesIO(data))
            image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidDataset(f"{where}: the image has too many pixels: {error}") from error
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:
        # Pillow's decoders raise all of these on damaged files.
        raise InvalidDataset(f"{where} is not a readable image: {error}") from error
    return image
