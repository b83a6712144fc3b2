"""What all pictures share: colours, a figure without a display, and files that are the same each time."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
CANDIDATES = ("#1f77b4", "#d1495b", "#2a9d62", "#8456b3", "#c77d0a", "#0f8b8d")
_STYLE = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so a picture looks the same on every machine
    "svg.fonttype": "path",
    "svg.hashsalt": "primum",  # ids in the SVG are otherwise drawn by chance
}


def styled(draw: Callable[P, T]) -> Callable[P, T]:
    """Draws with Primum's settings, whatever the user's matplotlibrc says."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        import matplotlib

        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def new_figure(width: float, height: float) -> Any:
    """An empty figure, inches.

    Imported late and without pyplot: deciding needs no pictures, and servers have no display.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=140, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, folder: Path, name: str) -> list[Path]:
    """NAME.svg and NAME.png; the title goes into both, for those who are read to."""
    title = figure.get_suptitle()
    paths = [folder / f"{name}.svg", folder / f"{name}.png"]
    for path in paths:
        # No date: the same decision gives the same file.
        figure.savefig(path, metadata={"Title": title} | ({"Date": None} if path.suffix == ".svg" else {}))
    return paths
