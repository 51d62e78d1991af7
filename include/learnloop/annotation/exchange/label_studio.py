"""Label Studio's JSON: a list of tasks with ``data``, ``predictions`` and ``annotations``
(https://labelstud.io/guide/task_format), and the labelling configuration that it goes with.

What Label Studio has no place for stands under ``learnloop``, a key that it passes over.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import quoteattr

from learnloop.annotation.exchange.incoming import (
    Incoming,
    Problems,
    check_rows,
    check_size,
    guess_of,
    priority_of,
    text_of,
)
from learnloop.errors import InvalidInput

FROM_NAME = "label"
TO_NAME = "sample"


@dataclass(frozen=True)
class Kind:
    """How Label Studio shows a sample: the tag of its configuration, and the field of ``data`` that it reads."""

    tag: str
    field: str
    names: bool = True
    """Whether the field alone names a sample: an image's path does, and a text's words do."""


KINDS = {
    "image_classification": Kind("Image", "image"),
    "text_classification": Kind("Text", "text"),
    "tabular_classification": Kind("Table", "table", names=False),
}
"""By the dataset's task type. https://labelstud.io/tags"""


def label_config(classes: Sequence[str], task_type: str) -> str:
    """The configuration of a Label Studio project for samples of a task type: one choice of ``classes``."""
    kind = KINDS[task_type]
    choices = "".join(f"\n    <Choice value={quoteattr(name)}/>" for name in classes)
    return (
        f'<View>\n  <{kind.tag} name="{TO_NAME}" value="${kind.field}"/>\n'
        f'  <Choices name="{FROM_NAME}" toName="{TO_NAME}" choice="single">{choices}\n  </Choices>\n</View>\n'
    )


def read(
    path: Path, classes: Sequence[str], problems: Problems, *, task_type: str, ignore_annotations: bool
) -> list[Incoming]:
    """The tasks of a file.

    A sample is named by ``data.sample_id`` or ``data.path``, the path of its file in the batch; an image by ``data.image``
    too, the path as it is or as ``/data/local-files/?d=path``; a text by ``data.text``, such a path or all its words. A row
    of a table names no sample. Answers (``annotations``) would come in unchecked: they are refused, or passed over with
    ``ignore_annotations``.

    Raises:
        InvalidInput: the file is not a list of tasks. What is wrong with single tasks goes to ``problems``.
    """
    check_size(path)
    try:
        tasks = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path.name} is not JSON: {error}") from error
    if not isinstance(tasks, list):
        raise InvalidInput(f"{path.name} must hold a list of tasks, as Label Studio's export JSON does")
    check_rows(path, len(tasks))
    kind = KINDS[task_type]
    made = (
        _read_task(f"task {n}", task, classes, kind, problems, ignore_annotations) for n, task in enumerate(tasks, 1)
    )
    return [row for row in made if row is not None]


def _read_task(
    where: str, task: Any, classes: Sequence[str], kind: Kind, problems: Problems, ignore_annotations: bool
) -> Incoming | None:
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        problems.add(where, "data", "must be an object that names the sample")
        return None
    answers = task.get("annotations") or task.get("completions")
    if answers and not ignore_annotations:
        problems.add(where, "annotations", "answers are not imported, for they are not checked; ask to ignore them")
    sample = text_of(where, "data.sample_id", problems, data.get("sample_id"))
    path = text_of(where, "data.path", problems, data.get("path"))
    shown = None
    if kind.names and sample is None and path is None:
        shown = text_of(where, f"data.{kind.field}", problems, data.get(kind.field))
    if sample is None and path is None and shown is None:
        naming = ("sample_id", "path", *[kind.field] * kind.names)
        if not any(data.get(name) for name in naming):
            problems.add(where, "data", f"names no sample: give {', '.join(naming[:-1])} or {naming[-1]}")
        return None
    whole = shown if kind.field == "text" else None
    own = task.get("learnloop") or {}
    priority = own.get("priority") if isinstance(own, dict) else None
    return Incoming(
        where,
        sample,
        path if shown is None else _local(shown),
        _read_predictions(where, task.get("predictions"), classes, problems),
        priority_of(where, "learnloop.priority", problems, priority),
        whole,
    )


def _read_predictions(where: str, given: Any, classes: Sequence[str], problems: Problems) -> Any:
    if not given:
        return None
    if not isinstance(given, list) or len(given) > 1:
        problems.add(where, "predictions", f"must be a list of one prediction, not {_size(given)}; keep the newest")
        return None
    one = given[0]
    results = one.get("result") if isinstance(one, dict) else None
    choices = [
        choice
        for result in (results if isinstance(results, list) else [])
        if isinstance(result, dict) and isinstance(result.get("value"), dict)
        for choice in _choices(result["value"])
    ]
    if len(choices) != 1 or not isinstance(choices[0], str):
        problems.add(where, "predictions.result", f"must choose one class, not {choices!r}")
        return None
    own = one.get("learnloop")
    probabilities = own.get("probabilities") if isinstance(own, dict) else None
    if probabilities is not None and not isinstance(probabilities, dict):
        problems.add(where, "predictions.learnloop.probabilities", "must be an object: class -> probability")
        return None
    return guess_of(
        where,
        "predictions",
        problems,
        classes,
        label=choices[0],
        score=one.get("score"),
        probabilities=probabilities,
        model=one.get("model_version"),
    )


def write(records: Iterable[Mapping[str, Any]], task_type: str, content: Callable[[str], bytes]) -> Iterator[str]:
    """Confirmed labels (`exporting.records`, those of one sample in a row) as the text of a list of tasks.

    An annotation says in ``created_username`` who answered, and under ``learnloop`` by which rule, when and in whose name
    it was confirmed. It has no ``completed_by``, which must be a user of the Label Studio that reads it.

    Args:
        content: the bytes of a sample, by its record's ``object``. Asked for texts and rows, which stand in the file
            themselves; an image is named by its path.
    """
    yield "["
    before = "\n"
    for number, (_, group) in enumerate(groupby(records, key=lambda record: record["sample_id"]), 1):
        samples = list(group)
        data = {KINDS[task_type].field: _shown(samples[-1], task_type, content)}
        yield before + json.dumps(_task(number, samples, data), ensure_ascii=False)
        before = ",\n"
    yield "\n]\n"


def _shown(record: Mapping[str, Any], task_type: str, content: Callable[[str], bytes]) -> Any:
    """What Label Studio shows of a sample.

    Raises:
        InvalidDataset: its file is no text, or no row.
    """
    if task_type == "image_classification":
        return record["path"]
    if task_type == "text_classification":
        from learnloop.datasets.recipes.texts import text_of as words_of  # numpy: not at the API server's start

        return words_of(content(record["object"]), record["path"])
    from learnloop.datasets.recipes.rows import row_of

    return row_of(content(record["object"]), record["path"])


def _task(number: int, records: Sequence[Mapping[str, Any]], shown: Mapping[str, Any]) -> dict[str, Any]:
    newest = records[-1]
    prediction = newest["prediction"]
    data = {name: newest[name] for name in ("sample_id", "path", "object", "batch")}
    guesses = []
    if prediction.get("probabilities"):
        guesses.append(
            {
                "model_version": str(prediction.get("model") or prediction["model_version"]),
                "score": prediction["confidence"],
                "result": [_choice(prediction["label"])],
                "learnloop": {"probabilities": prediction["probabilities"]},
            }
        )
    return {
        "id": number,
        "data": {**shown, **data},
        "annotations": [_annotation(record) for record in records],
        "predictions": guesses,
    }


def _annotation(record: Mapping[str, Any]) -> dict[str, Any]:
    provenance = ("confirmed_id", "confirmed_at", "confirmed_by", "supersedes", "superseded_by", "task_id", "comment")
    return {
        "id": record["annotation_id"],
        "created_username": record["annotator"],
        "created_at": record["annotated_at"],
        "lead_time": record["seconds"],
        "was_cancelled": False,
        "ground_truth": False,
        "result": [_choice(record["label"])],
        "learnloop": {name: record[name] for name in provenance},
    }


def _choice(label: str) -> dict[str, Any]:
    return {"from_name": FROM_NAME, "to_name": TO_NAME, "type": "choices", "value": {"choices": [label]}}


def _choices(value: Mapping[str, Any]) -> list[Any]:
    given = value.get("choices", [])
    return given if isinstance(given, list) else [given]


def _local(image: str) -> str:
    """The path that an image's address stands for: Label Studio serves local files at /data/local-files/?d=path."""
    parts = urlsplit(image)
    return parse_qs(parts.query).get("d", [image])[0] if parts.path == "/data/local-files/" else image


def _size(given: Any) -> str:
    return str(len(given)) if isinstance(given, list) else repr(given)
