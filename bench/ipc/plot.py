"""Round trip against message size, as a picture."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot  # behind the choice of what it draws with

INCHES = (10.0, 6.5)
DOTS_PER_INCH = 120
MARKS = "osD^v<>P*X"


def draw(curves: dict[str, dict[int, float]], file: Path) -> None:
    """One curve for each contender; the first is ours and stands out."""
    figure, axes = pyplot.subplots(figsize=INCHES, layout="constrained")
    for number, (name, curve) in enumerate(curves.items()):
        sizes = sorted(curve)
        axes.plot(
            sizes,
            [curve[size] * 1e6 for size in sizes],
            label=name,
            marker=MARKS[number % len(MARKS)],
            markersize=5,
            linewidth=3 if number == 0 else 1.3,
            color="black" if number == 0 else f"C{number - 1}",
        )
    axes.set_yscale("log")
    axes.set_xlabel("message, bytes there and as many back")
    axes.set_ylabel("round trip, microseconds (log scale)")
    axes.set_title("Round trip between two processes, each contender in its fastest placement, best of its rounds")
    axes.set_xticks(range(0, 961, 96))
    axes.grid(visible=True, which="both", alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(file, dpi=DOTS_PER_INCH)
    pyplot.close(figure)
