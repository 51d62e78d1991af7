"""What the demo prints and draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class RoundReport:
    """One round as it went. Accuracies are on the frozen test split, 0 to 1; times in seconds."""

    number: int
    labels: int
    dataset_version: str
    model_version: int
    accuracy_before: float | None
    accuracy: float
    worst_class: str
    to_serving: float | None
    training: float | None
    gate: str
    structure: str
    random: float | None


def table(rounds: Sequence[RoundReport]) -> Table:
    made = Table(title="The loop, round by round (accuracy on the frozen test split of 360)")
    for heading, justify in (
        ("round", "right"),
        ("labels", "right"),
        ("dataset version", "left"),
        ("model", "right"),
        ("before", "right"),
        ("after", "right"),
        ("random", "right"),
        ("worst class", "left"),
        ("label to serving", "right"),
        ("of it training", "right"),
        ("gate", "left"),
        ("structure", "left"),
    ):
        made.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for row in rounds:
        made.add_row(
            str(row.number),
            str(row.labels),
            row.dataset_version,
            str(row.model_version),
            _percent(row.accuracy_before),
            _percent(row.accuracy),
            _percent(row.random),
            row.worst_class,
            _seconds(row.to_serving),
            _seconds(row.training),
            row.gate,
            row.structure,
        )
    return made


def show(rounds: Sequence[RoundReport]) -> None:
    Console(width=180).print(table(rounds))


def plot(rounds: Sequence[RoundReport], title: str, path: Path) -> None:
    """Accuracy against labels, beside random sampling at the same label counts, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.5), dpi=120)
    labels = [row.labels for row in rounds]
    axes.plot(labels, [100 * row.accuracy for row in rounds], marker="o", label="the loop (diverse mini-batch)")
    random = [(row.labels, 100 * row.random) for row in rounds if row.random is not None]
    axes.plot(*zip(*random, strict=True), marker="s", linestyle="--", label="random sampling (mean of 5 seeds)")
    axes.set_xlabel("labelled training samples")
    axes.set_ylabel("accuracy on the frozen test split, %")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
