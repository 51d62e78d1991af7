"""What a person is shown who decides about a model: the comparison, as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MOST_CLASSES = 30  # in the table, those that changed most


def approval_text(evaluation: Mapping[str, Any], proposal: str) -> str:
    """Markdown of what ``learnloop.training.evaluate`` wrote, with what the thresholds would decide.

    Class names are whatever a dataset's owner wrote: what Markdown or HTML would read in them is taken as text.
    """
    candidate, current, change = evaluation["candidate"], evaluation["current"], evaluation["comparison"]
    lines = [f"The thresholds would say: {_plain(proposal)}.", ""]
    rows = [
        ("accuracy", _percent(candidate["accuracy"]), current and _percent(current["accuracy"])),
        ("calibration error (ECE)", f"{candidate['ece']:.3f}", current and f"{current['ece']:.3f}"),
        ("a row takes", f"{candidate['latency_ms']:.2f} ms", current and f"{current['latency_ms']:.2f} ms"),
        ("file", _kibibytes(candidate), current and _kibibytes(current)),
    ]
    lines += _table(["", "candidate", "current"], [[name, new, old or "none yet"] for name, new, old in rows])
    if change is None:
        lines += ["", "There is no current model to compare with.", ""]
        found = [
            [_plain(name), _percent(scores["accuracy"]), str(scores["support"])]
            for name, scores in sorted(candidate["per_class"].items(), key=lambda item: item[1]["accuracy"])
        ]
        return "\n".join([*lines, *_table(["class", "accuracy", "test samples"], found[:MOST_CLASSES])])
    lines += ["", f"Gain in accuracy: {_gain(change)} on {evaluation['test_samples']} test samples.", ""]
    if forgetting := change.get("forgetting"):
        lines += [
            f"Of {forgetting['were_right']} test samples that the current model has right, the candidate has"
            f" {forgetting['forgotten']} wrong.",
            "",
        ]
    changed = sorted(change["by_class"].items(), key=lambda item: -abs(item[1]["gain"]))[:MOST_CLASSES]
    by_class = [
        [_plain(name), _percent(candidate["per_class"][name]["accuracy"]), _gain(found), str(found["support"])]
        for name, found in changed
    ]
    return "\n".join([*lines, *_table(["class", "accuracy", "gain", "test samples"], by_class)])


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heading, ["---"] * len(heading), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _gain(found: Mapping[str, Any]) -> str:
    low, high = found["gain_interval"]
    return f"{found['gain'] * 100:+.1f} points ({low * 100:+.1f} to {high * 100:+.1f}: {found['verdict']})"


def _percent(share: float) -> str:
    return f"{share:.1%}"


def _kibibytes(scores: Mapping[str, Any]) -> str:
    return f"{scores['model_bytes'] / 1024:.0f} KiB"


def _plain(text: str) -> str:
    """``text`` on one line, with every mark that Markdown or HTML gives a meaning as a character reference."""
    return "".join(f"&#{ord(mark)};" if mark in "\\`*_{}[]()<>#+!|&~$" else mark for mark in " ".join(text.split()))
