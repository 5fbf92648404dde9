"""The report of a benchmark: one HTML file that needs nothing else, and the same numbers as CSV, JSON and Markdown.

Every figure is a mean over images (over sources, where several images are made from one) with a 95 % bootstrap
interval over them, and links to the values it is the mean of. Where sources were treated in several ways (blurred by
several sigmas, say), further tables tell the figures of each.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from defocus.errors import DefocusError
from defocus.evaluation import metrics
from defocus.evaluation.benchmark import (
    CONFIDENCE_BINS,
    CURVE_POINTS,
    PX_THRESHOLDS,
    SCORE_THRESHOLDS,
    SIZE_BINS,
    read_values,
    slug,
)
from defocus.maps.preview import preview
from defocus.runtime.atomic import write_text

__all__ = ["Figure", "figures", "markdown", "write_report"]

_METRICS: dict[str, tuple[str, str]] = {
    "AP": (
        "high",
        "Average precision of 'blurred', exact over all distinct values of the map; per image, then averaged.",
    ),
    "max F": (
        "high",
        "Largest F (beta^2 = 0.3) over 256 thresholds after min-max normalisation of each map, each image its own "
        "threshold, picked with the truth in view: an upper bound; per image, then averaged.",
    ),
    "worst max F": ("high", "The smallest max F of any image of the set."),
    "F at one threshold": (
        "high",
        "F (beta^2 = 0.3) of 'value >= threshold' without any normalisation; for each image the one threshold that is "
        "best in the mean over all the other images of the set, in px for methods in px.",
    ),
    "F short of its own threshold": (
        "low",
        "Per image, its best F over the same thresholds less its 'F at one threshold'; then averaged.",
    ),
    "the one threshold": (
        "none",
        "The threshold of 'F at one threshold', in px for methods in px; mean over images, each having that of the "
        "others.",
    ),
    "IoU at one threshold": (
        "high",
        "Intersection over union of 'blurred' at the same thresholds as 'F at one threshold'.",
    ),
    "accuracy at alpha 0.3": (
        "high",
        "Fraction of pixels right by DHDE's rule: blurred where value >= 0.3 max + 0.7 min of the image's own map.",
    ),
    "MAE of the probability": (
        "low",
        "Mean |p - truth|, truth 1 where blurred; only for maps that are probabilities.",
    ),
    "wrong within 8 px of an edge": (
        "low",
        "Fraction of pixels wrong within 8 px of a border of the true mask, at the image's own best threshold for F.",
    ),
    "wrong elsewhere": ("low", "The same fraction farther away."),
    "MAE": ("low", "Mean |sigma - truth|, px, over valid pixels of an image, then averaged."),
    "MAE, truth clipped to the range": ("low", "MAE against the truth clipped to what the method can tell, px."),
    "MAE, truth by second moments": (
        "low",
        "MAE, px, against half the radius of the disc; only where the truth is D'Andres' table of the radius.",
    ),
    "MAE at seeds": ("low", "MAE where the method itself measured, before propagation, px."),
    "RMSE": ("low", "Root of the mean squared error of an image, px, then averaged."),
    "relative error": ("low", "Mean |sigma / truth - 1| over pixels whose truth is above 0."),
    "relative error at seeds": (
        "low",
        "The same where the method itself measured (the map's seeds), before propagation.",
    ),
    "bias": ("zero", "Mean of sigma - truth, px."),
    "MAE within 8 px of an edge": (
        "low",
        "MAE, px, within 8 px of where the truth jumps by more than 0.25 px between neighbours.",
    ),
    "MAE elsewhere": ("low", "The same farther away."),
    "share right": ("high", "Share of pixels within 0.15 px or a tenth of the truth, whichever is larger."),
    "calibration error": (
        "low",
        "|confidence - share right| in ten bins of the confidence, weighted by their pixels; per image, then averaged.",
    ),
    "calibration error, pooled": ("low", "The same with the pixels of all images pooled before the bins are compared."),
    "right where confidence >= 0.8": (
        "high",
        "Fraction of those pixels within 0.15 px or a tenth of the truth, whichever is larger; all images pooled.",
    ),
    "right where confidence >= 0.8, truth clipped": (
        "high",
        "The same against the truth clipped to what the method can tell: a map that begins at 0.3 px has no other way "
        "to say sharp.",
    ),
    "share of confidence >= 0.8": ("none", "Share of the pixels of all images, pooled."),
    "rank correlation": ("high", "Spearman's, map against truth, per image, then averaged."),
    "affine-invariant RMSE": (
        "low",
        "RMSE after the best scale and offset for each image, as a fraction of the truth's standard deviation.",
    ),
    "seconds per MP": ("low", "Seconds of one estimate in a warm process per megapixel; median over images."),
}
"""Name to (what is better: high, low, zero or none; definition with its pooling)."""
_CONDITION_METRICS: dict[str, tuple[str, str]] = {
    name: _METRICS[name]
    for name in ("relative error at seeds", "relative error", "MAE", "MAE, truth by second moments")
} | {
    "median ratio": ("none", "Median of sigma / truth over the pixels of an image, then averaged: 1 is without bias."),
    "median reading": ("none", "Median of sigma over all pixels of an image, px, then averaged."),
}
"""What is told of each way the sources of a set were treated; as `_METRICS`."""
_SURE = 0.8
"""Confidence from which on pixels are asked to be right."""

_SHOWN_PX = (0.0, 4.0)
_INK = ("#0b62a4", "#c1440e", "#2a7f3e", "#7b3f99", "#b8860b", "#157f8f", "#8c3b4a", "#555555", "#d0488f", "#5a7d1c")
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1180px; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .6em 0; font-variant-numeric: tabular-nums }
th, td { padding: .2em .6em; border-bottom: 1px solid #ddd; text-align: right; vertical-align: top }
th:first-child, td:first-child { text-align: left }
td small { color: #777; display: block; white-space: nowrap } td.best a { font-weight: bold }
a { color: inherit; text-decoration-color: #bbb } .warning { background: #fff1d6; padding: .5em 1em }
.gallery td { text-align: center; font-size: 12px; padding: 3px; border: 0 }
.gallery img { display: block; width: 160px }
details { margin: .5em 0 } summary { cursor: pointer } .plots { display: flex; flex-wrap: wrap; gap: 1em }
:target { background: #fff6bf } .scroll { overflow-x: auto }
"""


@dataclass(frozen=True)
class Figure:
    """One number of the report.

    Attributes
    ----------
    set, metric, configuration : what it is of.
    mean : over sources; the median for seconds, the least for the worst image, over pixels where the metric pools them.
    low, high : 95 % bootstrap interval over sources, None for fewer than two and for the worst image.
    per_source : source to value.
    condition : of the examples, where only those of one are counted; "" for all of the set.
    """

    set: str
    metric: str
    configuration: str
    mean: float
    low: float | None
    high: float | None
    per_source: dict[str, float]
    condition: str = ""


def figures(values: Iterable[dict[str, Any]]) -> list[Figure]:
    """Every number: set by set, in the order of `_METRICS`, configurations in the order they were measured.

    After those of all examples of a set come those of each condition, where the set has several.
    """
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for v in values:
        if "error" not in v:
            grouped[v["set"], v["configuration"]].append(v)
    made = []
    for (name, configuration), records in grouped.items():
        table = _by_source(records, _METRICS)
        for source, found in _at_one_threshold(records):
            for metric, value in found.items():
                table[metric][source].append(value)
        if "max F" in table:
            table["worst max F"] = table["max F"]
        made += _figures(name, configuration, table, _METRICS)
        made += _pooled_figures(name, configuration, records)
        conditions = dict.fromkeys(v.get("condition", "") for v in records)
        if len(conditions) > 1:
            for condition in conditions:
                of_condition = _by_source([v for v in records if v.get("condition") == condition], _CONDITION_METRICS)
                made += _figures(name, configuration, of_condition, _CONDITION_METRICS, condition)
    order = list(_METRICS | _CONDITION_METRICS)
    sets = list(dict.fromkeys(f.set for f in made))
    return sorted(made, key=lambda f: (sets.index(f.set), _by_number(f.condition), order.index(f.metric)))


def _by_number(condition: str) -> list[tuple[float, str]]:
    """A key that puts "2 px" before "10 px"; several processes leave their records in no order."""
    parts = re.split(r"(\d+(?:\.\d+)?)", condition)
    return [(float(part), "") if number % 2 else (-1.0, part) for number, part in enumerate(parts)]


def _by_source(records: Sequence[dict[str, Any]], names: Iterable[str]) -> dict[str, dict[str, list[float]]]:
    """The values of each metric, by source."""
    table: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for v in records:
        for metric in names:
            if isinstance(v.get(metric), (int, float)):
                table[metric][v["source"]].append(float(v[metric]))
            elif metric == "calibration error" and "confidence" in v:
                table[metric][v["source"]].append(float(_calibration_error(_sums([v]))))
    return table


_STATISTICS: dict[str, Callable[..., Any]] = {"seconds per MP": np.median, "worst max F": np.min}


def _figures(
    name: str,
    configuration: str,
    table: dict[str, dict[str, list[float]]],
    names: Iterable[str],
    condition: str = "",
) -> list[Figure]:
    made = []
    for metric in names:
        if metric not in table:
            continue
        statistic = _STATISTICS.get(metric, np.mean)
        # The worst image is the worst of all, also where several were made from one source.
        of_source = np.min if statistic is np.min else np.mean
        per_source = {s: float(of_source(x)) for s, x in table[metric].items()}
        sample = np.array(list(per_source.values()))
        low, high = None, None
        if len(sample) > 1 and statistic is not np.min:
            low, high = metrics.bootstrap_interval(sample, statistic, resamples=2000)
        made.append(Figure(name, metric, configuration, float(statistic(sample)), low, high, per_source, condition))
    return made


def _at_one_threshold(records: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, float]]]:
    """Source of each record, and what is told of it at the threshold that is best for the others."""
    with_curves = [v for v in records if "F by threshold" in v]
    if len(with_curves) < 2:
        return []
    chosen, f = metrics.leave_one_out([v["F by threshold"] for v in with_curves])
    return [
        (
            v["source"],
            {
                "F at one threshold": float(value),
                "IoU at one threshold": float(v["IoU by threshold"][at]),
                "F short of its own threshold": float(max(v["F by threshold"]) - value),
                "the one threshold": float((PX_THRESHOLDS if v["threshold unit"] == "px" else SCORE_THRESHOLDS)[at]),
            },
        )
        for v, at, value in zip(with_curves, chosen, f, strict=True)
    ]


def _sums(records: Iterable[dict[str, Any]], kept: str = "confidence") -> NDArray[np.float64]:
    """Pixels of all records in each bin of the confidence, and the sums of their confidence and of how many are right.

    bins x 3.
    """
    tables = np.array([v[kept] for v in records if kept in v]).reshape(-1, CONFIDENCE_BINS, 3)
    return np.concatenate([tables[..., :1], tables[..., :1] * tables[..., 1:]], axis=2).sum(axis=0)


def _calibration_error(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.abs(sums[..., 1] - sums[..., 2]).sum(axis=-1) / sums[..., 0].sum(axis=-1)


_FIRST_SURE_BIN = round(_SURE * CONFIDENCE_BINS)


def _right_where_sure(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """NaN where no pixel is sure."""
    sure = sums[..., _FIRST_SURE_BIN:, :].sum(axis=-2)
    return np.divide(sure[..., 2], sure[..., 0], out=np.full(sure.shape[:-1], np.nan), where=sure[..., 0] > 0)


def _share_sure(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    return sums[..., _FIRST_SURE_BIN:, 0].sum(axis=-1) / sums[..., 0].sum(axis=-1)


_POOLED: dict[str, tuple[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]]] = {
    "calibration error, pooled": ("confidence", _calibration_error),
    "right where confidence >= 0.8": ("confidence", _right_where_sure),
    "right where confidence >= 0.8, truth clipped": ("confidence, truth clipped to the range", _right_where_sure),
    "share of confidence >= 0.8": ("confidence", _share_sure),
}
"""Metric to the bins it is read from and how; ... x bins x 3 of `_sums` to ...."""


def _pooled_figures(name: str, configuration: str, records: Sequence[dict[str, Any]]) -> list[Figure]:
    made = []
    for metric, (kept, read) in _POOLED.items():
        of_source: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for v in records:
            if kept in v:
                of_source[v["source"]].append(v)
        if not of_source:
            continue
        sums = np.stack([_sums(of, kept) for of in of_source.values()])
        pooled = float(read(sums.sum(axis=0)))
        if not np.isfinite(pooled):
            continue
        low, high = None, None
        if len(sums) > 1:

            def of_drawn(drawn: NDArray[np.float64], axis: int, sums: Any = sums, read: Any = read) -> Any:
                return read(sums[drawn.astype(int)].sum(axis=axis % drawn.ndim))

            low, high = metrics.bootstrap_interval(np.arange(len(sums)), of_drawn, resamples=2000)
            if not np.isfinite(low + high):  # some draw has no pixel that is sure
                low, high = None, None
        per_source = {s: float(x) for s, x in zip(of_source, read(sums), strict=True) if np.isfinite(x)}
        made.append(Figure(name, metric, configuration, pooled, low, high, per_source))
    return made


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
    made = figures(values)
    write_text(folder / "report.html", _page(folder, head, values, made))
    write_text(folder / "summary.md", markdown(head, values, made))
    columns = ["set", "condition", "metric", "configuration", "mean", "low", "high", "sources"]
    rows = [[f.set, f.condition, f.metric, f.configuration, f.mean, f.low, f.high, len(f.per_source)] for f in made]
    write_text(folder / "figures.csv", _csv(columns, rows))
    columns = ["set", "name", "source", "configuration", "metric", "value"]
    scalars = [
        [v["set"], v["name"], v["source"], v["configuration"], metric, v[metric]]
        for v in values
        for metric in _METRICS | _CONDITION_METRICS
        if isinstance(v.get(metric), (int, float))
    ]
    write_text(folder / "values.csv", _csv(columns, scalars))
    write_text(
        folder / "figures.json",
        json.dumps({"machine": head["machine"], "costs": head["costs"], "figures": [vars(f) for f in made]}, indent=1),
    )
    return made


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def markdown(head: dict[str, Any], values: Sequence[dict[str, Any]], made: Sequence[Figure]) -> str:
    """The figures as Markdown tables: for each set, then its conditions; and confidence over all sets of sigma.

    Cells are the mean and half the width of its interval.
    """
    lines = []
    for name in dict.fromkeys(f.set for f in made):
        of_set = [f for f in made if f.set == name and not f.condition]
        columns = [c for c in head["configurations"] if any(f.configuration == c for f in of_set)]
        sources = max(len(f.per_source) for f in of_set)
        lines += [f"### {name} ({sources} sources)", "", head["sets"][name]["description"], ""]
        lines += ["| metric | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
        for metric in dict.fromkeys(f.metric for f in of_set):
            cells = {f.configuration: f for f in of_set if f.metric == metric}
            best = _best(metric, cells.values())
            row = [
                (f"**{_short(cells[c])}**" if c in best else _short(cells[c])) if c in cells else "" for c in columns
            ]
            lines.append(f"| {metric} | " + " | ".join(row) + " |")
        lines.append("")
        for metric, header, rows in _condition_tables(made, name, columns):
            lines += [f"{name}: {metric}", "", *_markdown_table(header, rows), ""]
    if reliability := _reliability(head, values):
        lines += ["### Confidence, all sets of sigma together", "", _RELIABILITY_WORDS, ""]
        lines += [*_markdown_table(*reliability), ""]
    if head["costs"]:
        lines += [
            "### Whole process, one photograph of 640 x 480",
            "",
            "| configuration | seconds | MB |",
            "|---|---|---|",
        ]
        lines += [f"| {c} | {k.get('seconds', '')} | {k.get('megabytes', '')} |" for c, k in head["costs"].items()]
        lines.append("")
    return "\n".join(lines)


_RELIABILITY_WORDS = (
    "Fraction of pixels right (within 0.15 px or a tenth of the truth, whichever is larger), by confidence; in "
    "brackets the fraction of all pixels that have it. Pixels of all images of all these sets are pooled."
)


def _condition_tables(
    made: Sequence[Figure], name: str, columns: Sequence[str]
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Metric, header and rows of each table that tells a set's conditions apart."""
    of_set = [f for f in made if f.set == name and f.condition]
    tables = []
    for metric in _CONDITION_METRICS:
        cells = {(f.condition, f.configuration): _short(f) for f in of_set if f.metric == metric}
        conditions = dict.fromkeys(condition for condition, _ in cells)
        rows = [[condition, *(cells.get((condition, c), "") for c in columns)] for condition in conditions]
        if rows:
            tables.append((metric, ["condition", *columns], rows))
    return tables


def _reliability(head: dict[str, Any], values: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows of the reliability table over all sets of sigma; None if nothing told its confidence."""

    def of_all(configuration: str, kept: str) -> NDArray[np.float64]:
        return _sums((v for v in values if v["configuration"] == configuration), kept)

    sums = {c: of_all(c, "confidence") for c in head["configurations"]}
    sums = {c: s for c, s in sums.items() if s[:, 0].sum() > 0}
    if not sums:
        return None

    def cell(of: NDArray[np.float64], every: float) -> str:
        return f"{of[2] / of[0]:.3f} ({of[0] / every:.3f})" if of[0] else ""

    rows = [
        [
            f"{b / CONFIDENCE_BINS:g} to {(b + 1) / CONFIDENCE_BINS:g}",
            *(cell(s[b], s[:, 0].sum()) for s in sums.values()),
        ]
        for b in range(CONFIDENCE_BINS)
    ]
    sure = [cell(s[_FIRST_SURE_BIN:].sum(axis=0), s[:, 0].sum()) for s in sums.values()]
    rows.append([f"{_SURE:g} and more", *sure])
    clipped = {c: of_all(c, "confidence, truth clipped to the range") for c in sums}
    sure = [cell(s[_FIRST_SURE_BIN:].sum(axis=0), s[:, 0].sum()) for s in clipped.values()]
    rows.append([f"{_SURE:g} and more, truth clipped to the range", *sure])
    rows.append(["calibration error, pooled", *(f"{_calibration_error(s):.3f}" for s in sums.values())])
    return ["confidence", *sums], rows


def _markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _html_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    parts = ["<div class=scroll><table><tr>" + "".join(f"<th>{html.escape(h)}" for h in header)]
    parts += ["<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) for row in rows]
    return "\n".join([*parts, "</table></div>"])


def _short(f: Figure) -> str:
    return f"{f.mean:.3f}" if f.low is None or f.high is None else f"{f.mean:.3f} ±{(f.high - f.low) / 2:.3f}"


def _best(metric: str, cells: Iterable[Figure]) -> set[str]:
    """Configurations whose mean is the best, to the third digit."""
    better = _METRICS[metric][0]
    if better == "none":
        return set()
    value = {f.configuration: round(f.mean if better == "high" else -abs(f.mean), 3) for f in cells}
    return {c for c, v in value.items() if v == max(value.values())}


def _page(folder: Path, head: dict[str, Any], values: Sequence[dict[str, Any]], made: Sequence[Figure]) -> str:
    sets = list(dict.fromkeys(f.set for f in made))
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Defocus benchmark</title>",
        f"<style>{_STYLE}</style><h1>Defocus benchmark</h1>",
        f"<p>{html.escape(head['machine'])}. Means over images (over sources where several images are made from one), "
        "with the 95 % bootstrap interval over them; bold is best. Every number leads to the values it is the mean of. "
        "White (1, larger) means blurred.</p>",
        "<p>"
        + " · ".join(f"<a href='#set-{slug(s)}'>{html.escape(s)}</a>" for s in sets)
        + " · <a href='#definitions'>what the metrics mean</a></p>",
    ]
    for name, against in head["polarity"].items():
        if against is not None and against < 0:
            parts.append(
                f"<p class=warning>The truth of <b>{html.escape(name)}</b> runs against a plain blur score (rank "
                f"correlation {against:+.2f}): its polarity is probably inverted. Nothing was turned round.</p>"
            )
    colours = dict(zip(head["configurations"], _INK * 10, strict=False))
    for name in sets:
        of_set = [v for v in values if v["set"] == name and "error" not in v]
        parts += [
            f"<h2 id='set-{slug(name)}'>{html.escape(name)}</h2>",
            f"<p>{html.escape(head['sets'][name]['description'])}</p>",
            _table([f for f in made if f.set == name and not f.condition], list(head["configurations"])),
            *(
                f"<h4 title='{html.escape(_CONDITION_METRICS[metric][1])}'>{html.escape(metric)}</h4>"
                + _html_table(header, rows)
                for metric, header, rows in _condition_tables(made, name, list(head["configurations"]))
            ),
            "<div class=plots>",
            _precision_recall_plot(of_set, colours),
            _size_plot(of_set, colours),
            _calibration_plot(of_set, colours),
            "</div>",
            _gallery(folder, head["sets"][name]["kind"], of_set),
        ]
    failed = [v for v in values if "error" in v]
    if failed:
        parts.append("<h2>Failed</h2><ul>")
        parts += [
            f"<li>{html.escape(v['configuration'])} {html.escape(v['set'])}/{html.escape(v['name'])}: "
            f"{html.escape(v['error'])}</li>"
            for v in failed
        ]
        parts.append("</ul>")
    if head["costs"]:
        parts.append("<h2>Whole process, one photograph of 640 x 480</h2><table><tr><th>configuration<th>seconds<th>MB")
        parts += [
            f"<tr><td>{html.escape(c)}<td>{k.get('seconds', '')}<td>{k.get('megabytes', '')}"
            for c, k in head["costs"].items()
        ]
        parts.append("</table>")
    if reliability := _reliability(head, values):
        parts.append(f"<h2>Confidence, all sets of sigma together</h2><p>{_RELIABILITY_WORDS}</p>")
        parts.append(_html_table(*reliability))
    parts.append("<h2>Values</h2>")
    parts += [_values_table(made, name, list(head["configurations"])) for name in sets]
    parts.append("<h2 id='definitions'>What the metrics mean</h2><dl>")
    parts += [
        f"<dt><b>{html.escape(m)}</b><dd>{html.escape(words)}"
        for m, (_, words) in (_METRICS | _CONDITION_METRICS).items()
    ]
    return "\n".join([*parts, "</dl></html>\n"])


def _anchor(f: Figure) -> str:
    return f"v-{slug(f.set)}-{slug(f.metric)}"


def _table(of_set: Sequence[Figure], order: Sequence[str]) -> str:
    columns = [c for c in order if any(f.configuration == c for f in of_set)]
    rows = ["<div class=scroll><table><tr><th>" + "".join(f"<th>{html.escape(c)}" for c in columns)]
    for metric in dict.fromkeys(f.metric for f in of_set):
        cells = {f.configuration: f for f in of_set if f.metric == metric}
        best = _best(metric, cells.values())
        row = f"<tr><td title='{html.escape(_METRICS[metric][1])}'>{html.escape(metric)}"
        for c in columns:
            if c not in cells:
                row += "<td>"
                continue
            f = cells[c]
            interval = f"<small>{f.low:.3f} to {f.high:.3f}</small>" if f.low is not None else ""
            row += f"<td{' class=best' if c in best else ''}><a href='#{_anchor(f)}'>{f.mean:.3f}</a>{interval}"
        rows.append(row)
    return "\n".join([*rows, "</table></div>"])


def _values_table(made: Sequence[Figure], name: str, order: Sequence[str]) -> str:
    parts = [f"<details open><summary><b>{html.escape(name)}</b></summary>"]
    of_set = [f for f in made if f.set == name and not f.condition]
    for metric in dict.fromkeys(f.metric for f in of_set):
        cells = {f.configuration: f for f in of_set if f.metric == metric}
        columns = [c for c in order if c in cells]
        sources = list(dict.fromkeys(s for f in cells.values() for s in f.per_source))
        parts.append(f"<h4 id='{_anchor(next(iter(cells.values())))}'>{html.escape(name)}: {html.escape(metric)}</h4>")
        parts.append("<div class=scroll><table><tr><th>" + "".join(f"<th>{html.escape(c)}" for c in columns))
        for s in sources:
            found = (cells[c].per_source.get(s) for c in columns)
            parts.append(f"<tr><td>{html.escape(s)}" + "".join("<td>" if v is None else f"<td>{v:.3f}" for v in found))
        parts.append("</table></div>")
    return "\n".join([*parts, "</details>"])


def _precision_recall_plot(of_set: Sequence[dict[str, Any]], colours: dict[str, str]) -> str:
    lines: dict[str, NDArray[np.float64]] = {}
    for c in colours:
        curves = [(v["recall"], v["precision"]) for v in of_set if v["configuration"] == c and "precision" in v]
        if curves and all(len(r) == CURVE_POINTS for r, _ in curves):
            lines[c] = np.mean(curves, axis=0)
    title = "Precision against recall, means over images at equal thresholds"
    return _plot(lines, colours, title, "recall", "precision", (0, 1), (0, 1)) if lines else ""


def _size_plot(of_set: Sequence[dict[str, Any]], colours: dict[str, str]) -> str:
    lines: dict[str, NDArray[np.float64]] = {}
    for c in colours:
        tables = [v["by size"] for v in of_set if v["configuration"] == c and "by size" in v]
        if tables:
            table = np.array(tables)
            pixels = table[..., 0].sum(axis=0)
            error = (table[..., 0] * table[..., 1]).sum(axis=0) / np.maximum(pixels, 1)
            middle = (np.array(SIZE_BINS[1:]) + SIZE_BINS[:-1]) / 2
            lines[c] = np.stack([middle[pixels > 0], error[pixels > 0]])
    if not lines:
        return ""
    right = max(float(line[0].max()) for line in lines.values())
    top = max(float(line[1].max()) for line in lines.values())
    title = "Mean absolute error by true sigma, pixels pooled, at the middle of each bin"
    return _plot(lines, colours, title, "true sigma, px", "error, px", (0, right), (0, top))


def _calibration_plot(of_set: Sequence[dict[str, Any]], colours: dict[str, str]) -> str:
    lines: dict[str, NDArray[np.float64]] = {}
    for c in colours:
        tables = [v["confidence"] for v in of_set if v["configuration"] == c and "confidence" in v]
        if tables:
            table = np.array(tables)
            pixels = table[..., 0].sum(axis=0)
            told = pixels > pixels.sum() / CONFIDENCE_BINS / 100
            means = (table[..., :1] * table[..., 1:]).sum(axis=0)[told] / pixels[told, None]
            lines[c] = means.T
    title = "Calibration: fraction within 0.15 px or a tenth, by confidence, pixels pooled (diagonal = honest)"
    diagonal = np.array([[0, 1], [0, 1]])
    return _plot(lines, colours, title, "confidence", "share right", (0, 1), (0, 1), diagonal) if lines else ""


def _plot(
    lines: dict[str, NDArray[np.float64]],
    colours: dict[str, str],
    title: str,
    across: str,
    up: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    guide: NDArray[np.float64] | None = None,
) -> str:
    """An inline SVG of lines, each 2 x n."""
    width, height, left, bottom, top = 360, 300, 46, 40, 34

    def place(points: NDArray[np.float64]) -> str:
        x = left + (points[0] - x_range[0]) / max(x_range[1] - x_range[0], 1e-9) * (width - left - 10)
        y = height - bottom - (points[1] - y_range[0]) / max(y_range[1] - y_range[0], 1e-9) * (height - bottom - top)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))

    words = title.split(", ", 1)
    parts = [
        f"<svg width={width} height={height + 16 * len(lines)} font-size=11 role=img>",
        f"<title>{html.escape(title)}</title>",
        f"<text x={left} y=12 font-weight=bold>{html.escape(words[0])}</text>",
        f"<text x={left} y=25 fill=#777>{html.escape(words[1] if len(words) > 1 else '')}</text>",
        f"<rect x={left} y={top} width={width - left - 10} height={height - bottom - top} fill=none stroke=#bbb />",
        f"<text x={(width + left) / 2} y={height - 6} text-anchor=middle>{html.escape(across)}</text>",
        f"<text x=12 y={height / 2} text-anchor=middle transform='rotate(-90 12 {height / 2})'>",
        f"{html.escape(up)}</text>",
    ]
    for k in range(5):
        x, y = (low + (high - low) * k / 4 for low, high in (x_range, y_range))
        at = place(np.array([[x, x_range[0]], [y_range[0], y]])).split()
        (x_at, _), (_, y_at) = (p.split(",") for p in at)
        parts.append(f"<text x={x_at} y={height - bottom + 14} text-anchor=middle>{x:.3g}</text>")
        parts.append(f"<text x={left - 4} y={float(y_at) + 4:.1f} text-anchor=end>{y:.3g}</text>")
    if guide is not None:
        parts.append(f"<polyline points='{place(guide)}' fill=none stroke=#bbb stroke-dasharray=4 />")
    for row, (c, line) in enumerate(lines.items()):
        ink = colours[c]
        parts.append(f"<polyline points='{place(line)}' fill=none stroke='{ink}' stroke-width=1.6 />")
        parts.append(f"<rect x={left} y={height + 16 * row} width=14 height=4 fill='{ink}' />")
        parts.append(f"<text x={left + 20} y={height + 16 * row + 6}>{html.escape(c)}</text>")
    return "".join([*parts, "</svg>"])


def _gallery(folder: Path, kind: str, of_set: Sequence[dict[str, Any]]) -> str:
    """Rows: photograph, truth, and each configuration's map above its errors."""
    shown: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for v in of_set:
        if v["shown"]:
            shown[v["name"]].append(v)
    rows = []
    for name, records in shown.items():
        cells, begun = [], False
        for v in records:
            path = folder / "gallery" / slug(v["set"]) / f"{slug(name)}.{slug(v['configuration'])}.npz"
            if not path.is_file():
                continue
            with np.load(path) as kept:
                photo, truth, valid, values = (kept[k] for k in ("photo", "truth", "valid", "map"))
            truth, values = truth.astype(np.float64), values.astype(np.float64)
            if not begun:
                cells += [
                    f"<td>{_img(photo)}{html.escape(name)}",
                    f"<td>{_img(_coloured(truth, kind == 'sigma'))}truth",
                ]
                begun = True
            in_px = kind == "sigma" or v.get("threshold unit") == "px"
            cells.append(
                f"<td>{_img(_coloured(values, in_px))}{html.escape(v['configuration'])}"
                f"{_img(_errors(values, truth, valid > 0.5, kind))}"
            )
        rows.append("<tr>" + "".join(cells))
    if not rows:
        return ""
    words = {
        "mask": "Below each map: red is called blurred and is sharp, blue is called sharp and is blurred, at the "
        "threshold best for that image.",
        "sigma": "Below each map: error, blue too sharp, red too blurred, full colour at 1 px and more.",
        "relative": "Below each map: difference of ranks from the truth's.",
    }[kind]
    scale = f"Maps in px share one scale, {_SHOWN_PX[0]:g} to {_SHOWN_PX[1]:g} px; scores span their own. {words}"
    return f"<p>{scale}</p><div class=scroll><table class=gallery>" + "\n".join(rows) + "</table></div>"


def _coloured(values: NDArray[np.float64], in_px: bool) -> NDArray[np.uint8]:
    low, high = _SHOWN_PX if in_px else (float(values.min()), float(values.max()))
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


def _img(picture: NDArray[np.uint8]) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=80)
    return f"<img src='data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}' alt=''>"
