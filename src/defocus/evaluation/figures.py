"""The figures of a benchmark: from what was measured on each image to one number for each set and configuration.

Every figure is a mean over images (over sources, where several images are made from one) with a 95 % bootstrap
interval over them. Where sources were treated in several ways (blurred by
several sigmas, say), further tables tell the figures of each.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from defocus.evaluation import metrics
from defocus.evaluation.benchmark import (
    CONFIDENCE_BINS,
    PX_THRESHOLDS,
    SCORE_THRESHOLDS,
)
from defocus.methods.registry import METHODS

__all__ = [
    "CONDITION_METRICS",
    "METRICS",
    "RELIABILITY_NOTE",
    "WORST_NOTE",
    "Figure",
    "best_configurations",
    "condition_tables",
    "figures",
    "markdown",
    "reliability_table",
    "worst_table",
]

METRICS: dict[str, tuple[str, str]] = {
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
    "MAE at seeds": ("low", "MAE where the method itself measured, before propagation, px."),
    "RMSE": ("low", "Root of the mean squared error of an image, px, then averaged."),
    "relative error": ("low", "Mean |sigma / truth - 1| over pixels whose truth is above 0."),
    "relative error at seeds": (
        "low",
        "The same where the method itself measured (the map's seeds), before propagation.",
    ),
    "grossly wrong": ("low", "Fraction of pixels whose error is above 1 px and above the truth itself."),
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
    "MAE of the surest 25%": (
        "low",
        "MAE, px, of the quarter of an image's pixels with the largest confidence; then averaged (risk against "
        "coverage).",
    ),
    "MAE of the surest 50%": ("low", "The same of half of the pixels."),
    "MAE of the surest 75%": ("low", "The same of three quarters; of all pixels it is MAE."),
    "sure and wrong": (
        "low",
        "Fraction of pixels with a confidence of 0.5 and more whose sigma is off by more than half an octave, the "
        "truth clipped to what the method can tell. Where nobody can know the blur (a frame, camera shake), whatever "
        "is sure is wrong.",
    ),
    "sure": ("none", "Fraction of pixels with a confidence of 0.5 and more, of the same pixels."),
    "rank correlation": ("high", "Spearman's, map against truth, per image, then averaged."),
    "affine-invariant RMSE": (
        "low",
        "RMSE after the best scale and offset for each image, as a fraction of the truth's standard deviation.",
    ),
    "seconds per MP": ("low", "Seconds of one estimate in a warm process per megapixel; median over images."),
}
"""Name to (what is better: high, low, zero or none; definition with its pooling)."""
CONDITION_METRICS: dict[str, tuple[str, str]] = {
    name: METRICS[name] for name in ("relative error at seeds", "relative error", "MAE", "sure and wrong", "sure")
} | {
    "median ratio": ("none", "Median of sigma / truth over the pixels of an image, then averaged: 1 is without bias."),
    "median reading": ("none", "Median of sigma over all pixels of an image, px, then averaged."),
}
"""The metrics given for each condition of a set; as `METRICS`."""
_SURE = 0.8
"""Confidence from which on pixels are asked to be right."""


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
    """Every number: set by set, in the order of `METRICS`, configurations in the order they were measured.

    After those of all examples of a set come those of each condition, where the set has several.
    """
    grouped: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for v in values:
        if "error" not in v:
            grouped[v["set"], v["configuration"]].append(v)
    collected = []
    for (name, configuration), records in grouped.items():
        table = _by_source(records, METRICS)
        for source, found in _at_one_threshold(records):
            for metric, value in found.items():
                table[metric][source].append(value)
        if "max F" in table:
            table["worst max F"] = table["max F"]
        collected += _figures(name, configuration, table, METRICS)
        collected += _pooled_figures(name, configuration, records)
        conditions = dict.fromkeys(v.get("condition", "") for v in records)
        if len(conditions) > 1:
            for condition in conditions:
                of_condition = _by_source([v for v in records if v.get("condition") == condition], CONDITION_METRICS)
                collected += _figures(name, configuration, of_condition, CONDITION_METRICS, condition)
    order = list(METRICS | CONDITION_METRICS)
    sets = list(dict.fromkeys(f.set for f in collected))
    return sorted(collected, key=lambda f: (sets.index(f.set), _by_number(f.condition), order.index(f.metric)))


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
    collected = []
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
        collected.append(
            Figure(name, metric, configuration, float(statistic(sample)), low, high, per_source, condition)
        )
    return collected


def _at_one_threshold(records: Sequence[dict[str, Any]]) -> list[tuple[str, dict[str, float]]]:
    """Source of each record, and its figures at the threshold that is best for the others."""
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
    collected = []
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
        collected.append(Figure(name, metric, configuration, pooled, low, high, per_source))
    return collected


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
            best = best_configurations(metric, cells.values())
            row = [
                (f"**{_short(cells[c])}**" if c in best else _short(cells[c])) if c in cells else "" for c in columns
            ]
            lines.append(f"| {metric} | " + " | ".join(row) + " |")
        lines.append("")
        for metric, header, rows in condition_tables(made, name, columns):
            lines += [f"{name}: {metric}", "", *_markdown_table(header, rows), ""]
        if worst := worst_table(head, values, name):
            lines += [f"{name}: the worst photographs. {WORST_NOTE}", "", *_markdown_table(*worst), ""]
        if reliability := reliability_table(head, [v for v in values if v["set"] == name]):
            lines += [f"{name}: confidence. {RELIABILITY_NOTE}", "", *_markdown_table(*reliability), ""]
    if reliability := reliability_table(head, values):
        lines += ["### Confidence, all sets of sigma together", "", RELIABILITY_NOTE, ""]
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


RELIABILITY_NOTE = (
    "Share of pixels right (within 0.15 px or a tenth of the truth, whichever is larger), by confidence; in brackets "
    "the share of all pixels that have it. Pixels of all images are pooled."
)
WORST_NOTE = (
    "The photograph on which a method is worst, and the one on which it falls farthest behind the best other method of "
    "this package in the same run: how many times its MAE is that one's, or for masks how many times that one's max F "
    "is its own."
)
_WORST = {"sigma": ("MAE", 1), "mask": ("max F", -1)}
"""Kind of a set to the metric by which a photograph is the worst, and -1 where a large value is good, else 1."""


def worst_table(
    head: dict[str, Any], values: Sequence[dict[str, Any]], name: str
) -> tuple[list[str], list[list[str]]] | None:
    """Return header and rows of the table of the worst photographs of a set, one row for each configuration.

    A photograph is an example: of a source that was blurred in several ways each way counts by itself. Peers are no
    methods of the package, so that nothing is compared with theirs. Where either value is 0 there is no ratio, and the
    photograph is left out of the comparison.

    Parameters
    ----------
    head : what `benchmark.json` holds.
    values : one record for each image and configuration.
    name : of the set.

    Returns
    -------
    None for sets of a kind that has no metric for it, and where nothing was measured by it.
    """
    if head["sets"][name]["kind"] not in _WORST:
        return None
    metric, sign = _WORST[head["sets"][name]["kind"]]
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for v in values:
        if v["set"] == name and v.get(metric) is not None:
            found[v["configuration"]][v["name"]] = float(v[metric])
    house = [c for c in found if head["configurations"][c]["method"] in METHODS]
    rows = []
    for configuration in (c for c in head["configurations"] if c in found):
        worst, photograph = max((sign * value, photograph) for photograph, value in found[configuration].items())
        row = [configuration, photograph, f"{abs(worst):.3f}"]
        behind = []
        for photograph, value in found[configuration].items():
            others = [(sign * found[c][photograph], c) for c in house if c != configuration and photograph in found[c]]
            best, other = min(others, default=(0.0, ""))
            if value and best:
                behind.append(((value / abs(best)) ** sign, photograph, f"{value:.3f}", f"{abs(best):.3f} ({other})"))
        if behind:
            ratio, *rest = max(behind)
            row += [f"{ratio:.2f}", *rest]
        rows.append(row + [""] * (7 - len(row)))
    if not rows:
        return None
    header = ["method", "worst photograph", metric, "largest ratio", "photograph", metric, "best other there"]
    return header, rows


def condition_tables(
    made: Sequence[Figure], name: str, columns: Sequence[str]
) -> list[tuple[str, list[str], list[list[str]]]]:
    """Metric, header and rows of each table that tells a set's conditions apart."""
    of_set = [f for f in made if f.set == name and f.condition]
    tables = []
    for metric in CONDITION_METRICS:
        cells = {(f.condition, f.configuration): _short(f) for f in of_set if f.metric == metric}
        conditions = dict.fromkeys(condition for condition, _ in cells)
        rows = [[condition, *(cells.get((condition, c), "") for c in columns)] for condition in conditions]
        if rows:
            tables.append((metric, ["condition", *columns], rows))
    return tables


def reliability_table(
    head: dict[str, Any], values: Sequence[dict[str, Any]]
) -> tuple[list[str], list[list[str]]] | None:
    """Header and rows of the reliability table over the sets of `values`; None if nothing has a confidence."""

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


def _short(f: Figure) -> str:
    return f"{f.mean:.3f}" if f.low is None or f.high is None else f"{f.mean:.3f} ±{(f.high - f.low) / 2:.3f}"


def best_configurations(metric: str, cells: Iterable[Figure]) -> set[str]:
    """Configurations whose mean is the best, to the third digit."""
    better = METRICS[metric][0]
    if better == "none":
        return set()
    value = {f.configuration: round(f.mean if better == "high" else -abs(f.mean), 3) for f in cells}
    return {c for c, v in value.items() if v == max(value.values())}
