"""Figure 2 of RIPE-352 as a picture; needs matplotlib, the extra `plot`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from xdpdns.errors import MissingNeedError, SettingsError, XdpdnsError
from xdpdns.report_edns import Distribution, EdnsReport, figure2, fraction

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".svg", ".png")


def check(path: Path) -> None:
    """Find out before a long replay whether there can be a picture at `path`.

    Raises:
        SettingsError: an ending other than those of FORMATS, or no such folder.
        MissingNeedError: matplotlib is not installed.
    """
    if path.suffix.lower() not in FORMATS:
        raise SettingsError(f"--plot: {path} has to end in {' or '.join(FORMATS)}.")
    if not path.parent.is_dir():
        raise SettingsError(f"--plot: there is no folder {path.parent}: make it first.")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingNeedError(
            "--plot needs matplotlib, which is not installed: `pip install 'xdpdns[plot]'`."
        )


def save(report: EdnsReport, path: Path) -> None:
    """Draw the distributions into an SVG or PNG file; equal reports give equal files.

    Raises:
        XdpdnsError: the file can't be written.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Figure alone, without pyplot: no window, no global state.
    with mpl.rc_context({"svg.hashsalt": "xdpdns", "svg.fonttype": "none"}):
        figure = Figure(figsize=(9, 9), layout="constrained")
        distributions = figure2(report)
        rows = [max(len(distribution.bars), 2) for distribution in distributions]
        for axes, distribution in zip(
            figure.subplots(3, 1, height_ratios=rows), distributions, strict=True
        ):
            _draw(axes, distribution)
        try:
            figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)
        except OSError as error:
            raise XdpdnsError(
                f"{path} can't be written ({error.strerror}): name a file that you may write."
            ) from error


def _draw(axes: Axes, distribution: Distribution) -> None:
    whole = distribution.whole
    shares = {name: 100 * (fraction(count, whole) or 0) for name, count in distribution.bars}
    bars = axes.barh(list(shares), list(shares.values()), color="#4878a8")
    texts = [f"{count:,} ({shares[name]:.2f} %)" for name, count in distribution.bars]
    axes.bar_label(bars, texts, padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 125)  # room for the text behind a bar of 100 %
    axes.set_xticks(range(0, 101, 20))
    axes.set_title(distribution.title, loc="left")
    axes.set_xlabel(f"% of {distribution.of} ({whole:,})")
    axes.spines[["top", "right"]].set_visible(False)
