"""A report tells a person how good a model is; whatever classes are called, it is text."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from learnloop.models.report import MOST_CLASSES, Facts, report

NASTY = "<script>alert(1)</script> $x^2$ &"


def scores(names: list[str]) -> dict[str, Any]:
    places = range(len(names))
    return {
        "accuracy": 0.9,
        "per_class": {name: {"accuracy": 0.9, "support": 20} for name in names},
        "worst_class": names[0],
        "ece": 0.05,
        "latency_ms": 1.0,
        "model_bytes": 2048,
        "classes": names,
        "confusion": [[{0: 18, 1: 2}.get(to - of, 0) for to in places] for of in places],
        "calibration": [{"confidence": 0.9, "accuracy": 0.85, "count": 40}],
    }


def facts(names: list[str], *, later: bool = False) -> Facts:
    gain = {"gain": 0.02, "gain_interval": [0.01, 0.03], "verdict": "better", "support": 40}
    change = {**gain, "by_class": dict.fromkeys(names, gain), "forgetting": {"forgotten": 1, "were_right": 35}}
    return Facts(
        model="pets",
        evaluation={
            "candidate": scores(names),
            "current": scores(names) if later else None,
            "comparison": change if later else None,
            "test_samples": 40,
        },
        trained={
            "labels": 30,
            "labels_by_class": dict.fromkeys(names, 15),
            "params": {"name": "mlp", "hidden": [32]},
            "metrics": {"start": "cold: there is no parent"},
            "near_test": {"found": 3, "left_out": 3, "pairs": []},
        },
        decision="accepted: better",
        curve=[(0, 20, 0.8), (1, 30, 0.9)] if later else [],
        lineage={"dataset version": "pets_v1.1", "run": "<run>"},
    )


def plots(html: str) -> list[ElementTree.Element]:
    found = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", html)
    return [ElementTree.fromstring(base64.b64decode(data)) for data in found]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.add(tag)


@pytest.mark.parametrize(("later", "count"), [(False, 2), (True, 3)])
def test_it_holds_its_plots_and_what_people_named_is_text(later: bool, count: int) -> None:
    html = report(facts([NASTY, "dog"], later=later))
    tags = Tags()
    tags.feed(html)
    assert "script" not in tags.seen
    drawn = plots(html)
    assert len(drawn) == count
    texts = " ".join(text or "" for plot in drawn for element in plot.iter() if (text := element.text))
    assert "confidence" in texts
    assert "<script>alert(" in texts  # as it is called, cut to fit, in a picture
    assert "3 found, 3 left out of training" in html
    assert ("+2.0 points (+1.0 to +3.0): better" in html) is later
    assert ("1 of 35 that the model before has right" in html) is later
    assert report(facts([NASTY, "dog"], later=later)) == html


def test_many_classes_are_listed_and_not_drawn() -> None:
    html = report(facts([f"class {number}" for number in range(MOST_CLASSES + 1)]))
    assert "41 classes are too many for a plot" in html
    assert html.count("<td>class 3</td><td>class 4</td><td>2</td>") == 1
    assert len(plots(html)) == 1
