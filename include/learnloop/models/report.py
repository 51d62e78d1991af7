"""The report of a model version: one HTML file with its plots inside. Pure: facts in, text out."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FILE = "report.html"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Nothing runs and nothing is loaded; what people named is escaped."""

MOST_CLASSES = 40  # in a plot of the confusion

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .3rem .9rem .3rem 0; overflow-wrap: anywhere; }
td + td { font-variant-numeric: tabular-nums; } img { max-width: 100%; background: #fff; border-radius: .5rem; }
"""


@dataclass(frozen=True)
class Facts:
    """What a report tells.

    Attributes:
        evaluation: what ``learnloop.training.evaluate`` wrote.
        trained: what ``learnloop.training.train`` wrote.
        decision: what the gate's thresholds said.
        curve: (round, labels, test accuracy) of the dataset's rounds, oldest first, this one among them.
        lineage: what the version comes from, by name: dataset version, round, run, parents.
    """

    model: str
    evaluation: Mapping[str, Any]
    trained: Mapping[str, Any]
    decision: str
    curve: Sequence[tuple[int, int, float]] = ()
    lineage: Mapping[str, str] = field(default_factory=dict)


def report(facts: Facts) -> str:
    """The HTML of a report."""
    candidate, current = facts.evaluation["candidate"], facts.evaluation["current"]
    title = f"Model {facts.model}, trained on {facts.lineage.get('dataset version', 'its dataset')}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>The thresholds of the gate said: {escape(facts.decision)}</p>",
        _table(["", "this model", "the model before"], _figures(facts.evaluation)),
        "<h2>Learning curve</h2>",
        _plot(lambda axes: _curve(axes, facts.curve)) if facts.curve else "<p>This is the first round.</p>",
        "<h2>Confusion</h2>",
        _confusion(candidate),
        "<h2>Calibration</h2>",
        f"<p>Expected calibration error {candidate['ece']:.3f}: the mean gap between confidence and accuracy.</p>",
        _plot(lambda axes: _calibration(axes, candidate, current)),
        "<h2>Slices</h2>",
        _table(["class", "accuracy", "test samples", "training labels", "gain over the model before"], _slices(facts)),
        _table(
            ["confidence", "accuracy", "test samples"],
            [
                [f"{bin_['confidence']:.0%}", f"{bin_['accuracy']:.1%}", str(bin_["count"])]
                for bin_ in candidate["calibration"]
            ],
        ),
        "<h2>Lineage</h2>",
        _table(["", ""], [*facts.lineage.items(), *_training(facts.trained)]),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><body>{''.join(parts)}</body></html>"
    )


def _figures(evaluation: Mapping[str, Any]) -> list[list[str]]:
    forms = {
        "accuracy": ("accuracy on the test split", "{:.1%}"),
        "ece": ("expected calibration error", "{:.3f}"),
        "latency_ms": ("a row takes (ms)", "{:.3f}"),
        "model_bytes": ("file (bytes)", "{:,}"),
    }
    sides = (evaluation["candidate"], evaluation["current"])
    rows = [
        [name, *("none" if side is None else form.format(side[key]) for side in sides)]
        for key, (name, form) in forms.items()
    ]
    rows.append(["test samples", str(evaluation["test_samples"]), ""])
    if change := evaluation["comparison"]:
        rows.append(["gain in accuracy (95 % interval)", _gain(change), ""])
        if forgetting := change.get("forgetting"):
            said = f"{forgetting['forgotten']} of {forgetting['were_right']} that the model before has right"
            rows.append(["forgotten", said, ""])
    return rows


def _slices(facts: Facts) -> list[list[str]]:
    candidate, change = facts.evaluation["candidate"], facts.evaluation["comparison"] or {}
    labels = facts.trained.get("labels_by_class", {})
    return [
        [
            name,
            f"{found['accuracy']:.1%}",
            str(found["support"]),
            str(labels.get(name, "")),
            _gain(change["by_class"][name]) if name in change.get("by_class", {}) else "",
        ]
        for name, found in sorted(candidate["per_class"].items(), key=lambda item: item[1]["accuracy"])
    ]


def _training(trained: Mapping[str, Any]) -> list[tuple[str, str]]:
    near = trained.get("near_test", {})
    rows = [("training labels", str(trained.get("labels", "")))]
    rows += [(f"trainer: {name}", str(value)) for name, value in trained.get("params", {}).items()]
    rows += [(f"fit: {name}", str(value)) for name, value in trained.get("metrics", {}).items()]
    if near:
        said = f"{near['found']} found, {near['left_out']} left out of training"
        rows.append(("training samples that nearly are test samples", said))
    return rows


def _gain(found: Mapping[str, Any]) -> str:
    low, high = found["gain_interval"]
    return f"{found['gain'] * 100:+.1f} points ({low * 100:+.1f} to {high * 100:+.1f}): {found['verdict']}"


def _confusion(scores: Mapping[str, Any]) -> str:
    classes = scores["classes"]
    pairs = [
        [of, taken, str(count)]
        for of, row in zip(classes, scores["confusion"], strict=True)
        for taken, count in zip(classes, row, strict=True)
        if of != taken and count
    ]
    most = sorted(pairs, key=lambda pair: -int(pair[2]))[:10]
    listed = _table(["of class", "taken for", "test samples"], most) if most else "<p>Nothing was mistaken.</p>"
    if len(classes) > MOST_CLASSES:
        return f"<p>{len(classes)} classes are too many for a plot; the most frequent mistakes:</p>{listed}"
    return _plot(lambda axes: _matrix(axes, scores)) + listed


def _matrix(axes: Axes, scores: Mapping[str, Any]) -> None:
    shown = axes.imshow(scores["confusion"], cmap="Blues")
    places = range(len(scores["classes"]))
    names = [name if len(name) <= 16 else name[:15] + "…" for name in scores["classes"]]
    axes.set_xticks(places, names, rotation=90)
    axes.set_yticks(places, names)
    axes.set_xlabel("taken for")
    axes.set_ylabel("of class")
    axes.figure.colorbar(shown, ax=axes, label="test samples")


def _calibration(axes: Axes, candidate: Mapping[str, Any], current: Mapping[str, Any] | None) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect")
    for name, scores in (("before", current), ("this model", candidate)):
        if scores is not None and "calibration" in scores:
            bins = scores["calibration"]
            axes.plot([one["confidence"] for one in bins], [one["accuracy"] for one in bins], marker="o", label=name)
    axes.set_xlabel("confidence")
    axes.set_ylabel("accuracy")
    axes.legend()


def _curve(axes: Axes, curve: Sequence[tuple[int, int, float]]) -> None:
    axes.plot([labels for _, labels, _ in curve], [accuracy for _, _, accuracy in curve], marker="o")
    for number, labels, accuracy in curve:
        axes.annotate(str(number), (labels, accuracy), textcoords="offset points", xytext=(4, -10), fontsize=8)
    axes.set_xlabel("training labels (the numbers are rounds)")
    axes.set_ylabel("accuracy on the test split")
    axes.grid(alpha=0.3)


def _plot(draw: Any) -> str:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    sink = io.StringIO()
    # Names are names: a dollar sign in one begins no formula. Fixed ids, so that equal facts give equal bytes.
    with mpl.rc_context({"text.parse_math": False, "svg.hashsalt": "report", "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.add_subplot())
        figure.savefig(sink, format="svg", metadata={"Date": None})
    data = base64.b64encode(sink.getvalue().encode()).decode()
    return f'<p><img alt="" src="data:image/svg+xml;base64,{data}"></p>'


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(cell)}</th>" for cell in heading)
    body = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"
