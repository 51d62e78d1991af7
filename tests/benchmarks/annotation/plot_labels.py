"""Draw what bench_labels.py measured: labels needed against random, each with its interval.

python tests/benchmarks/annotation/plot_labels.py tests/benchmarks/annotation/labels.json docs/images/labels.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from bench_labels import DEFAULT, paired

TITLES = {
    "digits": "digits",
    "breast_cancer": "breast cancer",
    "wine": "wine",
    "newsgroups": "four newsgroups",
}
OURS, DEFAULT_COLOUR, LIBRARY = "#3b6ea8", "#c1440e", "#8a8a8a"


def main(source: Path, target: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.lines import Line2D

    found = json.loads(source.read_text())
    names = [name for name in TITLES if name in found]
    # One order for all: that of the mean ratio, so that a strategy is on the same line everywhere.
    titles = [title for title in found[names[0]]["labels"] if title != "random"]
    ratios = {
        name: {t: paired(found[name]["labels"][t], found[name]["labels"]["random"]) for t in titles} for name in names
    }
    titles.sort(key=lambda title: -float(np.mean([ratios[name][title][0] for name in names])))
    figure, panels = pyplot.subplots(1, len(names), figsize=(13, 7.2), dpi=110, sharey=True)
    for axes, name in zip(panels, names, strict=True):
        for line, title in enumerate(titles):
            ratio, low, high = ratios[name][title]
            colour = LIBRARY if title.startswith("skactiveml") else OURS
            if title.startswith(DEFAULT):
                colour = DEFAULT_COLOUR
            axes.plot([low, high], [line, line], color=colour, linewidth=1.6)
            axes.plot(ratio, line, "o", color=colour, markersize=5)
        axes.axvline(1, color="#444444", linewidth=0.8, linestyle="--")
        needed = np.mean(found[name]["labels"]["random"])
        axes.set_title(
            f"{TITLES[name]}, to {100 * found[name]['target']:.1f} %\n(random needs {needed:.0f})", fontsize=10
        )
        axes.set_xlim(0.2, 1.6)
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.tick_params(axis="y", length=0)
    panels[0].set_yticks(range(len(titles)), [title.replace("_", " ") for title in titles], fontsize=8.5)
    seeds = len(found[names[0]]["labels"]["random"])
    figure.supxlabel(
        f"labels needed, as a share of random's (means of {seeds} seeds, paired 95 % intervals)", fontsize=10
    )
    handles = [
        Line2D([], [], color=colour, marker="o", label=label)
        for colour, label in (
            (DEFAULT_COLOUR, "the default strategy"),
            (OURS, "the other strategies"),
            (LIBRARY, "scikit-activeml"),
        )
    ]
    figure.legend(handles=handles, loc="upper center", ncols=3, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.01, 1, 0.96))
    figure.savefig(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
