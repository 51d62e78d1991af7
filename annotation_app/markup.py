"""The page's own HTML: the sample, the model's guess, the progress bar. Pure; everything put in is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from annotation_app.images import Picture
from annotation_app.texts import has, text
from learnloop.client import Prediction, ProgressInfo

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


def prediction(given: Prediction) -> str:
    """Bars for the likeliest labels, the likeliest first."""
    likeliest = sorted(given.probabilities.items(), key=lambda guess: -guess[1])[:GUESSES]
    return '<div class="ll-guesses" role="list">' + "".join(_guess(*guess) for guess in likeliest) + "</div>"


def _guess(label: str, probability: float) -> str:
    percent = round(100 * probability)
    spoken = escape(text("prediction.bar", label=label, percent=percent))
    return (
        f'<div class="ll-guess" role="listitem" aria-label="{spoken}"><span class="ll-label">{escape(label)}</span>'
        f'<span class="ll-track"><span class="ll-fill" style="width:{percent}%"></span></span>'
        f'<span class="ll-percent">{percent} %</span></div>'
    )


def queued(row: Mapping[str, Any], in_hand: bool) -> str:
    """A task in the list: its sample, the model's guess, its batch and when it came, or why it was skipped."""
    confidence = row["confidence"]
    percent = 0 if confidence is None else round(100 * confidence)
    guess = "" if row["label"] is None else str(row["label"])
    spoken = escape(text("prediction.bar", label=guess, percent=percent))
    facts = [row["batch"], (row["created_at"] or "")[:16].replace("T", " ")]
    if row["skip_reason"] is not None:
        facts = [text("queue.skipped_because", reason=row["skip_reason"] or text("queue.no_reason"))]
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


def progress(given: ProgressInfo) -> str:
    """A bar of the labels that wait for training against what the policy needs, its reason, and the counts."""
    filled = round(100 * min(given.waiting / max(given.needed, 1), 1.0))
    counts = [
        (given.answered_by_me, "progress.mine"),
        (given.pending, "progress.pending"),
        (f"{given.open_tasks}+" if given.open_tasks >= MOST_OPEN else given.open_tasks, "progress.open"),
        (given.confirmed, "progress.confirmed"),
    ]
    facts = "".join(f"<span><b>{count}</b> {escape(text(key))}</span>" for count, key in counts)
    labels = escape(text("progress.labels", waiting=given.waiting, needed=given.needed))
    reason = escape(given.reason[:1].upper() + given.reason[1:])
    return (
        f'<div class="ll-progress"><div class="ll-progress-line"><span class="ll-track" role="progressbar" '
        f'aria-valuemin="0" aria-valuemax="{given.needed}" aria-valuenow="{given.waiting}" aria-label="{labels}">'
        f'<span class="ll-fill" style="width:{filled}%"></span></span><span class="ll-percent">{labels}</span></div>'
        f'<div class="ll-progress-facts"><span class="ll-reason">{reason}</span>{facts}</div></div>'
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
    return f'<h2>{heading} <span class="ll-muted">· {count}</span></h2><p>{escape(review["reason"])}</p>{confirmed}'


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
    comment = answer["comment"] or (answer["outcome_reason"] if answer["label"] is None else "")
    said = f"<q>{escape(comment)}</q>" if comment else ""
    return (
        f'<div class="ll-opinion" role="listitem"><span class="ll-label">{escape(label)}</span>'
        f'<span class="ll-muted">{escape(who)}</span>{said}</div>'
    )
