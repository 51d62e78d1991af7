"""The page's own HTML: the sample, the model's guess, the progress bar. Pure; everything put in is escaped."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from annotation_app.images import Picture
from annotation_app.problems import reason, skipped
from annotation_app.texts import has, text
from learnloop.client import DatasetInfo, Prediction, ProgressInfo

GUESSES = 3
"""The model's best guess and its runners-up."""
MOST_OPEN = 10_000
"""The API counts open tasks so far and no further."""
LOOKS = {
    "zoom-out": ("−", "look.zoom_out", "-"),
    "zoom-in": ("+", "look.zoom_in", "+"),
    "contrast-down": ("◑−", "look.contrast_down", "["),
    "contrast-up": ("◑+", "look.contrast_up", "]"),
    "reset": ("↺", "look.reset", "."),
}
"""How a picture can be looked at: sign, sentence and key; ``viewer.html`` does it."""


def sample(shown: Picture, *, alt: str, caption: str) -> str:
    crisp = " ll-crisp" if shown.small else ""
    size = text("task.size", width=shown.width, height=shown.height)
    return (
        f'<figure class="ll-sample"><div class="ll-frame">'
        f'<img class="ll-image{crisp}" src="{shown.url}" alt="{escape(alt)}" draggable="false"></div>'
        f"<figcaption>{escape(caption)} · {size}</figcaption>{_looks()}</figure>"
    )


def _looks() -> str:
    buttons = ""
    for value, (sign, words, key) in LOOKS.items():
        said = escape(text(words))
        title = escape(text("look.key", what=text(words), pressed=key))
        buttons += f'<button type="button" value="{value}" aria-label="{said}" title="{title}">{sign}</button>'
    return f'<div class="ll-looks" role="toolbar" aria-label="{escape(text("look.heading"))}">{buttons}</div>'


def words(given: str, *, alt: str, caption: str) -> str:
    """A text sample, whole: its own line breaks, in the direction of its script; a long one scrolls in its frame."""
    return (
        f'<figure class="ll-sample"><div class="ll-words" role="document" tabindex="0" dir="auto" '
        f'aria-label="{escape(alt)}">{escape(given)}</div><figcaption>{escape(caption)} · '
        f"{escape(text('task.length', count=len(given)))}</figcaption></figure>"
    )


def row(fields: Sequence[tuple[str, str]], *, alt: str, caption: str) -> str:
    """A tabular sample: a line a field."""
    lines = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td dir="auto">{escape(value)}</td></tr>' for name, value in fields
    )
    return (
        f'<figure class="ll-sample"><div class="ll-row" tabindex="0"><table aria-label="{escape(alt)}">'
        f"<tbody>{lines}</tbody></table></div><figcaption>{escape(caption)} · "
        f"{escape(text('task.fields', count=len(fields)))}</figcaption></figure>"
    )


def prediction(given: Prediction, colors: Mapping[str, str] | None = None) -> str:
    """Bars for the likeliest labels, the likeliest first. ``colors``: of labels that have one."""
    likeliest = sorted(given.probabilities.items(), key=lambda guess: -guess[1])[:GUESSES]
    bars = "".join(_guess(label, probability, (colors or {}).get(label)) for label, probability in likeliest)
    return f'<div class="ll-guesses" role="list">{bars}</div>'


def _guess(label: str, probability: float, color: str | None) -> str:
    percent = round(100 * probability)
    painted = "" if color is None else f";background:{color}"
    spoken = escape(text("prediction.bar", label=label, percent=percent))
    return (
        f'<div class="ll-guess" role="listitem" aria-label="{spoken}"><span class="ll-label">{escape(label)}</span>'
        f'<span class="ll-track"><span class="ll-fill" style="width:{percent}%{painted}"></span></span>'
        f'<span class="ll-percent">{percent} %</span></div>'
    )


def class_colors(labels: Sequence[str], colors: Mapping[str, str]) -> str:
    """A style sheet that paints the edge of each answer's button in its class's colour."""
    rules = "".join(
        f".st-key-answers > :nth-child({place}) button, .st-key-answers_plain > :nth-child({place}) button "
        f"{{ border-inline-start: 0.4rem solid {colors[label]}; }}"
        for place, label in enumerate(labels, 1)
        if label in colors
    )
    return f"<style>{rules}</style>"


def classes(keys: Mapping[str, str | None], colors: Mapping[str, str]) -> str:
    """A dataset's classes, each with its colour and its key."""
    lines = "".join(
        f'<li><span class="ll-dot" style="background:{colors.get(label, "transparent")}"></span>'
        f'<span class="ll-name">{escape(label)}</span>{f"<kbd>{escape(key)}</kbd>" if key else ""}</li>'
        for label, key in keys.items()
    )
    return f'<h3>{escape(text("guide.classes", count=len(keys)))}</h3><ul class="ll-classes">{lines}</ul>'


def project(dataset: DatasetInfo, chosen: bool) -> str:
    """A dataset in the list of projects."""
    facts = [text(f"task_type.{dataset.task_type}") if has(f"task_type.{dataset.task_type}") else dataset.task_type]
    facts += [text("guide.classes", count=len(dataset.classes))]
    if dataset.head is not None:
        facts.append(dataset.head)
    said = " · ".join(escape(fact) for fact in facts)
    described = f"<p>{escape(dataset.description)}</p>" if dataset.description else ""
    mark = f' <span class="ll-muted">{escape(text("projects.chosen"))}</span>' if chosen else ""
    return (
        f'<div class="ll-project"><h3>{escape(dataset.name)}{mark}</h3>{described}<p class="ll-muted">{said}</p></div>'
    )


def queued(row: Mapping[str, Any], in_hand: bool) -> str:
    """A task in the list: its sample, the model's guess, its batch and when it came, or why it was skipped."""
    confidence = row["confidence"]
    percent = 0 if confidence is None else round(100 * confidence)
    guess = "" if row["label"] is None else str(row["label"])
    spoken = escape(text("prediction.bar", label=guess, percent=percent))
    facts = [row["batch"], (row["created_at"] or "")[:16].replace("T", " ")]
    if row["skip_reason"] is not None:
        facts = [text("queue.skipped_because", reason=skipped(row["skip_reason"]) or text("queue.no_reason"))]
    if in_hand:
        facts.append(text("queue.in_hand"))
    said = " · ".join(escape(str(fact)) for fact in facts if fact)
    return (
        f'<div class="ll-queued"><span class="ll-name">{escape(row["sample_id"])}</span>'
        f'<span class="ll-label">{escape(guess)}</span>'
        f'<span class="ll-sure" role="img" aria-label="{spoken}"><span class="ll-track"><span class="ll-fill" '
        f'style="width:{percent}%"></span></span><span class="ll-percent">{percent} %</span></span>'
        f'<span class="ll-muted">{said}</span></div>'
    )


def chosen(by: Mapping[str, Any]) -> str:
    """HTML of a sentence for why the sample was chosen: ``{"strategy": ..., ...}``."""
    strategy = by.get("strategy")
    if not strategy:
        return escape(text("chosen.unknown"))
    key = f"chosen.{strategy}"
    return escape(text(key) if has(key) else text("chosen.other", strategy=str(strategy).replace("_", " ")))


def training(given: ProgressInfo) -> str:
    """How far the next training is, in a sentence."""
    if given.round is not None:
        return text("progress.under_way", round=given.round["number"], count=given.waiting)
    missing = given.needed - given.waiting
    if missing > 0 and re.fullmatch(rf"{missing} more labels? needed", given.reason):
        return text("progress.more", count=missing)
    said = reason(given.reason)
    return said[:1].upper() + said[1:]


def filled(given: ProgressInfo) -> int:
    """Labels that wait for training against what the policy needs, in percent."""
    return round(100 * min(given.waiting / max(given.needed, 1), 1.0))


def progress(given: ProgressInfo) -> str:
    """A bar of the labels that wait for training against what the policy needs, how far it is, and the counts."""
    counts = [
        (given.answered_by_me, "progress.mine"),
        (given.pending, "progress.pending"),
        (f"{given.open_tasks}+" if given.open_tasks >= MOST_OPEN else given.open_tasks, "progress.open"),
        (given.confirmed, "progress.confirmed"),
    ]
    facts = "".join(f"<span><b>{count}</b> {escape(text(key))}</span>" for count, key in counts)
    labels = escape(text("progress.labels", waiting=given.waiting, needed=given.needed))
    return (
        f'<div class="ll-progress"><div class="ll-progress-line"><span class="ll-track" role="progressbar" '
        f'aria-valuemin="0" aria-valuemax="{given.needed}" aria-valuenow="{given.waiting}" aria-label="{labels}">'
        f'<span class="ll-fill" style="width:{filled(given)}%"></span></span><span class="ll-percent">{labels}</span></div>'
        f'<div class="ll-progress-facts"><span class="ll-reason">{escape(training(given))}</span>{facts}</div></div>'
    )


def quality(given: Mapping[str, Any]) -> str:
    """A line of the person's own figures. What cannot be said yet is left out."""
    facts = [text("quality.answers", count=given["answers"])]
    if given["accepted"] is not None:
        percent = round(100 * given["accepted"])
        decided = given["confirmed"] + given["rejected"]
        facts.append(text("quality.accepted", percent=percent, decided=decided))
    if given["gold_answered"]:
        facts.append(text("quality.gold", right=given["gold_right"], count=given["gold_answered"]))
    if given["median_seconds"] is not None:
        facts.append(text("quality.seconds", seconds=f"{given['median_seconds']:.1f}"))
    if given["fast"]:
        facts.append(text("quality.fast", count=given["fast"]))
    said = "".join(f"<span>{escape(fact)}</span>" for fact in facts)
    return f'<div class="ll-progress-facts ll-quality"><b>{escape(text("quality.heading"))}</b>{said}</div>'


def why(review: Mapping[str, Any], waiting: int) -> str:
    """Why a reviewer is asked, and how much waits."""
    heading = escape(text(f"review.kind.{review['kind']}"))
    confirmed = ""
    if review["confirmed_label"] is not None:
        confirmed = f"<p>{escape(text('review.confirmed_as', label=review['confirmed_label']))}</p>"
    count = escape(text("review.waiting", count=waiting))
    return f'<h2>{heading} <span class="ll-muted">· {count}</span></h2><p>{escape(reason(review["reason"]))}</p>{confirmed}'


def opinions(answers: Sequence[Mapping[str, Any]]) -> str:
    """What people said, side by side."""
    return '<div class="ll-opinions" role="list">' + "".join(_opinion(answer) for answer in answers) + "</div>"


def _opinion(answer: Mapping[str, Any]) -> str:
    label = text("review.skipped") if answer["label"] is None else answer["label"]
    who = answer["annotator"]
    if answer["review"] is not None:
        who = text("review.reviewer", name=who)
    elif answer["seconds"] is not None:
        who = text("review.after", name=who, seconds=f"{answer['seconds']:.1f}")
    comment = answer["comment"] or (skipped(answer["outcome_reason"]) if answer["label"] is None else "")
    said = f"<q>{escape(comment)}</q>" if comment else ""
    return (
        f'<div class="ll-opinion" role="listitem"><span class="ll-label">{escape(label)}</span>'
        f'<span class="ll-muted">{escape(who)}</span>{said}</div>'
    )
