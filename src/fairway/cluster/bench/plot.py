"""What a bench measured as a picture. matplotlib, an optional dependency, is imported only here and only when asked."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fairway.base.errors import Unsupported

SUFFIXES = (".png", ".svg")

Report = Mapping[str, Any]
_Points = Sequence[tuple[float, float]]

_OURS, _BASELINE = "tab:blue", "tab:red"
_PLANE_COLOURS = {"fairway": _OURS, "kube-proxy-nftables": _BASELINE, "kube-proxy-iptables": "tab:orange"}
_NARROW = 20
"""Greatest over smallest y of a picture in which the numbers between powers of ten do not touch."""
_SVG_METADATA = {"Date": None}
"""No date in the file: the same figures make the same picture."""


def need_matplotlib() -> None:
    """Raises Unsupported, with the way to get it, where matplotlib is not installed."""
    try:
        importlib.import_module("matplotlib")
    except ImportError:
        raise Unsupported("--plot needs matplotlib, which is not installed: pip install 'fairway[plot]'") from None


def plot_program(report: Report, file: Path) -> None:
    """Seconds for everything at once and for one change, over the number of Services, with the baseline's points."""
    figure, (total, change) = _figure(1, 2)
    runs = report["runs"]
    for endpoints in dict.fromkeys(run["endpoints"] for run in runs):
        mine = [run for run in runs if run["endpoints"] == endpoints]
        named = f"fairway, {endpoints} endpoint{'s' if endpoints > 1 else ''} each"
        total.plot(*_columns([(run["services"], run["seconds"]["total"]) for run in mine]), "o-", label=named)
        for percentile, line in (("p50", "o-"), ("p99", "o:")):
            points = [(run["services"], 1000 * run["change"][f"{percentile}_s"]) for run in mine]
            change.plot(*_columns(points), line, label=f"{named}, {percentile}")
        baseline = mine[0]["baseline"]
        if baseline is not None and baseline["seconds"] is not None:
            at = [baseline["services"]]
            total.plot(at, [baseline["seconds"]], "s", color=_BASELINE, label="kube-proxy's shape by nft -f")
            total.plot(at, [baseline["fairway_seconds"]], "D", color=_OURS, label="fairway beside it")
    _finish(total, "all Services at once", "seconds")
    _finish(change, "one endpoint more or less", "milliseconds")
    # From zero: what is nearly flat has to look so.
    change.set_yscale("linear")
    change.set_ylim(bottom=0)
    _save(figure, file)


def plot_connect(report: Report, file: Path) -> None:
    """The median against the bare route's, over the number of Services: one picture a way and protocol."""
    cells = [cell for cell in report["cells"] if cell["services"]]
    kinds = list(dict.fromkeys((cell["protocol"], cell["via"]) for cell in cells)) or [("tcp", "clusterIP")]
    figure, axes = _figure(-(-len(kinds) // 2), 2)
    for kind, axis in zip(kinds, axes, strict=False):
        of_kind = [cell for cell in cells if (cell["protocol"], cell["via"]) == kind]
        for plane in dict.fromkeys(cell["plane"] for cell in of_kind):
            points = [(cell["services"], cell["ratio_to_bare"]) for cell in of_kind if cell["plane"] == plane]
            axis.plot(*_columns(points), "o-", color=_PLANE_COLOURS.get(plane), label=plane)
        axis.axhline(1.0, color="grey", linewidth=0.8)
        _finish(axis, f"first {kind[0]} packet, {kind[1]}", "median / bare route's")
    _save(figure, file)


def _figure(rows: int, columns: int) -> tuple[Any, list[Any]]:
    """A figure that no screen shows, and its axes in reading order."""
    need_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * columns, 4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _columns(points: Iterable[tuple[float, float | None]]) -> tuple[list[float], list[float]]:
    """x and y of the points that were measured, in the order of x."""
    known: _Points = sorted((x, y) for x, y in points if y is not None)
    return [x for x, _ in known], [y for _, y in known]


def _finish(axis: Any, title: str, unit: str) -> None:
    axis.set_title(title)
    axis.set_xlabel("Services")
    axis.set_ylabel(unit)
    axis.set_xscale("log")
    axis.set_yscale("log")
    # Numbers as they are, where the default is powers of ten; those between only where there is room.
    axis.xaxis.set_major_formatter("{x:g}")
    axis.yaxis.set_major_formatter("{x:g}")
    low, high = axis.get_ylim()
    axis.yaxis.set_minor_formatter("{x:g}" if high / low < _NARROW else "")
    axis.grid(visible=True, which="both", linewidth=0.3)
    if axis.get_legend_handles_labels()[0]:
        axis.legend()


def _save(figure: Any, file: Path) -> None:
    """In the form that the name's end says, one of SUFFIXES. Raises OSError where it cannot be written."""
    form = file.suffix.lower().removeprefix(".")
    figure.savefig(file, format=form, metadata=_SVG_METADATA if form == "svg" else None)
