import io

import numpy as np
import pytest
from dataset_folders import description
from PIL import Image

from learnloop.datasets.files import FolderFiles
from learnloop.datasets.recipes import PixelRecipe, recipe_of
from learnloop.datasets.schema import DatasetConfig
from learnloop.errors import InvalidDataset


def png(image):
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return sink.getvalue()


def test_pixels_come_row_by_row_and_unchanged():
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8)
    row = PixelRecipe(8, 8, "L").row(png(Image.fromarray(pixels)), "x.png")
    assert row.dtype == np.float32
    assert row.tolist() == list(range(64))


def test_other_modes_and_sizes_are_brought_to_the_recipe():
    row = PixelRecipe(4, 2, "RGB").row(png(Image.new("RGBA", (40, 20), (10, 20, 30, 255))), "x.png")
    assert row.tolist() == [10.0, 20.0, 30.0] * 8
    assert PixelRecipe(2, 2, "L").row(png(Image.new("1", (8, 8), 1)), "x.png").tolist() == [255.0] * 4


def test_the_table_has_one_row_a_sample(tmp_path):
    for name, shade in (("one", 1), ("two", 2)):
        Image.new("L", (2, 2), shade).save(tmp_path / f"{name}.png")
    table = PixelRecipe(2, 2, "L").features(FolderFiles(tmp_path), {"b": "one.png", "a": "two.png"})
    assert table.to_pylist() == [
        {"sample_id": "a", "path": "two.png", "features": [2.0] * 4},
        {"sample_id": "b", "path": "one.png", "features": [1.0] * 4},
    ]


def test_the_hash_names_the_parameters():
    config = DatasetConfig.model_validate(description())
    assert recipe_of(config) == PixelRecipe(8, 8, "L")
    # Versions in the field carry this hash: raise the recipe's version number when it must change.
    assert recipe_of(config).hash == "fe7392b602b82387b41f361e4cfa19ed"
    assert len({PixelRecipe(8, 8, "L").hash, PixelRecipe(8, 9, "L").hash, PixelRecipe(8, 8, "RGB").hash}) == 3


def test_what_is_no_image_is_named():
    with pytest.raises(InvalidDataset, match=r"x\.png is not a readable image"):
        PixelRecipe(8, 8, "L").row(b"GIF89a", "x.png")
