"""Texts, rows and image features: the numbers that a model sees."""

import io
import json

import numpy as np
import pytest
import yaml
from PIL import Image

from learnloop.datasets.numbering import bump_between
from learnloop.datasets.recipes import GradientRecipe, RowRecipe, TextRecipe, recipe_of
from learnloop.datasets.schema import parse_config
from learnloop.errors import InvalidDataset

ROWS = RowRecipe((("age", None), ("colour", ("red", "blue")), ("height", None)), frozenset({"age"}))


def row(**values):
    return ROWS.row(json.dumps(values).encode(), "x.json").tolist()


def test_rows_become_numbers_categories_and_what_is_missing():
    assert row(height=1.5, colour="blue", age=3) == [0, 3, 0, 1, 1.5]
    assert row(height=2, colour="red", age=None) == row(height=2, colour="red") == [1, 0, 1, 0, 2]
    assert ROWS.size == 5


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"colour": "red"}', "missing: height .list under optional what may be"),
        (b'{"height": "1", "colour": "red"}', "column 'height' must be a finite number, not '1'"),
        (b'{"height": true, "colour": "red"}', "must be a finite number, not True"),
        (b'{"height": 1e300, "colour": "red"}', "must be a finite number"),
        (b'{"height": 1' + b"0" * 400 + b', "colour": "red"}', "must be a finite number"),
        (b'{"height": NaN, "colour": "red"}', "NaN is no number"),
        (b'{"height": 1, "colour": "green"}', "column 'colour' is 'green', not one of red, blue"),
        (b'{"height": 1, "colour": "red", "size": 1}', "column 'size' is not one of age, colour, height"),
        (b'{"height": 1, "height": 2}', "a column is there twice"),
        (b"\xff", "is not a JSON object of columns"),
        (b"3", "must hold a JSON object"),
        (b"[" * 100_000, "is not a JSON object"),
    ],
)
def test_what_is_no_row(data, message):
    with pytest.raises(InvalidDataset, match=message) as error:
        ROWS.row(data, "x.json")
    assert "x.json" in str(error.value)


def test_texts_are_counted_words_whatever_the_others_are():
    recipe = TextRecipe(64, 1, True)
    one = recipe.row(b"Red lamps, red doors", "a.txt")
    assert (one.dtype, one.shape) == (np.float32, (64,))
    assert np.linalg.norm(one) == pytest.approx(1)
    assert sorted(one[one > 0]) == pytest.approx(
        np.array([np.log(2), np.log(2), np.log(3)]) / np.linalg.norm([np.log(2), np.log(2), np.log(3)])
    )
    np.testing.assert_array_equal(one, recipe.row("\ufeffred LAMPS red doors".encode(), "b.txt"))
    assert TextRecipe(64, 2, True).row(b"red lamps", "a.txt").astype(bool).sum() == 3  # and the pair
    assert recipe.row(b"!?", "a.txt").sum() == 0  # text, but no word


@pytest.mark.parametrize(("data", "message"), [(b"\xe9", "not UTF-8"), (b"", "is empty"), (b"a\0b", "NUL")])
def test_what_is_no_text(data, message):
    with pytest.raises(InvalidDataset, match=message):
        TextRecipe(64, 1, True).row(data, "x.txt")


def png(pixels):
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    return sink.getvalue()


def test_image_features_tell_how_edges_run_and_hardly_mind_where():
    recipe = GradientRecipe(16, 16, "L")
    upright = np.zeros((16, 16), np.uint8)
    upright[:, 9] = 255
    moved = np.roll(upright, 1, axis=1)
    rows = [recipe.row(png(image), "x.png") for image in (upright, moved, upright.T)]
    assert all(found.shape == (recipe.size,) and np.isfinite(found).all() for found in rows)
    near, far = np.linalg.norm(rows[0] - rows[1]), np.linalg.norm(rows[0] - rows[2])
    assert near < far / 2
    flat = recipe.row(png(np.full((16, 16), 51, np.uint8)), "x.png")
    assert flat[: 16 * 8].tolist() == [0] * 128
    assert flat[128:144].tolist() == pytest.approx([0.2] * 16)
    assert GradientRecipe(2, 3, "RGB").row(png(np.zeros((2, 3, 3), np.uint8)), "x.png").shape == (16 * 14,)


def config(**parts):
    return parse_config(yaml.safe_dump({"name": "d", "classes": ["a", "b"], **parts}).encode(), "dataset.yaml")


def test_the_description_chooses_the_recipe_and_its_parameters_are_in_the_hash():
    text = config(task_type="text_classification")
    assert recipe_of(text) == TextRecipe(2048, 2, True)
    image = {"width": 4, "height": 4, "features": "gradients"}
    tabular = {"columns": {"height": "number", "colour": ["red", "blue"], "age": "number"}, "optional": ["age"]}
    recipes = [
        recipe_of(text),
        recipe_of(config(task_type="text_classification", text={"ngrams": 1})),
        recipe_of(config(task_type="image_classification", image=image)),
        recipe_of(config(task_type="image_classification", image={**image, "features": "pixels"})),
        recipe_of(config(task_type="tabular_classification", tabular=tabular)),
        recipe_of(config(task_type="tabular_classification", tabular={**tabular, "optional": []})),
    ]
    assert recipes[4] == ROWS
    assert len({recipe.hash for recipe in recipes}) == len(recipes)


@pytest.mark.parametrize(
    ("tabular", "message"),
    [
        ({"columns": {}}, "tabular.columns"),
        ({"columns": {"a": "text"}}, "tabular.columns"),
        ({"columns": {"a": []}}, "column 'a' must list at least one value"),
        ({"columns": {"a": ["x", "x"]}}, "and each once"),
        ({"columns": {"a": "number"}, "optional": ["b"]}, "no column is called b"),
    ],
)
def test_a_wrong_table_description_is_named(tabular, message):
    with pytest.raises(InvalidDataset) as error:
        config(task_type="tabular_classification", tabular=tabular)
    assert message in str(error.value)


def test_other_columns_are_another_schema_and_their_order_is_not():
    columns = {"height": "number", "colour": ["red", "blue"]}
    before = config(task_type="tabular_classification", tabular={"columns": columns})
    turned = config(task_type="tabular_classification", tabular={"columns": dict(reversed(columns.items()))})
    more = config(task_type="tabular_classification", tabular={"columns": {**columns, "age": "number"}})
    assert bump_between(before, turned) == "minor"
    assert recipe_of(before).hash == recipe_of(turned).hash
    assert bump_between(before, more) == "major"
    assert bump_between(config(task_type="text_classification"), before) == "major"
