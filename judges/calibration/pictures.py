"""A report as pictures: what the probabilities are worth, and which labels are taken for which."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from judges.calibration.report import CalibrationReport
from policies.cares import LABELS
from policies.digests import short
from policies.errors import NotEnoughData

_BAR, _GAP, _INK = "#4c78a8", "#e45756", "#333333"


def reliability_diagram(report: CalibrationReport, path: Path) -> None:
    """Accuracy against confidence before and after temperature scaling, as PNG or SVG by the path's suffix.

    NotEnoughData where the judge gives no probabilities.
    """
    if report.confidence is None:
        raise NotEnoughData(f"reliability diagram: judge {report.judge_name} gives no probabilities")
    confidence = report.confidence
    figure = _figure(9.0, 4.6)
    left, right = figure.subplots(1, 2, sharey=True)
    _reliability(left, confidence.bins_before, f"as given: ECE {confidence.ece_before:.3f}")
    _reliability(
        right,
        confidence.bins_after,
        f"at temperature {confidence.temperature:.2f}: ECE {confidence.ece_after:.3f}",
    )
    left.set_ylabel("share that is right")
    left.legend(loc="upper left", frameon=False, fontsize=9)
    figure.suptitle(_title(report, confidence.n, "answers with probabilities"), fontsize=11)
    figure.savefig(path)


def confusion_picture(report: CalibrationReport, path: Path) -> None:
    """Counts and row shares of true against judged label, as PNG or SVG by the path's suffix."""
    counts = report.overall.confusion
    figure = _figure(5.4, 5.0)
    axes = figure.subplots()
    shares = [[cell / max(1, sum(row)) for cell in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for true, row in enumerate(counts):
        for judged, cell in enumerate(row):
            share = shares[true][judged]
            axes.text(
                judged,
                true,
                f"{cell}\n{share:.0%}",
                ha="center",
                va="center",
                color="white" if share > 0.55 else _INK,
            )
    names = [label.value for label in LABELS]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("judged")
    axes.set_ylabel("true")
    axes.set_title(_subtitle(report), fontsize=10)
    figure.suptitle(_title(report, report.n - report.unscored, "scored answers"), fontsize=11)
    figure.savefig(path)


def _reliability(axes: Any, bins: tuple[tuple[float, float, float], ...], title: str) -> None:
    width = 1 / len(bins)
    most = max((rows for rows, _, _ in bins), default=1.0)
    axes.plot([0, 1], [0, 1], linestyle="--", linewidth=1, color=_INK)
    first = True
    for place, (rows, mean_confidence, right) in enumerate(bins):
        if rows == 0:
            continue
        x = (place + 0.5) * width
        axes.bar(
            x,
            right,
            width=width * 0.92,
            color=_BAR,
            # Few answers, pale bar: what it shows is mostly luck.
            alpha=0.25 + 0.75 * (rows / most) ** 0.5,
            label="share that is right" if first else None,
        )
        axes.plot(
            [x - width * 0.46, x + width * 0.46],
            [mean_confidence, mean_confidence],
            color=_GAP,
            linewidth=2,
            label="mean confidence" if first else None,
        )
        axes.text(x, max(right, mean_confidence) + 0.02, f"{rows:.0f}", ha="center", fontsize=7, color=_INK)
        first = False
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.12)
    axes.set_xlabel("confidence in the label")
    axes.set_title(title, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)


def _figure(width: float, height: float) -> Any:
    # Imported late, and without pyplot: judges are loaded by processes that draw nothing and have no display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _title(report: CalibrationReport, n: int, what: str) -> str:
    return f"Judge {report.judge_name} ({short(report.judge_digest)}), {n} {what}, {report.at:%Y-%m-%d}"


def _subtitle(report: CalibrationReport) -> str:
    kappa = report.overall.kappa
    agreed = "κ undefined" if kappa is None else f"κ {kappa.value:.2f} ({kappa.low:.2f} to {kappa.high:.2f})"
    return agreed + (f", {report.unscored} unscored" if report.unscored else "")
