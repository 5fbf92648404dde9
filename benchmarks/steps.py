"""Where the time of one `defocus estimate` goes: seconds and memory of each step, and of other systems beside it.

    python benchmarks/steps.py                         # 24 megapixels, a third sharp, the rest blurred
    python benchmarks/steps.py --size "0.3 MP" --no-peers
    python benchmarks/steps.py --photo photo.jpg

The command runs in a process of its own, cold; the start of Python itself does not count. The functions in `STEPS`
are replaced by ones that tell when they begin and end, in whatever thread they run, so a step is the time within its
function and not within another step. Where steps run in several threads at once, the time is divided among them
evenly: both columns of seconds add up to the whole. CPU seconds are those of all threads of the process, of libraries
too. "Peak" is the largest resident memory of the process while a step ran, "more" by how much, at most, that was
above the memory at the beginning of a call, both read every 5 ms from /proc (blank elsewhere). "Everything else" is
what no step covers.

(The script is not called profile.py: Python's own module of that name would be hidden from all scripts beside it.)

Peers, in a warm process, on a cut of the same photograph (--peer-size): variance of the Laplacian, HiFST by the package
blur-detector at its defaults and at full density, which takes minutes (extra `benchmark`), and `dhde`.
"""

from __future__ import annotations

import argparse
import builtins
import functools
import importlib
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple


class Step(NamedTuple):
    """A function to watch: where it is looked up when it is called, and what the table calls it.

    Attributes
    ----------
    label : with {} for the argument number `argument`, if that is part of the step's name.
    module, function : for a method CLASS.METHOD.
    argument : place among the positional arguments, `self` included.
    """

    label: str
    module: str
    function: str
    argument: int = 0


# In the order of the table. A function that moves or gets another name is named in an error, and changed here.
STEPS = (
    Step("reading: file, checksum, decoding", "defocus.photograph", "read_photograph"),
    Step("bars and frames", "defocus.photograph.content", "find_content"),
    Step("opening the network", "defocus.methods.pyramid.method", "BlurReader.__init__"),
    Step("survey: luma, guide, coarse levels", "defocus.methods.pyramid.method", "survey_photograph"),
    Step("JPEG blocks", "defocus.methods.pyramid.luma", "find_block_edges"),
    Step("levels of a block", "defocus.methods.pyramid.blur_reader", "levels_of"),
    Step("network, level {}", "defocus.methods.pyramid.blur_reader", "_Reading._read_tile", argument=1),
    Step("median and certainty", "defocus.methods.pyramid.blur_reader", "summarise"),
    Step("grain", "defocus.evidence", "find_grain"),
    Step("grain, where", "defocus.evidence.grain", "Grain.covers"),
    Step("flat areas", "defocus.evidence", "one_colour"),
    Step("lamps", "defocus.methods.pyramid.survey", "Survey.lamps"),
    Step("movement", "defocus.methods.pyramid.survey", "Survey.motion"),
    Step("propagation", "defocus.methods.pyramid.method", "fill"),
    Step("propagation, solver", "defocus.methods.pyramid.filling", "solve_on_grid"),
    Step("completion", "defocus.methods.pyramid.completion", "Completion.complete"),
    Step("upsampling: colours", "defocus.methods.pyramid.method", "_colour_planes"),
    Step("upsampling", "defocus.filters.guided", "GuidedUpsampling.rows"),
    Step("upsampling: sigma of its logarithm", "defocus.methods.pyramid.method", "_finished"),
    Step("map: encoding and writing", "defocus.maps.map_file", "save_map"),
    Step("map: figures and its picture's pixels", "defocus.maps.map_summary", "MapSummary.see"),
    Step("map: percentiles", "defocus.maps.map_summary", "MapSummary.percentiles"),
    Step("picture: limits", "defocus.maps.preview", "limits_of_photograph"),
    Step("picture: colours", "defocus.maps.preview", "preview"),
    Step("picture: encoding", "defocus.photograph.png_encoder", "png"),
    Step("writing files to the disk", "defocus.runtime.atomic", "write_bytes"),
)
IMPORTS, REST = "imports", "everything else"
PEERS = ("laplacian", "hifst", "hifst-dense", "dhde")


@dataclass
class Cost:
    """What a step took so far: wall and CPU seconds, calls, resident bytes at most, and above those before a call."""

    wall: float = 0.0
    cpu: float = 0.0
    calls: int = 0
    peak: int = 0
    more: int = 0
    before: int = 0

    def note(self, now: int) -> None:
        """Take note of the resident bytes while the step runs."""
        self.peak = max(self.peak, now)
        self.more = max(self.more, now - self.before)


class Recorder:
    """Divides wall and CPU seconds among the steps that are at work, innermost of each thread alone."""

    def __init__(self) -> None:
        self.costs: dict[str, Cost] = {}
        self._lock = threading.RLock()
        self._at_work: dict[int, list[str]] = {}
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @contextmanager
    def step(self, label: str) -> Iterator[None]:
        """Count the time within the block, on this thread, as that of a step."""
        thread = threading.get_ident()
        with self._lock:
            self._count()
            self._at_work.setdefault(thread, []).append(label)
            cost = self.costs.setdefault(label, Cost())
            cost.calls += 1
            cost.before = resident()
            cost.note(cost.before)
        try:
            yield
        finally:
            with self._lock:
                self._count()
                cost.note(resident())
                self._at_work[thread].pop()
                if not self._at_work[thread]:
                    del self._at_work[thread]

    def within(self, label: str) -> bool:
        """Tell whether this thread is at a step."""
        with self._lock:
            return label in self._at_work.get(threading.get_ident(), ())

    def sample(self) -> None:
        """Note the resident memory for the steps at work."""
        now = resident()
        with self._lock:
            for labels in self._at_work.values():
                for label in labels:
                    self.costs[label].note(now)

    def _count(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        working = [labels[-1] for labels in self._at_work.values()]
        # The main thread waits while others work on its behalf.
        if len(working) > 1 and REST in working:
            working.remove(REST)
        for label in working:
            self.costs[label].wall += (wall - self._wall) / len(working)
            self.costs[label].cpu += (cpu - self._cpu) / len(working)
        self._wall, self._cpu = wall, cpu


def resident() -> int:
    """Return the bytes of memory that this process has now; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 (ten times as fast)
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def watch(recorder: Recorder, steps: Sequence[Step]) -> None:
    """Replace the functions of the steps by ones that report to the recorder.

    Raises
    ------
    LookupError
        If there is no such function.
    """
    for each in steps:
        try:
            owner: Any = importlib.import_module(each.module)
            *classes, name = each.function.split(".")
            for part in classes:
                owner = getattr(owner, part)
            function = getattr(owner, name)
        except (ImportError, AttributeError) as error:
            raise LookupError(
                f"There is no {each.module}.{each.function} any more ({error}): change its line in STEPS."
            ) from error
        setattr(owner, name, _watched(recorder, each, function))


def _watched(recorder: Recorder, step: Step, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def watched(*arguments: Any, **options: Any) -> Any:
        label = step.label.format(arguments[step.argument]) if "{}" in step.label else step.label
        with recorder.step(label):
            return function(*arguments, **options)

    return watched


def watch_imports(recorder: Recorder) -> None:
    """Count what is imported while the command runs, too."""

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def importing(*arguments: Any, **options: Any) -> Any:
            if recorder.within(IMPORTS):
                return function(*arguments, **options)
            with recorder.step(IMPORTS):
                return function(*arguments, **options)

        return importing

    builtins.__import__ = watched(builtins.__import__)
    importlib.import_module = watched(importlib.import_module)


def profile(photo: Path, arguments: Sequence[str]) -> dict[str, Cost]:
    """Run `defocus estimate` on a photograph in this process, where nothing is imported yet; return what steps took."""
    recorder = Recorder()
    over = threading.Event()

    def keep_sampling() -> None:
        while not over.wait(0.005):
            recorder.sample()

    sampler = threading.Thread(target=keep_sampling, daemon=True)
    with tempfile.TemporaryDirectory() as folder, recorder.step(REST):
        sampler.start()
        with recorder.step(IMPORTS):
            from defocus.cli import estimate
            from defocus.cli.app import main
        watch_imports(recorder)
        process = estimate.process_photographs

        def process_watched(*given: Any, **options: Any) -> Any:
            # Not earlier: the command limits the threads of libraries that load after that.
            with recorder.step(IMPORTS):
                watch(recorder, STEPS)
            return process(*given, **options)

        estimate.process_photographs = process_watched
        sys.argv = ["defocus", "estimate", str(photo), "-o", folder, "--quiet", *arguments]
        try:
            main()
        except SystemExit as left:
            if left.code:  # a pool would wait for ever for a process that exits
                raise RuntimeError(f"`defocus estimate` ended with exit code {left.code}.") from left
        over.set()
        sampler.join()
    return recorder.costs


def table(costs: dict[str, Cost], megapixels: float) -> str:
    """Return the costs as markdown, in the order of `STEPS`."""
    place = {each.label.partition("{}")[0]: number for number, each in enumerate(STEPS)}

    def order(label: str) -> tuple[float, str]:
        if label in (IMPORTS, REST):
            return (-1, label) if label == IMPORTS else (len(STEPS), label)
        return max((place[start], label) for start in place if label.startswith(start))

    lines = ["| step | s | CPU s | CPU s per MP | calls | peak MB | more |", "|---|---|---|---|---|---|---|"]
    for label in sorted(costs, key=order):
        cost = costs[label]
        memory = f"{cost.peak / 1e6:.0f} | {cost.more / 1e6:.0f}" if cost.peak else " | "
        lines.append(
            f"| {label} | {cost.wall:.2f} | {cost.cpu:.2f} | {cost.cpu / megapixels:.3f} | {cost.calls} | {memory} |"
        )
    wall, cpu = (sum(getattr(each, name) for each in costs.values()) for name in ("wall", "cpu"))
    peak = max(each.peak for each in costs.values()) / 1e6
    lines.append(f"| **whole** | {wall:.2f} | {cpu:.2f} | {cpu / megapixels:.3f} | | {peak:.0f} | |")
    idle = [each.label for each in STEPS if not any(label.startswith(each.label.partition("{}")[0]) for label in costs)]
    if idle:
        lines += ["", f"Not called: {'; '.join(idle)}."]
    return "\n".join(lines)


def peer_row(name: str, photo: Path) -> str:
    """Measure one peer on a photograph, after a warm-up on a corner of it; a row of markdown."""
    import numpy as np

    import defocus
    from defocus.evaluation.peers import PEERS as SCORES

    pixels = np.ascontiguousarray(defocus.read_photograph(photo).pixels)
    run = SCORES[name] if name in SCORES else functools.partial(defocus.estimate, method=name)
    run(pixels[:128, :128].copy())
    wall, cpu = time.perf_counter(), time.process_time()
    run(pixels)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    megapixels = pixels.shape[0] * pixels.shape[1] / 1e6
    return f"| `{name}` | {wall:.2f} | {cpu:.2f} | {wall / megapixels:.3f} | {cpu / megapixels:.3f} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    import speed  # here, not above: it imports NumPy, which the process that is measured has to do itself

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photo", type=Path, help="photograph; default: a mosaic, a third sharp, the rest blurred")
    parser.add_argument("--size", default="24 MP", choices=speed.SIZES, help="of the mosaic")
    parser.add_argument("--peer-size", default="0.3 MP", choices=speed.SIZES)
    parser.add_argument("--no-peers", dest="peers", action="store_false")
    parser.add_argument("options", nargs="*", help="further options of `defocus estimate`, after --")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        made, cut = Path(folder) / "photograph.jpg", Path(folder) / "cut.jpg"
        spawn = multiprocessing.get_context("spawn")
        with spawn.Pool(1) as pool:
            width, height = pool.apply(speed.write_photograph, (options.photo, made, *speed.SIZES[options.size]))
            pool.apply(speed.write_photograph, (options.photo, cut, *speed.SIZES[options.peer_size]))
        with spawn.Pool(1) as pool:
            try:
                costs = pool.apply(profile, (made, options.options))
            except (LookupError, RuntimeError) as error:
                raise SystemExit(str(error)) from error
        print(f"`defocus estimate` of {width} x {height} px, once, cold; {speed.machine()}.\n")
        print(table(costs, width * height / 1e6), flush=True)
        if options.peers:
            print(f"\nPeers, on {options.peer_size}:\n\n| system | s | CPU s | s per MP | CPU s per MP |")
            print("|---|---|---|---|---|")
            for name in PEERS:
                with spawn.Pool(1) as pool:
                    print(pool.apply(peer_row, (name, cut)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
