"""The page's own HTML: the sample, the model's guess, the progress bar. Pure; everything put in is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from annotation_app.images import Picture
from annotation_app.texts import has, text
from learnloop.client import Prediction, ProgressInfo

GUESSES = 3
"""The model's best guess and its runners-up."""


def sample(shown: Picture, *, alt: str, caption: str) -> str:
    crisp = " ll-crisp" if shown.small else ""
    size = text("task.size", width=shown.width, height=shown.height)
    return (
        f'<figure class="ll-sample"><div class="ll-frame">'
        f'<img class="ll-image{crisp}" src="{shown.url}" alt="{escape(alt)}"></div>'
        f"<figcaption>{escape(caption)} · {size}</figcaption></figure>"
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
        (given.open_tasks, "progress.open"),
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
