"""How each annotator confuses the classes: the HTML of a reviewer's tables. Pure; everything put in is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from annotation_app.figures import table
from annotation_app.texts import text

MOST_NAMED = 3
LEAST_SHARE = 0.05
"""What happens less often is not named: of few answers it is noise."""
MOST_CLASSES = 12
"""A matrix of more does not fit a page."""


def summary(reliability: Mapping[str, Any]) -> str:
    """A line a person, the least reliable first: how often right, and what they call something else most often.

    Args:
        reliability: ``classes``, ``priors`` and ``confusions`` (person -> rows of true classes), as a quality check has it.
    """
    classes, priors = reliability["classes"], reliability["priors"]
    people = sorted(reliability["confusions"].items(), key=lambda one: (_right(one[1], priors), one[0]))
    rows = [[person, f"{100 * _right(matrix, priors):.0f} %", _named(matrix, classes)] for person, matrix in people]
    return table(("people.who", "confusion.right", "confusion.most"), rows)


def whole(reliability: Mapping[str, Any], person: str) -> str:
    """One person's matrix: a row a true class, a column an answer, in per cent; where they are right is bold."""
    classes = reliability["classes"]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in classes)
    body = ""
    for number, (name, row) in enumerate(zip(classes, reliability["confusions"][person], strict=True)):
        cells = "".join(f"<td>{_cell(share, right=column == number)}</td>" for column, share in enumerate(row))
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
    corner = escape(text("confusion.corner"))
    spoken = escape(text("confusion.of", person=person))
    return (
        f'<div class="ll-scroll"><table class="ll-table ll-confusion" aria-label="{spoken}">'
        f'<thead><tr><th scope="col">{corner}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _right(matrix: Sequence[Sequence[float]], priors: Sequence[float]) -> float:
    return sum(prior * row[number] for number, (prior, row) in enumerate(zip(priors, matrix, strict=True)))


def _named(matrix: Sequence[Sequence[float]], classes: Sequence[str]) -> str:
    wrong = [
        (share, classes[true], classes[said])
        for true, row in enumerate(matrix)
        for said, share in enumerate(row)
        if said != true and share >= LEAST_SHARE
    ]
    most = sorted(wrong, key=lambda one: -one[0])[:MOST_NAMED]
    return "; ".join(f"{true} → {said} ({100 * share:.0f} %)" for share, true, said in most) or "–"


def _cell(share: float, *, right: bool) -> str:
    shown = f"{100 * share:.0f}"
    if shown == "0":
        return ""
    return f"<b>{shown}</b>" if right else shown
