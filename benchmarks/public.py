"""The tables of docs/figures/public.md, from the report of a benchmark on the public data sets.

    METHODS=pyramid,dhde,zhuo2011,shi2014,shi2015jnb,shi2015tog,karaali2018
    defocus benchmark --data public --methods $METHODS -o report --jobs 2 --no-costs
    python benchmarks/public.py --report report

The first table has figures of every set for each method, over all pictures, and over photographs and drawings apart.
The second has the relative error and the median of estimate / truth by the sigma of even blur.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

from defocus.evaluation.figures import METRICS, Figure, best_configurations
from defocus.evaluation.public import DISCS, DRAWINGS, GAUSSIANS

ROWS = (
    ("public-masks", "AP"),
    ("public-masks", "max F"),
    ("public-masks", "F at one threshold"),
    ("public-masks", "the one threshold"),
    ("public-layers", "MAE"),
    ("public-layers", "MAE, truth clipped to the range"),
    ("public-layers", "rank correlation"),
    ("public-ramp", "MAE"),
    ("public-ramp", "MAE, truth clipped to the range"),
    ("public-ramp", "MAE at seeds"),
    ("public-ramp", "rank correlation"),
    ("public-gaussian", "relative error"),
    ("public-disc", "relative error"),
)
APART = {"AP", "MAE", "relative error"}
"""Metrics of which photographs and drawings are also told apart."""


def read_figures(folder: Path) -> list[Figure]:
    """Read the figures of a report."""
    report = json.loads((folder / "figures.json").read_text(encoding="utf-8"))
    return [Figure(**fields) for fields in report["figures"]]


def overall(figures: list[Figure]) -> Iterator[str]:
    """Yield the lines of the first table."""
    # Every method has values for masks, so their order there is the one that was asked for.
    methods = list(dict.fromkeys(f.configuration for f in figures if f.set == "public-masks"))
    cells = {(f.set, f.metric, f.configuration): f for f in figures if not f.condition}
    yield f"| set | metric | {' | '.join(methods)} |"
    yield "|---" * (len(methods) + 2) + "|"
    last = ""
    for name, metric in ROWS:
        found = {m: cells[name, metric, m] for m in methods if (name, metric, m) in cells}
        best = best_configurations(metric, found.values()) if found else set()
        texts = []
        for m in methods:
            if m not in found:
                texts.append("")
                continue
            f = found[m]
            text = f"**{f.mean:.3f}**" if m in best else f"{f.mean:.3f}"
            if f.low is not None and f.high is not None and METRICS[metric][0] != "none":
                text += f" ±{(f.high - f.low) / 2:.3f}"
            texts.append(text)
        yield f"| {'' if name == last else f'`{name}`'} | {metric} | {' | '.join(texts)} |"
        if metric in APART:
            halves = [_apart(found[m].per_source) if m in found else "" for m in methods]
            yield f"| | photographs / drawings | {' | '.join(halves)} |"
        last = name


def _apart(per_source: dict[str, float]) -> str:
    drawn = [v for s, v in per_source.items() if s in DRAWINGS]
    taken = [v for s, v in per_source.items() if s not in DRAWINGS]
    return f"{fmean(taken):.3f} / {fmean(drawn):.3f}" if drawn and taken else ""


def by_sigma(figures: list[Figure]) -> Iterator[str]:
    """Yield the lines of the second table."""
    for name, sigmas in (("public-gaussian", GAUSSIANS), ("public-disc", DISCS)):
        of_set = {(f.metric, f.condition, f.configuration): f.mean for f in figures if f.set == name}
        methods = list(dict.fromkeys(f.configuration for f in figures if f.set == name))
        yield f"| `{name}` | {' | '.join(f'{s:g} px' for s in sigmas)} |"
        yield "|---" * (len(sigmas) + 1) + "|"
        for m in methods:
            texts = (
                f"{of_set['relative error', f'{s:g} px', m]:.2f}, {of_set['median ratio', f'{s:g} px', m]:.2f}"
                for s in sigmas
            )
            yield f"| {m} | {' | '.join(texts)} |"
        yield ""


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--report", type=Path, required=True, help="folder of the report")
    figures = read_figures(parser.parse_args().report)
    print("\n".join([*overall(figures), "", *by_sigma(figures)]))


if __name__ == "__main__":
    main()
