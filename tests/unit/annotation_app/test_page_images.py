import base64
import io

import numpy as np
import pytest
from PIL import Image

from annotation_app.images import picture
from learnloop.errors import InvalidInput


def png(image: Image.Image, form: str = "PNG") -> bytes:
    written = io.BytesIO()
    image.save(written, form)
    return written.getvalue()


def decoded(url: str) -> Image.Image:
    assert url.startswith("data:image/png;base64,")
    return Image.open(io.BytesIO(base64.b64decode(url.split(",", 1)[1])))


def test_small_sample_is_enlarged_without_blur() -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    shown = picture(png(Image.fromarray(pixels)))
    assert (shown.width, shown.height, shown.small) == (8, 8, True)
    assert np.array_equal(np.asarray(decoded(shown.url))[::64, ::64], pixels)


def test_photo_is_shrunk_and_keeps_its_shape() -> None:
    shown = picture(png(Image.new("RGB", (4000, 1000)), "JPEG"))
    assert (shown.width, shown.height, shown.small) == (4000, 1000, False)
    assert decoded(shown.url).size == (1600, 400)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "CMYK", "I;16", "I", "F"])
def test_every_mode_becomes_8_bits(mode: str) -> None:
    levels = np.array([[0, 40000], [20000, 40000]])
    if mode in ("I;16", "I", "F"):
        kind = {"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]
        source = png(Image.fromarray(levels.astype(kind)), "TIFF")
    else:
        source = png(Image.fromarray((levels // 160).astype(np.uint8)).convert(mode), "TIFF")
    grey = np.asarray(decoded(picture(source).url).convert("L"))
    assert grey[0, 0] == 0
    assert int(grey[0, -1]) == pytest.approx(250, abs=6)


@pytest.mark.parametrize("content", [b"", b"not an image", png(Image.new("L", (8, 8)))[:40]])
def test_no_image_is_refused_with_a_reason(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="no image that can be shown"):
        picture(content)


def test_a_picture_with_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    huge = png(Image.new("1", (10_000, 9_500)))
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(InvalidInput, match="10000 x 9500 pixels are too"):
        picture(huge)
