"""The report of a benchmark: one HTML file that needs nothing else, and the same numbers as CSV, JSON and Markdown.

The page links every figure to the values it is the mean of; `pages/report.html` is its template.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defocus.errors import DefocusError
from defocus.evaluation import metrics
from defocus.evaluation.benchmark import CONFIDENCE_BINS, CURVE_POINTS, SIZE_BINS, read_values, slug
from defocus.evaluation.figures import (
    CONDITION_METRICS,
    METRICS,
    RELIABILITY_NOTE,
    WORST_NOTE,
    Figure,
    best_configurations,
    condition_tables,
    figures,
    markdown,
    reliability_table,
    worst_table,
)
from defocus.maps.preview import preview
from defocus.pages import fill_page
from defocus.runtime.atomic import write_bytes, write_text

__all__ = ["report_page", "write_report"]

SHOWN_PX = (0.0, 4.0)
_INKS = (
    ("#0b62a4", "#6cb6f0"),
    ("#b03a0a", "#ff9466"),
    ("#2a7f3e", "#6fd08a"),
    ("#7b3f99", "#cf9bea"),
    ("#8a6508", "#e6b93f"),
    ("#157f8f", "#5fd0e0"),
    ("#8c3b4a", "#f09aa9"),
    ("#555555", "#bbbbbb"),
    ("#b52f75", "#f58ac4"),
    ("#4d7118", "#a9d45f"),
)
"""Colours of lines on white and on black, each with a contrast of 4.5 and more."""
_ERROR_COLOURS = {
    "mask": "Below each map: red is called blurred and is sharp, blue is called sharp and is blurred, at the threshold "
    "best for that image.",
    "sigma": "Below each map: error, blue too sharp, red too blurred, full colour at 1 px and more.",
    "relative": "Below each map: difference of ranks from the truth's.",
}


def write_report(folder: Path) -> list[Figure]:
    """Write report.html, summary.md, figures.csv, values.csv and figures.json into the folder of a run.

    Parameters
    ----------
    folder : what `benchmark.run` filled.

    Returns
    -------
    The figures.

    Raises
    ------
    DefocusError
        If the folder holds no run.
    """
    if not (folder / "benchmark.json").is_file():
        raise DefocusError(f"{folder} holds no benchmark: run defocus benchmark with -o {folder} first.")
    head = json.loads((folder / "benchmark.json").read_text(encoding="utf-8"))
    values = read_values(folder)
    order = list(head["configurations"])
    values.sort(key=lambda v: order.index(v["configuration"]) if v["configuration"] in order else len(order))
    numbers = figures(values)
    write_bytes(folder / "report.html", report_page(folder, head, values, numbers))
    write_text(folder / "summary.md", markdown(head, values, numbers))
    columns = ["set", "condition", "metric", "configuration", "mean", "low", "high", "sources"]
    rows = [[f.set, f.condition, f.metric, f.configuration, f.mean, f.low, f.high, len(f.per_source)] for f in numbers]
    write_text(folder / "figures.csv", _csv(columns, rows))
    columns = ["set", "name", "source", "configuration", "metric", "value"]
    scalars = [
        [v["set"], v["name"], v["source"], v["configuration"], metric, v[metric]]
        for v in values
        for metric in METRICS | CONDITION_METRICS
        if isinstance(v.get(metric), (int, float))
    ]
    write_text(folder / "values.csv", _csv(columns, scalars))
    write_text(
        folder / "figures.json",
        json.dumps(
            {"machine": head["machine"], "costs": head["costs"], "figures": [vars(f) for f in numbers]}, indent=1
        ),
    )
    return numbers


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def report_page(folder: Path, head: dict[str, Any], values: Sequence[dict[str, Any]], made: Sequence[Figure]) -> bytes:
    """Return the report as one HTML file that needs nothing else.

    Parameters
    ----------
    folder : of the run, with the pictures of its gallery.
    head : what `benchmark.json` holds.
    values : one record for each image and configuration.
    made : what `defocus.evaluation.figures.figures` made of them.
    """
    names = list(dict.fromkeys(figure.set for figure in made))
    order = list(head["configurations"])
    inks = {name: place % len(_INKS) for place, name in enumerate(order)}
    return fill_page(
        "report.html",
        machine=head["machine"],
        sets=[_set(folder, head, values, made, name, order, inks) for name in names],
        inverted=[(name, against) for name, against in head["polarity"].items() if against is not None and against < 0],
        shown_px=SHOWN_PX,
        inks=_INKS,
        scale=_embedded(np.repeat(_coloured(np.linspace(*SHOWN_PX, 256)[None], True), 12, axis=0)),
        failed=[record for record in values if "error" in record],
        costs=[(name, cost.get("seconds", ""), cost.get("megabytes", "")) for name, cost in head["costs"].items()],
        reliability=reliability_table(head, values),
        reliability_note=RELIABILITY_NOTE,
        worst_note=WORST_NOTE,
        definitions=[(metric, definition) for metric, (_, definition) in (METRICS | CONDITION_METRICS).items()],
    )


def _set(
    folder: Path,
    head: dict[str, Any],
    values: Sequence[dict[str, Any]],
    made: Sequence[Figure],
    name: str,
    order: Sequence[str],
    inks: dict[str, int],
) -> dict[str, Any]:
    """What the page shows of one set."""
    of_set = [record for record in values if record["set"] == name and "error" not in record]
    whole = [figure for figure in made if figure.set == name and not figure.condition]
    columns = [c for c in order if any(figure.configuration == c for figure in whole)]
    kind = head["sets"][name]["kind"]
    plots = [make(of_set, inks) for make in (_precision_recall_plot, _size_plot, _calibration_plot)]
    return {
        "name": name,
        "anchor": slug(name),
        "description": head["sets"][name]["description"],
        "columns": columns,
        "rows": [_row(metric, whole, columns) for metric in dict.fromkeys(figure.metric for figure in whole)],
        "conditions": [
            (metric, CONDITION_METRICS[metric][1], header, rows)
            for metric, header, rows in condition_tables(made, name, order)
        ],
        "worst": worst_table(head, values, name),
        "reliability": reliability_table(head, of_set),
        "plots": [plot for plot in plots if plot is not None],
        "gallery": _gallery(folder, kind, of_set),
        "error_colours": _ERROR_COLOURS[kind],
        "value_tables": [_values(metric, whole, order) for metric in dict.fromkeys(figure.metric for figure in whole)],
    }


def _anchor(figure: Figure) -> str:
    return f"v-{slug(figure.set)}-{slug(figure.metric)}"


def _row(metric: str, whole: Iterable[Figure], columns: Sequence[str]) -> dict[str, Any]:
    cells = {figure.configuration: figure for figure in whole if figure.metric == metric}
    best = best_configurations(metric, cells.values())
    return {
        "metric": metric,
        "definition": METRICS[metric][1],
        "cells": [
            {**vars(cells[c]), "best": c in best, "anchor": _anchor(cells[c])} if c in cells else None for c in columns
        ],
    }


def _values(metric: str, whole: Iterable[Figure], order: Sequence[str]) -> dict[str, Any]:
    cells = {figure.configuration: figure for figure in whole if figure.metric == metric}
    columns = [c for c in order if c in cells]
    sources = dict.fromkeys(source for figure in cells.values() for source in figure.per_source)

    def text(configuration: str, source: str) -> str:
        value = cells[configuration].per_source.get(source)
        return "" if value is None else f"{value:.3f}"

    return {
        "metric": metric,
        "anchor": _anchor(next(iter(cells.values()))),
        "header": ["", *columns],
        "rows": [[source, *(text(c, source) for c in columns)] for source in sources],
    }


def _precision_recall_plot(of_set: Sequence[dict[str, Any]], inks: dict[str, int]) -> dict[str, Any] | None:
    lines: dict[str, NDArray[np.float64]] = {}
    for c in inks:
        curves = [(v["recall"], v["precision"]) for v in of_set if v["configuration"] == c and "precision" in v]
        if curves and all(len(r) == CURVE_POINTS for r, _ in curves):
            lines[c] = np.mean(curves, axis=0)
    title = "Precision against recall, means over images at equal thresholds"
    return _plot(lines, inks, title, "recall", "precision", (0, 1), (0, 1)) if lines else None


def _size_plot(of_set: Sequence[dict[str, Any]], inks: dict[str, int]) -> dict[str, Any] | None:
    lines: dict[str, NDArray[np.float64]] = {}
    for c in inks:
        tables = [v["by size"] for v in of_set if v["configuration"] == c and "by size" in v]
        if tables:
            table = np.array(tables)
            pixels = table[..., 0].sum(axis=0)
            error = (table[..., 0] * table[..., 1]).sum(axis=0) / np.maximum(pixels, 1)
            middle = (np.array(SIZE_BINS[1:]) + SIZE_BINS[:-1]) / 2
            lines[c] = np.stack([middle[pixels > 0], error[pixels > 0]])
    if not lines:
        return None
    right = max(float(line[0].max()) for line in lines.values())
    top = max(float(line[1].max()) for line in lines.values())
    title = "Mean absolute error by true sigma, pixels pooled, at the middle of each bin"
    return _plot(lines, inks, title, "true sigma, px", "error, px", (0, right), (0, top))


def _calibration_plot(of_set: Sequence[dict[str, Any]], inks: dict[str, int]) -> dict[str, Any] | None:
    lines: dict[str, NDArray[np.float64]] = {}
    for c in inks:
        tables = [v["confidence"] for v in of_set if v["configuration"] == c and "confidence" in v]
        if tables:
            table = np.array(tables)
            pixels = table[..., 0].sum(axis=0)
            enough = pixels > pixels.sum() / CONFIDENCE_BINS / 100
            means = (table[..., :1] * table[..., 1:]).sum(axis=0)[enough] / pixels[enough, None]
            lines[c] = means.T
    title = "Calibration: share within 0.15 px or a tenth, by confidence, pixels pooled (diagonal = honest)"
    diagonal = np.array([[0, 1], [0, 1]])
    return _plot(lines, inks, title, "confidence", "share right", (0, 1), (0, 1), diagonal) if lines else None


def _plot(
    lines: dict[str, NDArray[np.float64]],
    inks: dict[str, int],
    title: str,
    across: str,
    up: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    guide: NDArray[np.float64] | None = None,
) -> dict[str, Any]:
    """What the page needs to draw lines, each 2 x n."""
    width, height, left, right, bottom, top = 360, 300, 46, 10, 40, 34

    def x_of(x: Any) -> Any:
        return left + (x - x_range[0]) / max(x_range[1] - x_range[0], 1e-9) * (width - left - right)

    def y_of(y: Any) -> Any:
        return height - bottom - (y - y_range[0]) / max(y_range[1] - y_range[0], 1e-9) * (height - bottom - top)

    def points(line: NDArray[np.float64]) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(x_of(line[0]), y_of(line[1]), strict=True))

    heading, _, subheading = title.partition(", ")
    return {
        "width": width,
        "height": height,
        "left": left,
        "right": right,
        "bottom": bottom,
        "top": top,
        "title": title,
        "heading": heading,
        "subheading": subheading,
        "across": across,
        "up": up,
        "x_ticks": [(round(float(x_of(x)), 1), f"{x:.3g}") for x in np.linspace(*x_range, 5)],
        "y_ticks": [(round(float(y_of(y)), 1), f"{y:.3g}") for y in np.linspace(*y_range, 5)],
        "guide": "" if guide is None else points(guide),
        "lines": [{"name": c, "ink": inks[c], "points": points(line)} for c, line in lines.items()],
    }


def _gallery(folder: Path, kind: str, of_set: Sequence[dict[str, Any]]) -> list[list[dict[str, str]]]:
    """Rows: photograph, truth, and each configuration's map above its errors."""
    shown: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in of_set:
        if record["shown"]:
            shown[record["name"]].append(record)
    rows = []
    for name, records in shown.items():
        row: list[dict[str, str]] = []
        for record in records:
            path = folder / "gallery" / slug(record["set"]) / f"{slug(name)}.{slug(record['configuration'])}.npz"
            if not path.is_file():
                continue
            with np.load(path) as stored:
                photo, truth, valid, values = (stored[k] for k in ("photo", "truth", "valid", "map"))
            truth, values = truth.astype(np.float64), values.astype(np.float64)
            if not row:
                row = [
                    {"picture": _embedded(photo), "label": name, "says": f"Photograph {name}"},
                    {
                        "picture": _embedded(_coloured(truth, kind == "sigma")),
                        "label": "truth",
                        "says": f"Truth of {name}",
                    },
                ]
            in_px = kind == "sigma" or record.get("threshold unit") == "px"
            row.append(
                {
                    "picture": _embedded(_coloured(values, in_px)),
                    "label": record["configuration"],
                    "says": f"map of {name} by {record['configuration']}",
                    "errors": _embedded(_errors(values, truth, valid > 0.5, kind)),
                }
            )
        if row:
            rows.append(row)
    return rows


def _coloured(values: NDArray[np.float64], in_px: bool) -> NDArray[np.uint8]:
    low, high = SHOWN_PX if in_px else (float(values.min()), float(values.max()))
    return preview(values, sigma_limits=(low, max(high, low + 1e-6)))


def _errors(
    values: NDArray[np.float64], truth: NDArray[np.float64], valid: NDArray[np.bool_], kind: str
) -> NDArray[np.uint8]:
    if kind == "mask":
        blurred = truth > 0.5
        levels = np.quantile(values, np.linspace(0, 1, 100))
        if valid.any() and blurred[valid].any() and not blurred[valid].all():
            best = levels[np.argmax(metrics.f_at_threshold(values, blurred, levels, valid))]
        else:
            best = levels[50]
        error = (values >= best).astype(np.float64) - blurred
    elif kind == "sigma":
        error = values - truth
    else:
        error = _ranks(values) - _ranks(truth)
    error = np.where(valid, np.clip(error, -1, 1), 0)
    picture = np.full((*error.shape, 3), 245.0)
    picture -= np.maximum(error, 0)[..., None] * (45, 190, 200)
    picture -= np.maximum(-error, 0)[..., None] * (210, 150, 50)
    picture[~valid] = 200
    return np.clip(picture, 0, 255).astype(np.uint8)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    order = values.ravel().argsort().argsort()
    return (order / max(order.size - 1, 1)).reshape(values.shape)


def _embedded(picture: NDArray[np.uint8]) -> str:
    """A picture as the address of an image that carries its own data."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
