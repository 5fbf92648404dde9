"""Runs ended at random instants leave nothing wrong: what is there afterwards is whole, and the next run completes it.

    python tests/kills.py --times 50 [--seed 0]

Every command works on six small photographs, by turns with one and two processes, and is ended by SIGKILL, SIGTERM or
SIGINT after a random part of the time that it takes. Then it is run again with --skip-existing, and every output has to
be byte for byte that of a run that was left alone. Wrong are also originals that changed, half-written files under a
final name, tracebacks, and processes that outlive the run by more than 8 s.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

FAST = ["--method", "zhuo2011"]
COMMANDS = (
    ["estimate", "--overlay"],
    ["estimate", "--overlay", "--jobs", "2"],
    ["segment", "--soft"],
    ["segment", "--naming", "metashape", "--jobs", "2"],
    ["magnify"],
    ["sharpen", "--jobs", "2"],
    ["depth"],
)
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def photographs(folder: Path) -> None:
    """Write six photographs."""
    folder.mkdir()
    picture = data.astronaut()
    for number in range(6):
        part = picture[40 * number : 40 * number + 160, 60 : 60 + 240]
        Image.fromarray(part).save(folder / f"{number}.{'jpg' if number % 2 else 'png'}")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but those that a killed process could not remove, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith(".part")}


def start(command: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command on a folder, in a session of its own."""
    arguments = [sys.executable, "-m", "defocus", command[0], ".", *command[1:], *FAST, "-q", "--skip-existing"]
    return subprocess.Popen(arguments, cwd=folder, stderr=subprocess.PIPE, start_new_session=True)


def outlives(group: int) -> bool:
    """Whether a process of the session is still there after 8 s."""
    for _ in range(80):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True


def main() -> None:
    """Run from the command line; exit code 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as root:
        original = Path(root) / "original"
        photographs(original)
        wanted, seconds = [], []
        for command in COMMANDS:
            folder = Path(root) / "alone"
            shutil.copytree(original, folder)
            begin = time.perf_counter()
            process = start(command, folder)
            _, said = process.communicate()
            seconds.append(time.perf_counter() - begin)
            assert process.returncode == 0, said
            wanted.append(contents(folder))
            shutil.rmtree(folder)
        for number in range(arguments.times):
            which = number % len(COMMANDS)
            command, ending = COMMANDS[which], SIGNALS[int(rng.integers(len(SIGNALS)))]
            name = f"{number}: {' '.join(command)}, {ending.name}"
            folder = Path(root) / "killed"
            shutil.copytree(original, folder)
            process = start(command, folder)
            time.sleep(float(rng.uniform(0, seconds[which])))
            if ending == signal.SIGKILL:
                process.send_signal(ending)
            else:  # as a terminal does
                os.killpg(process.pid, ending)
            _, said = process.communicate()
            if b"Traceback" in said and b"KeyboardInterrupt" not in said:
                wrong.append(f"{name}: a traceback: {said.decode(errors='replace')[-1500:]}")
            if outlives(process.pid):
                wrong.append(f"{name}: a process outlives the run")
            for path, found in contents(folder).items():
                if path in contents(original) and found != wanted[which][path]:
                    wrong.append(f"{name}: {path} has changed")
                elif path not in wanted[which]:
                    wrong.append(f"{name}: {path} should not be there")
                elif found != wanted[which][path]:
                    wrong.append(f"{name}: {path} is not whole")
            process = start(command, folder)
            _, said = process.communicate()
            if process.returncode != 0 or contents(folder) != wanted[which]:
                wrong.append(f"{name}: the next run does not complete it: {said.decode(errors='replace')[-200:]}")
            shutil.rmtree(folder)
    for each in wrong:
        print(each)
    print(f"{arguments.times} runs ended, {len(wrong)} things wrong.")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
