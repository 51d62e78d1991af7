"""The HTML and the chart of the progress view. Pure; everything put in is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from html import escape
from typing import Any

from annotation_app.markup import filled, training
from annotation_app.problems import reason
from annotation_app.standing import accuracy
from annotation_app.texts import text
from learnloop.client import ProgressInfo

TABLED = 8
"""So many rounds, the newest, are in the table below the chart."""
ACCEPTED, REJECTED = "#6366f1", "#d97706"


def until_training(given: ProgressInfo) -> str:
    """How much is missing until the next training, large, and what stands in between."""
    labels = escape(text("progress.labels", waiting=given.waiting, needed=given.needed))
    facts = [
        (given.confirmed, "progress.confirmed"),
        (given.pending, "progress.pending"),
        (given.in_review, "progress.in_review"),
        (given.open_tasks, "progress.open"),
    ]
    said = "".join(f"<span><b>{count}</b> {escape(text(key))}</span>" for count, key in facts)
    return (
        f'<h2>{escape(training(given))}</h2><div class="ll-progress-line"><span class="ll-track ll-thick" '
        f'role="progressbar" aria-valuemin="0" aria-valuemax="{given.needed}" aria-valuenow="{given.waiting}" '
        f'aria-label="{labels}"><span class="ll-fill" style="width:{filled(given)}%"></span></span>'
        f'<span class="ll-percent">{labels}</span></div><div class="ll-progress-facts">{said}</div>'
    )


def learning_curve(rounds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite chart of accuracy against labels: a point a round, a line through the accepted ones."""
    values = [
        {
            "round": row["number"],
            "labels": row["labels"],
            "accuracy": accuracy(row),
            "decision": _decision(row),
            "accepted": row["state"] == "accepted",
        }
        for row in rounds
    ]
    x = {
        "field": "labels",
        "type": "quantitative",
        "title": text("overview.labels"),
        "axis": {"format": ",d", "tickMinStep": 1},
        "scale": {"zero": False, "nice": True},
    }
    y = {
        "field": "accuracy",
        "type": "quantitative",
        "title": text("overview.accuracy"),
        "axis": {"format": ".0%", "tickMinStep": 0.01},
        "scale": {"zero": False, "nice": True},
    }
    told = [
        {"field": "round", "title": text("overview.round")},
        {"field": "labels", "title": text("overview.labels")},
        {"field": "accuracy", "title": text("overview.accuracy"), "format": ".1%"},
        {"field": "decision", "title": text("overview.decision")},
    ]
    color = {"condition": {"test": "datum.accepted", "value": ACCEPTED}, "value": REJECTED}
    return {
        "data": {"values": values},
        "layer": [
            {
                "transform": [{"filter": "datum.accepted"}],
                "mark": {"type": "line", "color": ACCEPTED, "strokeWidth": 2},
                "encoding": {"x": x, "y": y},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1},
                "encoding": {"x": x, "y": y, "color": color, "tooltip": told},
            },
        ],
    }


def rounds(given: Sequence[Mapping[str, Any]]) -> str:
    """The newest rounds in words and figures: what the chart shows, for who cannot see it."""
    heads = ("overview.round", "overview.labels", "overview.accuracy", "overview.decision")
    rows = [
        [str(row["number"]), str(row["labels"]), f"{100 * (accuracy(row) or 0):.1f} %", _decision(row)]
        for row in given[::-1][:TABLED]
    ]
    return table(heads, rows)


def balance(classes: Sequence[Mapping[str, Any]], newest: Mapping[str, Any] | None, colors: Mapping[str, str]) -> str:
    """A bar a class: labels that rounds have used, then, lighter, those that wait; and how well the newest model does."""
    most = max((row["confirmed"] for row in classes), default=0) or 1
    known = {} if newest is None else newest["metrics"]["comparison"]["candidate"].get("per_class", {})
    return (
        '<div class="ll-balance" role="list">' + "".join(_class(row, most, known, colors) for row in classes) + "</div>"
    )


def _class(row: Mapping[str, Any], most: int, known: Mapping[str, Any], colors: Mapping[str, str]) -> str:
    used = row["confirmed"] - row["waiting"]
    color = f";background:{colors[row['label']]}" if row["label"] in colors else ""
    share = known.get(row["label"], {}).get("accuracy")
    right = "" if share is None else f"{100 * share:.0f} %"
    spoken = text("overview.class", label=row["label"], count=row["confirmed"], waiting=row["waiting"])
    return (
        f'<div class="ll-class" role="listitem"><span class="ll-label">{escape(row["label"])}</span>'
        f'<span class="ll-track" role="img" aria-label="{escape(spoken)}">'
        f'<span class="ll-fill" style="width:{100 * used / most:.1f}%{color}"></span>'
        f'<span class="ll-fill ll-waiting" style="width:{100 * row["waiting"] / most:.1f}%{color}"></span></span>'
        f'<span class="ll-percent">{row["confirmed"]}</span><span class="ll-percent ll-muted">{right}</span></div>'
    )


def people(given: Sequence[Mapping[str, Any]], days: int, today: date) -> str:
    """A line a person: how much, how fast, how well."""
    heads = [
        *("people.who", "people.answers", "people.days", "people.hour", "people.seconds", "people.accepted"),
        *("people.gold", "people.fast", "people.slow", "people.skipped"),
    ]
    rows = []
    for person in sorted(given, key=lambda one: -one["answers"]):
        timed, seconds = (sum(day[name] for day in person["days"]) for name in ("timed", "seconds"))
        rows.append(
            [
                escape(person["annotator"]),
                str(person["answers"]),
                _days(person["days"], days, today),
                f"{3600 * timed / seconds:.0f}" if seconds else "–",
                "–" if person["median_seconds"] is None else f"{person['median_seconds']:.1f}",
                "–" if person["accepted"] is None else f"{100 * person['accepted']:.0f} %",
                f"{person['gold_right']} / {person['gold_answered']}" if person["gold_answered"] else "–",
                str(person["fast"]),
                str(person["slow"]),
                str(person["skipped"]),
            ]
        )
    return table(heads, rows, escaped=True)


def rejected(given: Sequence[Mapping[str, Any]]) -> str:
    """One's own answers that were rejected, a line each, and why."""
    heads = ("rejected.sample", "rejected.label", "rejected.instead", "rejected.reason", "rejected.at")
    rows = [
        [row["sample_id"], row["label"], row["instead"] or "–", reason(row["reason"]), row["created_at"][:10]]
        for row in given
    ]
    return table(heads, rows)


def _days(given: Sequence[Mapping[str, Any]], days: int, today: date) -> str:
    """Small bars, a day each, the last is today."""
    counts = {day["day"]: day["answers"] for day in given}
    series = [counts.get((today - timedelta(days=back)).isoformat(), 0) for back in range(days - 1, -1, -1)]
    most = max(series) or 1
    spoken = escape(text("people.days_spoken", count=sum(series), today=series[-1], days=days))
    bars = "".join(f'<i style="height:{100 * count / most:.0f}%"></i>' for count in series)
    return f'<span class="ll-days" role="img" aria-label="{spoken}" title="{spoken}">{bars}</span>'


def agreement(given: Mapping[str, Any]) -> str:
    alpha = given["krippendorff_alpha"]
    if alpha is None:
        return f'<p class="ll-muted">{escape(text("people.no_agreement"))}</p>'
    said = text("people.agreement", alpha=f"{alpha:.2f}", count=given["samples"])
    return f'<p class="ll-muted">{escape(said)}</p>'


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, escaped: bool = False) -> str:
    """``heads`` are names of messages. ``escaped``: the cells are HTML."""
    head = "".join(f'<th scope="col">{escape(text(key))}</th>' for key in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell if escaped else escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    rows_of = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div class="ll-scroll"><table class="ll-table">{rows_of}</table></div>'


def _decision(row: Mapping[str, Any]) -> str:
    key = f"round.{row['state']}"
    return text(key)
