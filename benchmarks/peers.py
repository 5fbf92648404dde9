"""Detection side by side with the systems of others, in one run: quality on `masks` and `multifocus`, and seconds.

    python benchmarks/peers.py --data ../shared/data/dev -o peers --authors ../shared/golden/DHDE_model.caffemodel

Methods: `pyramid` and `dhde` in its preset `released` with this package's weights (and with the authors' own, if
--authors names them), `zhuo2011`, HiFST by the package blur-detector at its defaults (`hifst`: every fourth pixel down
and across) and at full density (`hifst-dense`: downsampling_factor=1, everything else as it is), and the variance of
the Laplacian. HiFST at full density takes minutes a photograph, so it runs on the first --dense-limit photographs of
each set; the second table has all methods on these alone.

Positive class: blurred. AP, max F and F at one threshold are those of `defocus benchmark` (definitions in
docs/reference/metrics.md), means over photographs; "worst" is the smallest max F. Seconds per megapixel are medians
over photographs, of one estimate in a warm process. With --jobs 1 a method uses all the cores it can; with more, each
process keeps to one core. A run that was killed goes on when it is started again with the same folder.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from defocus.evaluation.benchmark import Configuration, read_values, run
from defocus.evaluation.figures import figures
from defocus.evaluation.layouts import open_data
from defocus.runtime.atomic import write_text
from defocus.runtime.cores import available_cores

METHODS = ("pyramid", "dhde-released=dhde:released", "zhuo2011", "hifst", "laplacian")
DENSE = "hifst-dense"
SETS = ("masks", "multifocus")
COLUMNS = ("AP", "max F", "worst max F", "F at one threshold", "seconds per MP")


def table(values: Sequence[dict[str, Any]], order: Sequence[str]) -> str:
    """Markdown: a row for each configuration, the columns of each set beside one another."""
    made = {(f.configuration, f.set, f.metric): f for f in figures(values)}
    sets = [name for name in SETS if any(key[1] == name for key in made)]
    count = {name: len({v["name"] for v in values if v["set"] == name}) for name in sets}
    headings = [f"{name} ({count[name]}): {column}" for name in sets for column in COLUMNS]
    lines = ["| method | " + " | ".join(headings) + " |", "|---" * (len(headings) + 1) + "|"]
    for configuration in order:
        cells = [made.get((configuration, name, column)) for name in sets for column in COLUMNS]
        if any(cells):
            lines.append(
                f"| {configuration} | " + " | ".join("" if f is None else f"{f.mean:.3f}" for f in cells) + " |"
            )
    return "\n".join(lines)


def on_photographs_of(values: Sequence[dict[str, Any]], configuration: str) -> list[dict[str, Any]]:
    """The values of all configurations on the photographs that one of them has been measured on."""
    has = {(v["set"], v["name"]) for v in values if v["configuration"] == configuration}
    return [v for v in values if (v["set"], v["name"]) in has]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the folder does not hold yet, and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with masks/ and multifocus/")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the run; continued")
    parser.add_argument("--authors", type=Path, help="weights file of the authors of DHDE")
    parser.add_argument("--limit", type=int, help="at most this many photographs of each set")
    parser.add_argument(
        "--dense-limit", type=int, default=4, help="the same for HiFST at full density; 0 leaves it out"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes; several keep to one core each")
    options = parser.parse_args(arguments)

    sets = [data for data in open_data(options.data) if data.name in SETS]
    if not sets:
        parser.error(f"{options.data} holds neither masks nor multifocus")
    texts = [*METHODS]
    if options.authors is not None:
        texts.insert(2, f"dhde-authors=dhde:released:{options.authors}")
    configurations = [Configuration.parse(text) for text in texts]

    def say(line: str, share: float) -> None:
        print(f"{share:4.0%}  {line}", file=sys.stderr, flush=True)

    def measure(wanted: Sequence[Configuration], limit: int | None) -> dict[str, Any]:
        return run(sets, wanted, options.output, limit=limit, jobs=options.jobs, costs=False, report=say)

    head = measure(configurations, options.limit)
    if options.dense_limit:
        measure([Configuration.parse(DENSE)], min(options.dense_limit, options.limit or options.dense_limit))
    values = [v for v in read_values(options.output) if "error" not in v]
    order = [c.name for c in configurations]
    cores = f"{available_cores()} cores for each estimate" if options.jobs == 1 else "one core for each estimate"
    parts = [
        f"Seconds per MP: {cores}; {head['machine']}.",
        table([v for v in values if v["configuration"] in order], order),
    ]
    if options.dense_limit:
        common = on_photographs_of(values, DENSE)
        parts += [
            "All methods on the photographs that HiFST at full density was run on:",
            table(common, [*order, DENSE]),
        ]
    text = "\n\n".join(parts) + "\n"
    write_text(options.output / "peers.md", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
