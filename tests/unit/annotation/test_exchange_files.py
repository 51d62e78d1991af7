"""Reading files of other tools: what is understood, and what is said of everything that is wrong. No database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from learnloop.annotation.exchange import incoming, label_studio, tables
from learnloop.annotation.exchange.incoming import Incoming, Problems
from learnloop.errors import InvalidInput

CLASSES = ["cat", "dog", "eel"]


def choosing(label: Any, score: Any = 0.8, **more: Any) -> dict[str, Any]:
    result = {"from_name": "c", "to_name": "i", "type": "choices", "value": {"choices": [label]}}
    return {"score": score, "result": [result], **more}


IMAGES, TEXTS, ROWS = "image_classification", "text_classification", "tabular_classification"


def of_tasks(tmp_path: Path, tasks: Any, ignore: bool = False, kind: str = IMAGES) -> tuple[list[Incoming], list[str]]:
    file = tmp_path / "tasks.json"
    file.write_text(tasks if isinstance(tasks, str) else json.dumps(tasks))
    problems = Problems()
    rows = label_studio.read(file, CLASSES, problems, task_type=kind, ignore_annotations=ignore)
    return rows, problems.found


def of_csv(tmp_path: Path, text: str, ignore: bool = False) -> tuple[list[Incoming], list[str]]:
    file = tmp_path / "t.csv"
    file.write_bytes(text.encode())
    problems = Problems()
    return tables.read(file, "csv", CLASSES, problems, ignore_annotations=ignore), problems.found


def test_a_task_of_label_studios_own_is_understood(tmp_path: Path) -> None:
    rows, problems = of_tasks(
        tmp_path,
        [
            {"data": {"image": "/data/local-files/?d=images/a%20b.png"}, "predictions": [choosing("dog")]},
            {"data": {"image": "images/c.png"}},
            {"data": {"sample_id": "s", "image": "https://elsewhere/x.png"}, "learnloop": {"priority": 7}},
        ],
    )
    assert problems == []
    assert [(row.sample_id, row.path) for row in rows] == [
        (None, "images/a b.png"),
        (None, "images/c.png"),
        ("s", None),
    ]
    assert rows[0].guess is not None
    assert rows[0].guess.probabilities == pytest.approx({"cat": 0.1, "dog": 0.8, "eel": 0.1})
    assert (rows[1].guess, rows[2].priority) == (None, 7)


@pytest.mark.parametrize(
    ("task", "field", "told"),
    [
        (7, "data", "an object"),
        ({"data": []}, "data", "an object"),
        ({"data": {"text": "x"}}, "data", "sample_id, path or image"),
        ({"data": {"sample_id": 3}}, "data.sample_id", "must be text"),
        ({"data": {"sample_id": "s"}, "annotations": [{"id": 1}]}, "annotations", "not checked"),
        ({"data": {"sample_id": "s"}, "predictions": [choosing("cow")]}, "predictions", "cat, dog, eel"),
        ({"data": {"sample_id": "s"}, "predictions": [choosing("cat", "high")]}, "predictions", "from 0 to 1"),
        ({"data": {"sample_id": "s"}, "predictions": [choosing("cat", 1.2)]}, "predictions", "from 0 to 1"),
        ({"data": {"sample_id": "s"}, "predictions": [choosing("cat", None)]}, "predictions", "from 0 to 1"),
        ({"data": {"sample_id": "s"}, "predictions": [choosing("cat", 0.2)]}, "predictions", "less likely"),
        ({"data": {"sample_id": "s"}, "predictions": [choosing("cat"), choosing("dog")]}, "predictions", "newest"),
        ({"data": {"sample_id": "s"}, "predictions": [{"score": 1}]}, "predictions.result", "one class"),
        ({"data": {"sample_id": "s"}, "predictions": [choosing(["cat"])]}, "predictions.result", "one class"),
        ({"data": {"sample_id": "s"}, "learnloop": {"priority": 1.5}}, "learnloop.priority", "whole number"),
        ({"data": {"sample_id": "s"}, "learnloop": {"priority": 100}}, "learnloop.priority", "from -1000 to 99"),
        (
            {"data": {"sample_id": "s"}, "predictions": [choosing("cat", learnloop={"probabilities": {"cat": 0.4}})]},
            "predictions",
            "sum to 1",
        ),
    ],
)
def test_what_is_wrong_is_told_with_task_and_field(tmp_path: Path, task: Any, field: str, told: str) -> None:
    _, problems = of_tasks(tmp_path, [{"data": {"sample_id": "right"}}, task])
    assert len(problems) == 1
    assert problems[0].startswith(f"task 2, {field}: ")
    assert told in problems[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [("{", "not JSON"), ('{"data": {}}', "list of tasks"), ("[" * 100_000, "not JSON"), ("\x00", "JSON")],
)
def test_a_file_that_holds_no_tasks_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        of_tasks(tmp_path, text)


def test_answers_can_be_passed_over(tmp_path: Path) -> None:
    rows, problems = of_tasks(tmp_path, [{"data": {"sample_id": "s"}, "annotations": [{"id": 1}]}], ignore=True)
    assert (len(rows), problems) == (1, [])


def test_a_table_is_understood_with_scores_or_probabilities(tmp_path: Path) -> None:
    rows, problems = of_csv(
        tmp_path,
        "\ufeffsample_id,predicted_label,predicted_confidence,model_version,priority\ns,dog,0.5,v2-big,\nt,,,,-3\n",
    )
    assert problems == []
    assert rows[0].guess is not None
    assert (rows[0].guess.model_version, rows[0].guess.model) == (0, "v2-big")
    assert (rows[1].guess, rows[1].priority) == (None, -3)
    rows, problems = of_csv(tmp_path, "path,probability.cat,probability.dog,model_version\n a,0.25,0.75,12\n")
    assert problems == []
    assert rows[0].guess is not None
    assert dict(rows[0].guess.probabilities) == {"cat": 0.25, "dog": 0.75, "eel": 0.0}
    assert rows[0].guess.model_version == 12
    assert rows[0].path == " a"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "neither a column"),
        ("label\ncat\n", "neither a column"),
        ("sample_id,label\ns,cat\n", "ask to ignore them"),
        ("sample_id,probability.cow\ns,1\n", "unknown columns: probability.cow"),
        ("sample_id,sample_id\ns,s\n", "columns twice"),
        ("sample_id,path\ns\n", "line 2: must have 2 cells"),
        ('sample_id\n"s\n', "not CSV"),
    ],
)
def test_a_table_of_another_kind_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        of_csv(tmp_path, text)


def test_files_that_are_not_what_they_say(tmp_path: Path) -> None:
    broken = tmp_path / "t.parquet"
    broken.write_bytes(b"PAR1 not really")
    with pytest.raises(InvalidInput, match="not Parquet"):
        tables.read(broken, "parquet", CLASSES, Problems(), ignore_annotations=False)
    latin = tmp_path / "t.csv"
    latin.write_bytes(b"sample_id\n\xe9\n")
    with pytest.raises(InvalidInput, match="not CSV in UTF-8"):
        tables.read(latin, "csv", CLASSES, Problems(), ignore_annotations=False)
    with pytest.raises(InvalidInput, match="not a file"):
        tables.read(tmp_path, "csv", CLASSES, Problems(), ignore_annotations=False)


def test_parquet_of_another_type_is_told_by_row(tmp_path: Path) -> None:
    pq.write_table(pa.table({"sample_id": [1, 2]}), tmp_path / "t.parquet")
    problems = Problems()
    tables.read(tmp_path / "t.parquet", "parquet", CLASSES, problems, ignore_annotations=False)
    assert [one.split(":")[0] for one in problems.found if "must be text" in one] == [
        "row 1, sample_id",
        "row 2, sample_id",
    ]


def test_too_much_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "MOST_ROWS", 2)
    with pytest.raises(InvalidInput, match="3 rows; at most 2"):
        of_tasks(tmp_path, [{}, {}, {}])
    with pytest.raises(InvalidInput, match="3 rows; at most 2"):
        of_csv(tmp_path, "sample_id\na\nb\nc\n")
    monkeypatch.setattr(incoming, "MOST_BYTES", 5)
    with pytest.raises(InvalidInput, match="split it"):
        of_csv(tmp_path, "sample_id\na\n")


def test_a_list_of_problems_has_an_end() -> None:
    problems = Problems()
    for n in range(incoming.MOST_PROBLEMS + 5):
        problems.add(f"row {n}", "x", "wrong")
    with pytest.raises(InvalidInput) as raised:
        problems.raise_if_any("f")
    assert len(raised.value.problems) == incoming.MOST_PROBLEMS + 1
    assert raised.value.problems[-1] == "and 5 more"


def test_a_text_is_named_by_its_path_or_its_words_and_a_row_by_neither(tmp_path: Path) -> None:
    rows, problems = of_tasks(
        tmp_path,
        [
            {"data": {"text": "a whole text"}},
            {"data": {"text": "/data/local-files/?d=a%20b.txt"}},
            {"data": {"sample_id": "s", "text": "whatever"}},
        ],
        kind=TEXTS,
    )
    assert problems == []
    assert [(row.sample_id, row.path, row.text) for row in rows] == [
        (None, "a whole text", "a whole text"),
        (None, "a b.txt", "/data/local-files/?d=a%20b.txt"),
        ("s", None, None),
    ]
    _, problems = of_tasks(tmp_path, [{"data": {"image": "a.png"}}], kind=TEXTS)
    assert problems == ["task 1, data: names no sample: give sample_id, path or text"]
    rows, problems = of_tasks(tmp_path, [{"data": {"table": {"a": 1}}}, {"data": {"path": "a.json"}}], kind=ROWS)
    assert problems == ["task 1, data: names no sample: give sample_id or path"]
    assert [row.path for row in rows] == ["a.json"]


@pytest.mark.parametrize(
    ("kind", "tag", "value"), [(IMAGES, "Image", "$image"), (TEXTS, "Text", "$text"), (ROWS, "Table", "$table")]
)
def test_the_configuration_shows_the_kind_of_sample_and_quotes_what_a_class_is_called(kind, tag, value) -> None:
    names = ['"<b>&', "犬"]
    view = ElementTree.fromstring(label_studio.label_config(names, kind))
    assert [choice.get("value") for choice in view.iter("Choice")] == names
    assert view.find(tag).get("value") == value
    assert view.find("Choices").get("toName") == view.find(tag).get("name")
