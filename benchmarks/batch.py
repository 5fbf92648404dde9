"""What a run over object storage costs beside the local command, and how it grows with the number of photographs.

    python benchmarks/batch.py overhead                       # 60 photographs, S3 server on loopback and a folder
    python benchmarks/batch.py overhead --count 100 --size 1500 1000
    python benchmarks/batch.py growth --keys 1000000          # plan, status, collect and rank of so many rows
    python benchmarks/batch.py resume                         # a worker killed half-way, and another that goes on

`overhead` takes turns: `defocus estimate --jobs N` on a folder, and `defocus batch work --jobs N` on the same
photographs in a folder and on an S3 server of its own (moto, on loopback, whose own time is not counted). CPU seconds
are those of all processes of the command; on a machine with other work they are what to trust. It also prints what the
plan had forecast.

`resume` kills a worker and all its processes when half of the photographs have their map, and starts another: how long
it takes until that one has done its first photograph, how many it did, and how many of these had been done before.

`growth` lists a store that only answers listings, and stands in for the work by rows that are made up: what it measures
is the driver, not the estimates. Memory is the largest that one process held.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import folders
import speed

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from object_store import Listing, Server, environment, make_bucket

PART = 1000
"""Photographs in a part of the growing run."""


def overhead(count: int, size: tuple[int, int], jobs: int, runs: int) -> None:
    """Print a table of seconds a photograph."""
    from defocus.batch.storage import Store

    server = Server()
    server.start()
    os.environ |= environment(server.url)
    print(f"{count} photographs of {size[0]} x {size[1]}, {jobs} jobs, best of {runs}\n")
    print("| command | CPU s a photograph | wall s a photograph | largest process, MB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        photos = Path(temporary) / "photos"
        photos.mkdir()
        folders.make_folder(photos, count, *size)
        make_bucket(server.url, "photos")
        make_bucket(server.url, "runs")
        for path in photos.iterdir():
            Store("s3://photos").write(path.name, path.read_bytes())
        places = {"folder": (str(photos), f"{temporary}/run"), "S3": ("s3://photos", "s3://runs")}
        taken: dict[str, list[speed.Run]] = {}
        for turn in range(runs):
            local = ["estimate", str(photos), "-o", f"{temporary}/maps{turn}", "--jobs", str(jobs), "--quiet"]
            taken.setdefault("defocus estimate", []).append(_measured(*local))
            for name, (source, place) in places.items():
                for outputs in ("rows", "map,preview"):
                    run = f"{place}/{outputs.replace(',', '-')}-{turn}"
                    # As many parts as jobs: else the last part is done by one of them alone.
                    part = -(-count // jobs)
                    options = ["--outputs", outputs, "--part-size", str(part), "--json"]
                    plan = json.loads(_output(["batch", "plan", source, run, *options]))
                    figures = _measured("batch", "work", run, "--jobs", str(jobs), "--quiet")
                    taken.setdefault(f"batch work, {name}, {outputs}", []).append(figures)
        for name, all_figures in taken.items():
            best = min(all_figures, key=lambda each: each.cpu)
            figures = f"{best.cpu / count:.3f} | {best.seconds / count:.3f} | {best.megabytes:.0f}"
            print(f"| {name} | {figures} |")
        forecast = plan["forecast"]
        print(f"\nForecast of the last plan: {forecast['seconds_each']:.3f} CPU s a photograph.")
    server.stop()


def resume(count: int, part: int) -> None:
    """Print what a killed worker costs, with maps and with rows alone."""
    for outputs in ("small", "rows"):
        with tempfile.TemporaryDirectory() as temporary:
            photos, run = Path(temporary) / "photos", Path(temporary) / "run"
            photos.mkdir()
            folders.make_folder(photos, count, 640, 480)
            _output(["batch", "plan", str(photos), str(run), "--outputs", outputs, "--part-size", str(part), "--json"])
            first = _worker(run)
            while _photographs_done(run, outputs) < count / 2:
                time.sleep(0.05)
            os.killpg(first.pid, signal.SIGKILL)
            first.wait()
            before, started = _photographs_done(run, outputs), time.perf_counter()
            second = _worker(run)
            while second.poll() is None and _photographs_done(run, outputs) == before:
                time.sleep(0.05)
            again = time.perf_counter() - started
            second.wait()
            total = time.perf_counter() - started
            rows = json.loads(_output(["batch", "status", str(run), "--json"]))
            print(
                f"{outputs}, parts of {part}: {before} of {count} kept by the one killed; the next had more after "
                f"{again:.1f} s and all after {total:.1f} s; {rows['done']} rows, {rows['failed']} failed."
            )


def _worker(run: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-P", "-m", "defocus", "batch", "work", str(run), "--quiet"]
    return subprocess.Popen(command, start_new_session=True)


def _photographs_done(run: Path, outputs: str) -> int:
    """Photographs that a worker that begins now would not do again."""
    if outputs == "small":
        return len(list(run.rglob("*.defocus.tiff")))
    return int(json.loads(_output(["batch", "status", str(run), "--json"]))["done"])


def _output(arguments: Sequence[str]) -> str:
    return subprocess.run(
        [sys.executable, "-P", "-m", "defocus", *arguments], check=True, capture_output=True, text=True
    ).stdout


def _measured(*arguments: str) -> speed.Run:
    return speed.whole_process([sys.executable, "-P", "-m", "defocus", *arguments])


def growth(keys: int) -> None:
    """Print what each step of a run of so many photographs takes, each in a process of its own."""
    listing = Listing(keys)
    listing.start()
    os.environ |= environment(listing.url)
    print(f"{keys} photographs in parts of {PART}\n\n| step | CPU s | wall s | MB |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as run:
        steps = {
            "plan": f"defocus.batch.plan('s3://many', {run!r}, part_size={PART}, sample=0)",
            "todo": f"assert len(defocus.batch.Run.open({run!r}).todo()) == {-(-keys // PART)}",
            "(rows made up)": f"batch.make_up({run!r})",
            "status": f"assert defocus.batch.Run.open({run!r}).status().done == {keys}",
            "rank, 1,000 best": f"assert len(batch.best_of({run!r}, 1000)) == {min(1000, keys)}",
            "collect": f"defocus.batch.Run.open({run!r}).collect()",
            "rank, 1,000 best, collected": f"assert len(batch.best_of({run!r}, 1000)) == {min(1000, keys)}",
        }
        for name, program in steps.items():
            here = str(Path(__file__).parent)
            code = f"import sys; sys.path.insert(0, {here!r}); import batch, defocus.batch; {program}"
            used = speed.whole_process([sys.executable, "-c", code])
            print(f"| {name} | {used.cpu:.1f} | {used.seconds:.1f} | {used.megabytes:.0f} |", flush=True)
        files = list((Path(run) / "table").rglob("*.parquet"))
        print(f"\n{len(files)} collected files, {sum(path.stat().st_size for path in files) / 1e6:.0f} MB.")
    listing.stop()


def make_up(place: str) -> None:
    """Write rows of chance for every part of a run."""
    from defocus.batch.rows import COLUMNS, decode, encode
    from defocus.batch.run import Run, rows_key
    from defocus.batch.storage import Store

    run = Run.open(place)
    store = Store(run.url)
    rng = np.random.default_rng(0)
    numbers = [name for name, kind in COLUMNS.items() if kind == "float32"]
    for part in run.todo():
        photographs = decode(store.read(run.plan.part_key(part))[0]).to_pylist()
        values = rng.random((len(photographs), len(numbers)))
        rows = [
            {**each, **dict(zip(numbers, row.tolist(), strict=True)), "width": 4000, "height": 3000, "shaken": False}
            for each, row in zip(photographs, values, strict=True)
        ]
        store.create(rows_key(part), encode(rows))


def best_of(place: str, count: int) -> list[dict[str, object]]:
    """Return the best of a run."""
    from defocus.batch.collect import best
    from defocus.batch.run import Run

    return best(Run.open(place), count)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    beside = kinds.add_parser("overhead")
    beside.add_argument("--count", type=int, default=60)
    beside.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    beside.add_argument("--jobs", type=int, default=2)
    beside.add_argument("--runs", type=int, default=1)
    kinds.add_parser("growth").add_argument("--keys", type=int, default=100_000)
    stopped = kinds.add_parser("resume")
    stopped.add_argument("--count", type=int, default=60)
    stopped.add_argument("--part-size", type=int, default=20)
    chosen = parser.parse_args(arguments)
    if chosen.kind == "overhead":
        overhead(chosen.count, tuple(chosen.size), chosen.jobs, chosen.runs)
    elif chosen.kind == "resume":
        resume(chosen.count, chosen.part_size)
    else:
        growth(chosen.keys)


if __name__ == "__main__":
    main()
