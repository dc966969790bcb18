"""Tables of figures as a picture: one panel for each, both axes logarithmic."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.figures import Sample, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(tables: list[Table], path: Path) -> None:
    """Draw each table's times and megabytes over its first column, into a PNG or SVG file.

    A figure whose spread is too wide is left out here as well.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "xdpdns", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(9, 6.5), layout="constrained")
        panels = figure.subplots((len(tables) + 1) // 2, 2, squeeze=False).flat
        for table, axes in zip(tables, panels, strict=False):
            _panel(table, axes)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def _panel(table: Table, axes: Axes) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_title(f"By {table.title.lower() if table.title != 'CPUs' else 'CPUs'}")
    axes.set_xlabel(table.columns[0])
    units = set()
    for at, name in enumerate(table.columns[1:], 1):
        points = [(row[0], row[at]) for row in table.rows]
        first = points[0][1]
        if isinstance(first, Sample) and first.unit in ("ns", "ms"):
            units.add(first.unit)
            found = [(x, y) for x, y in points if isinstance(y, Sample) and y.usable]
            axes.errorbar(
                [float(str(x)) for x, _ in found],
                [y.median for _, y in found],
                [y.spread * y.median for _, y in found],
                marker="o",
                markersize=3,
                label=f"{name}, {first.unit}",
            )
        elif isinstance(first, float) and name.endswith("MB"):
            axes.plot(
                [float(str(x)) for x, _ in points],
                [float(str(y)) for _, y in points],
                linestyle="--",
                color="grey",
                label=name,
            )
    axes.set_xscale("log", base=10 if table.title == "Rows" else 2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(visible=True, which="major", linewidth=0.4)
    axes.legend(fontsize=8)
