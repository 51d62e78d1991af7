"""The page's own HTML: the sample, the model's guess, the progress bar. Pure; everything put in is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from annotation_app.images import Picture
from annotation_app.texts import has, text

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


def prediction(given: Mapping[str, Any]) -> str:
    """Bars for ``{"label", "confidence", "probabilities": {label: p}, "model_version"}``, the likeliest first."""
    if not given.get("label"):
        return f'<p class="ll-muted">{escape(text("prediction.none"))}</p>'
    probabilities = dict(given.get("probabilities") or {given["label"]: given.get("confidence", 0.0)})
    likeliest = sorted(probabilities.items(), key=lambda guess: -float(guess[1]))[:GUESSES]
    return '<div class="ll-guesses" role="list">' + "".join(_guess(*guess) for guess in likeliest) + "</div>"


def _guess(label: str, probability: float) -> str:
    percent = round(100 * min(max(float(probability), 0.0), 1.0))
    spoken = escape(text("prediction.bar", label=label, percent=percent))
    return (
        f'<div class="ll-guess" role="listitem" aria-label="{spoken}"><span class="ll-label">{escape(label)}</span>'
        f'<span class="ll-track"><span class="ll-fill" style="width:{percent}%"></span></span>'
        f'<span class="ll-percent">{percent} %</span></div>'
    )


def chosen(by: Any) -> str:
    """A sentence for why the sample was chosen: ``{"strategy": ..., ...}`` or the strategy's name."""
    strategy = by.get("strategy") if isinstance(by, Mapping) else by
    if not strategy:
        return text("chosen.unknown")
    key = f"chosen.{strategy}"
    return text(key) if has(key) else text("chosen.other", strategy=str(strategy).replace("_", " "))


def progress(given: Mapping[str, Any]) -> str:
    """A bar of the labels that wait for training against what the policy needs, its reason, and the counts."""
    waiting, needed = int(given["waiting"]), int(given["needed"])
    filled = 100 if needed <= 0 else round(100 * min(waiting / needed, 1.0))
    counts = [
        (given["answered_by_me"], "progress.mine"),
        (given["pending"], "progress.pending"),
        (given["open_tasks"], "progress.open"),
        (given["confirmed"], "progress.confirmed"),
    ]
    facts = "".join(f"<span><b>{int(count)}</b> {escape(text(key))}</span>" for count, key in counts)
    labels = text("progress.labels", waiting=waiting, needed=needed)
    return (
        f'<div class="ll-progress"><div class="ll-progress-line"><span class="ll-track" role="progressbar" '
        f'aria-valuemin="0" aria-valuemax="{needed}" aria-valuenow="{waiting}" aria-label="{escape(labels)}">'
        f'<span class="ll-fill" style="width:{filled}%"></span></span><span class="ll-percent">{escape(labels)}</span>'
        f'</div><div class="ll-progress-facts"><span class="ll-reason">{escape(str(given["reason"]))}</span>'
        f"{facts}</div></div>"
    )
