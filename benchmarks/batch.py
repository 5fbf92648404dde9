"""What a run over object storage costs beside the local command, and how it grows with the number of photographs.

    python benchmarks/batch.py overhead                       # 60 photographs, S3 server on loopback and a folder
    python benchmarks/batch.py overhead --count 100 --size 1500 1000
    python benchmarks/batch.py growth --keys 1000000          # plan, status, collect and rank of so many rows
    python benchmarks/batch.py resume                         # a worker stopped half-way, and another that goes on
    python benchmarks/batch.py simulate --keys 1000000 --stub 0.006 --jobs 16
    python benchmarks/batch.py cost --core-hour 0.04 ...      # of a million photographs, at the prices given

`overhead` takes turns: `defocus estimate --jobs N` on a folder, and `defocus batch work --jobs N` on the same
photographs in a folder and on an S3 server of its own (moto, on loopback, whose own time is not counted). CPU seconds
are those of all processes of the command; on a machine with other work they are what to trust. It also prints what the
plan had forecast.

`resume` ends a worker when half of the photographs have been read, by SIGKILL to all its processes or by SIGTERM, as on
a machine that is taken back, and starts another: how many photographs were read again, and how long that one takes.

`simulate` does a run of so many photographs by the real protocol, with all its parts and processes, over a store on
loopback whose every key is the same tiny picture, by a method that only waits for `--stub` seconds: what is left is
overhead. The store's own time is not counted.

`cost` multiplies measured figures by prices, none of which has a default: prices are of a day.

`growth` lists a store that only answers listings, and stands in for the work by rows that are made up: what it measures
is the driver, not the estimates. Memory is the largest that one process held.
"""

from __future__ import annotations

import argparse
import io
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
from PIL import Image

import folders
import speed
from defocus.batch.run import Run
from defocus.batch.storage import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from object_store import Listing, Server, environment, make_bucket

PART = 1000
"""Photographs in a part of the growing run."""


def overhead(count: int, size: tuple[int, int], jobs: int, runs: int) -> None:
    """Print a table of seconds a photograph."""
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
    """Print what a worker that is lost costs, with maps and with rows alone."""
    server = Server()
    server.start()
    os.environ |= environment(server.url)
    with tempfile.TemporaryDirectory() as temporary:
        folders.make_folder(Path(temporary), count, 640, 480)
        make_bucket(server.url, "photos")
        for path in Path(temporary).iterdir():
            Store("s3://photos").write(path.name, path.read_bytes())
    print("| outputs | ended by | repeated | all done after |\n|---|---|---|---|")
    for outputs, how in (("small", signal.SIGKILL), ("rows", signal.SIGKILL), ("rows", signal.SIGTERM)):
        with tempfile.TemporaryDirectory() as run:
            _output(["batch", "plan", "s3://photos", run, "--outputs", outputs, "--part-size", str(part), "--json"])
            server.asked.clear()
            command = [sys.executable, "-P", "-m", "defocus", "batch", "work", run, "--quiet"]
            first = subprocess.Popen(command, start_new_session=True)
            while server.fetched("photos").total() < count / 2:
                time.sleep(0.05)
            os.killpg(first.pid, how)
            first.wait()
            started = time.perf_counter()
            _output(["batch", "work", run, "--quiet"])
            seconds = time.perf_counter() - started
            status = json.loads(_output(["batch", "status", run, "--json"]))
            assert (status["done"], status["failed"]) == (count, 0)
            repeated = server.fetched("photos").total() - count
            print(f"| {outputs} | {how.name} | {repeated} of {count} | {seconds:.1f} s |", flush=True)
    server.stop()


def simulate(keys: int, stub: float, jobs: int, part: int) -> None:
    """Print what a run of so many photographs costs beside the estimates themselves."""
    picture = io.BytesIO()
    Image.fromarray(np.full((16, 16, 3), 128, np.uint8)).save(picture, "PNG")
    listing = Listing(keys, picture.getvalue())
    listing.start()
    tests = Path(__file__).parents[1] / "tests"
    os.environ |= environment(listing.url)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(tests / "in_every_process"), str(tests), *sys.path])
    with tempfile.TemporaryDirectory() as run:
        options = ["--method", "fake", "--set", f"pause={stub}", "--sample", "0", "--part-size", str(part), "--json"]
        _output(["batch", "plan", "s3://many", run, *options])
        command = [sys.executable, "-P", "-m", "defocus", "batch", "work", run, "--jobs", str(jobs), "--quiet"]
        begin = time.perf_counter()
        driver = subprocess.Popen(command)
        largest = {"driver": 0, "a worker": 0}
        while not os.waitid(os.P_PID, driver.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            for name, pids in (("driver", [driver.pid]), ("a worker", _children_of(driver.pid))):
                largest[name] = max([largest[name], *map(_largest_so_far, pids)])
            time.sleep(0.5)
        _, status, usage = os.wait4(driver.pid, 0)
        seconds = time.perf_counter() - begin
        driver.returncode = os.waitstatus_to_exitcode(status)
        begin_rows = time.perf_counter()
        rows = Run.open(run).table(["key"]).column("key")
        once = len(rows.unique())
        found = f"{len(rows)} rows of {once} photographs, read in {time.perf_counter() - begin_rows:.1f} s"
        cpu = usage.ru_utime + usage.ru_stime
        print(f"{keys} photographs in parts of {part}, {jobs} jobs, a stub of {1000 * stub:g} ms: {seconds:.0f} s.")
        print(f"{1000 * cpu / keys:.2f} ms of CPU a photograph, all processes; driver left with {driver.returncode}.")
        print(f"Memory: {', '.join(f'{name} {kilobytes / 1e3:.0f} MB' for name, kilobytes in largest.items())}.")
        print(f"{found}; every key once: {len(rows) == once == keys}.")
    listing.stop()


def _children_of(pid: int) -> list[int]:
    try:
        return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()] + [
            int(each)
            for task in Path(f"/proc/{pid}/task").iterdir()
            if task.name != str(pid)
            for each in (task / "children").read_text().split()
        ]
    except OSError:  # it has just ended
        return []


def _largest_so_far(pid: int) -> int:
    """Return the most kB that a process has held so far."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def cost(
    seconds: float, outputs: float, part: int, core_hour: float, put: float, get: float, gigabyte_month: float
) -> None:
    """Print what a million photographs cost.

    Parameters
    ----------
    seconds : of one core, each photograph.
    outputs : bytes of output, each.
    part : photographs in a part.
    core_hour : price of an hour of such a core as the seconds were measured on.
    put, get, gigabyte_month : prices of 1,000 requests each, and of storage.
    """
    photographs = 1e6
    parts = photographs / part
    hours = seconds * photographs / 3600
    # Of each part its list, the note that it is begun, and its rows; the listing; and rows so far, once a minute.
    writes = parts * 3 + photographs / 1000 + hours * 60
    maps = photographs if outputs > 10_000 else 0
    # Each photograph, and whether its map is there; of each part twice whether somebody had it, and its list.
    reads = photographs * (2 if maps else 1) + parts * 3
    lines = {
        f"{hours:,.0f} core-hours": hours * core_hour,
        f"{(writes + maps) / 1000:,.0f} thousand writes and listings": (writes + maps) / 1000 * put,
        f"{reads / 1000:,.0f} thousand reads": reads / 1000 * get,
        f"{outputs * photographs / 1e9:,.1f} GB of output, a month": outputs * photographs / 1e9 * gigabyte_month,
    }
    print("| of a million photographs | $ |\n|---|---|")
    for name, price in lines.items():
        print(f"| {name} | {price:,.2f} |")
    print(f"| together | {sum(lines.values()):,.2f} |")


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
            "percentiles": f"defocus.batch.Run.open({run!r}).percentiles(5, 50, 95)",
            "collect": f"defocus.batch.Run.open({run!r}).collect()",
            "rank, 1,000 best, collected": f"assert len(batch.best_of({run!r}, 1000)) == {min(1000, keys)}",
            "percentiles, collected": f"defocus.batch.Run.open({run!r}).percentiles(5, 50, 95)",
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
    from defocus.batch.counts import BINS
    from defocus.batch.rows import COLUMNS, decode, encode
    from defocus.batch.run import rows_key

    run = Run.open(place)
    store = Store(run.url)
    rng = np.random.default_rng(0)
    numbers = [name for name, kind in COLUMNS.items() if kind == "float32"]
    for part in run.todo():
        photographs = decode(store.read(run.plan.part_key(part))[0]).to_pylist()
        values = rng.random((len(photographs), len(numbers)))
        # 12 megapixels, over three octaves of blur or so, as photographs have them.
        distance = (np.arange(BINS) - rng.uniform(10, 40, (len(photographs), 1))) / 8
        counts = rng.poisson(600_000 * np.exp(-(distance**2) / 2) * rng.uniform(0, 2, distance.shape))
        rows = [
            {
                **each,
                **dict(zip(numbers, row.tolist(), strict=True)),
                "width": 4000,
                "height": 3000,
                "shaken": False,
                "measured_counts": (counted // 2).tolist(),
                "guess_counts": (counted - counted // 2).tolist(),
            }
            for each, row, counted in zip(photographs, values, counts, strict=True)
        ]
        store.create(rows_key(part), encode(rows))


def best_of(place: str, count: int) -> list[dict[str, object]]:
    """Return the best of a run."""
    from defocus.batch.collect import best
    from defocus.cli.batch import RANKED

    return best(Run.open(place), count, RANKED)


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
    simulated = kinds.add_parser("simulate")
    simulated.add_argument("--keys", type=int, default=1_000_000)
    simulated.add_argument("--stub", type=float, default=0.006, help="seconds that the method waits")
    simulated.add_argument("--jobs", type=int, default=16)
    simulated.add_argument("--part-size", type=int, default=PART)
    priced = kinds.add_parser("cost")
    priced.add_argument("--seconds", type=float, required=True, help="of one core, each photograph")
    priced.add_argument("--bytes", type=float, required=True, help="of output, each photograph")
    priced.add_argument("--part-size", type=int, default=256)
    priced.add_argument("--core-hour", type=float, required=True, help="price of an hour of one core")
    priced.add_argument("--put", type=float, required=True, help="price of 1,000 writes or listings")
    priced.add_argument("--get", type=float, required=True, help="price of 1,000 reads")
    priced.add_argument("--gigabyte-month", type=float, required=True, help="price of storage")
    chosen = parser.parse_args(arguments)
    if chosen.kind == "overhead":
        overhead(chosen.count, tuple(chosen.size), chosen.jobs, chosen.runs)
    elif chosen.kind == "resume":
        resume(chosen.count, chosen.part_size)
    elif chosen.kind == "simulate":
        simulate(chosen.keys, chosen.stub, chosen.jobs, chosen.part_size)
    elif chosen.kind == "cost":
        prices = (chosen.core_hour, chosen.put, chosen.get, chosen.gigabyte_month)
        cost(chosen.seconds, chosen.bytes, chosen.part_size, *prices)
    else:
        growth(chosen.keys)


if __name__ == "__main__":
    main()
