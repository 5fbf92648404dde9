"""Three hosts on one machine, in network namespaces joined by a bridge, and a run on which one of them is cut off.

    python tests/three_hosts.py            # as root, on Linux; prints what became of the run as JSON

Host A has an S3 server, Dask's scheduler and the driver; B and C have a worker each. In the middle of the run the wire
to C is cut, as by a switch that fails: nobody is told. The run has to be finished by B.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOSTS = "ABC"
KEYS = 24
PART = 2


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def allowed() -> bool:
    """Tell whether network namespaces can be made here."""
    name = f"defocus-try-{os.getpid()}"
    try:
        ip("netns", "add", name)
        ip("netns", "del", name)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


@contextmanager
def hosts() -> Iterator[dict[str, str]]:
    """Make the namespaces of the hosts, and S, that of the bridge; yield their names."""
    names = {host: f"defocus-{os.getpid()}-{host}" for host in (*HOSTS, "S")}
    made = []
    try:
        for name in names.values():
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        bridge = names["S"]
        ip("-n", bridge, "link", "add", "bridge", "type", "bridge")
        ip("-n", bridge, "link", "set", "bridge", "up")
        for number, host in enumerate(HOSTS, start=1):
            name = names[host]
            ip("-n", name, "link", "add", "wire", "type", "veth", "peer", "name", f"to{host}", "netns", bridge)
            ip("-n", bridge, "link", "set", f"to{host}", "master", "bridge", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "wire")
            ip("-n", name, "link", "set", "wire", "up")
        yield names
    finally:
        for name in made:
            inside = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split()
            for pid in map(int, inside):
                if pid != os.getpid():
                    os.kill(pid, signal.SIGKILL)
            ip("netns", "del", name)


def on(name: str, *command: str) -> subprocess.Popen[bytes]:
    """Start a Python program on a host."""
    return subprocess.Popen(
        ["ip", "netns", "exec", name, sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def cut_off(names: dict[str, str]) -> dict[str, object]:
    """Run on host A: work, cut the wire to C, and say what became of the run."""
    from distributed import Client

    import defocus.batch
    from defocus.batch.storage import Store
    from object_store import Server, environment, make_bucket
    from test_batch import fill, maps_in

    server = Server("10.77.0.1", 5000)
    server.start()
    os.environ |= environment(server.url)
    for bucket in ("photos", "runs"):
        make_bucket(server.url, bucket)
    keys = fill("s3://photos", KEYS)
    run = defocus.batch.plan(
        "s3://photos",
        "s3://runs/one",
        method="fake",
        part_size=PART,
        outputs=["small"],
        settings=["pause=0.3"],
        sample=0,
    )
    address = "tcp://10.77.0.1:8786"
    on(names["A"], "-m", "distributed.cli.dask_scheduler", "--host", "10.77.0.1", "--port", "8786", "--no-dashboard")
    for number, host in enumerate("BC", start=2):
        options = ("--nthreads", "1", "--no-dashboard", "--host", f"10.77.0.{number}", "--local-directory", ".")
        on(names[host], "-m", "distributed.cli.dask_worker", address, *options)
    with Client(address, timeout=60) as client:
        client.wait_for_workers(2, timeout=60)
    driver = on(names["A"], "-m", "defocus", "batch", "work", run.url, "--on", f"dask={address}")
    while len(maps_in(run.url)) < 4:
        time.sleep(0.05)
    ip("-n", names["S"], "link", "set", "toC", "down")
    begin = time.monotonic()
    code = driver.wait(200)
    seconds = time.monotonic() - begin
    rows = run.table().to_pylist()
    begun = sum(1 for _ in Store(run.url).list("begun"))
    return {
        "code": code,
        "seconds_after_the_cut": round(seconds, 1),
        "left": run.todo(),
        "every_key_once": sorted(row["key"] for row in rows) == sorted(keys),
        "errors": sum(row["error"] is not None for row in rows),
        "maps": len(maps_in(run.url)),
        "fetched": server.fetched("photos").total(),
        "begun": begun,
    }


def main() -> None:
    """Make the hosts, and do it all on host A."""
    if len(sys.argv) > 1:
        print(json.dumps(cut_off(json.loads(sys.argv[1]))))
        return
    with tempfile.TemporaryDirectory() as folder, hosts() as names:
        # Dask notices a lost wire by TCP's own time-out, 30 s unless it is told otherwise.
        environment = {**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s"}
        command = ["ip", "netns", "exec", names["A"], sys.executable, str(Path(__file__).resolve()), json.dumps(names)]
        done = subprocess.run(
            command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True, timeout=280, check=True
        )
        print(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    main()
