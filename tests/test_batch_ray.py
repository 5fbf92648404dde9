"""Runs over object storage on Ray, where it is installed: it weighs 200 MB, and so is no part of the other tests.

A wire that is cut is not tried: Ray waits for the node behind it longer than anybody would for a test.
"""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from defocus.batch.storage import Store
from systems import needs_proc, needs_signals
from test_batch import buckets, fill, finished, maps_in, planned, server, wait_for_maps, whole, worker  # noqa: F401

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'defocus[ray]'")
pytestmark = [pytest.mark.slow, needs_signals, needs_proc]

WAITING = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False)
while ray.cluster_resources().get("CPU", 0) < int(sys.argv[2]):
    time.sleep(0.2)
"""


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def answers(host, port):
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def node(*arguments):
    # The ports of a node's agents are fixed: one that Ray chooses itself may be taken before its agent has it, and then
    # the node waits for that agent for good.
    agents = (
        "metrics-export-port",
        "dashboard-agent-grpc-port",
        "dashboard-agent-listen-port",
        "runtime-env-agent-port",
    )
    ports = [f"--{name}={port}" for name, port in zip(agents, free_ports(len(agents)), strict=True)]
    shared = ("--object-store-memory=100000000", "--disable-usage-stats", "--block")
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments, *shared, *ports]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.fixture
def cluster(buckets, monkeypatch):  # noqa: F811
    """A head without a core and two nodes with one each, as processes; yields the address and the two."""
    # Else a token that this user has from another cluster decides whether the driver is let in.
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else a busy machine has no time for them
    (port,) = free_ports(1)
    # A driver looks for the node of its own machine by the address that Ray has found out.
    host = ray.util.get_node_ip_address()
    address = f"{host}:{port}"
    started = [node("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")]
    until = time.monotonic() + 60
    while not answers(host, port):
        assert time.monotonic() < until and started[0].poll() is None, "the head does not start"
        time.sleep(0.2)
    for count in (1, 2):  # one after the other: two that start at the same time on one host take each other's names
        started.append(node(f"--address={address}", "--num-cpus=1"))
        subprocess.run(
            [sys.executable, "-c", WAITING, address, str(count)], timeout=90, check=True, capture_output=True
        )
    yield address, started[1:]
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_ray_works_on_while_a_node_is_lost(buckets, server, cluster):  # noqa: F811
    address, nodes = cluster
    keys = fill(buckets[0], 24)
    run = planned(buckets, part_size=3, outputs=["small"], settings=["pause=0.1"])
    process = worker(buckets[1], "--on", f"ray={address}")
    wait_for_maps(buckets[1], 6, process, seconds=180)
    os.killpg(nodes[0].pid, signal.SIGKILL)
    finished(process)
    whole(run, keys)
    fetched = server.fetched(buckets[0].removeprefix("s3://"))
    assert set(fetched) == set(keys) and fetched.total() <= len(keys) + 1


def test_ray_goes_on_after_its_driver_was_killed(buckets, server, cluster):  # noqa: F811
    address, _ = cluster
    keys = fill(buckets[0], 18)
    run = planned(buckets, part_size=3, outputs=["small"], settings=["pause=0.1"])
    process = worker(buckets[1], "--on", f"ray={address}")
    wait_for_maps(buckets[1], 4, process, seconds=180)
    process.kill()
    finished(process, -9)
    finished(worker(buckets[1], "--on", f"ray={address}"))
    whole(run, keys)
    # What the first driver had handed out may go on beside the second.
    assert server.fetched(buckets[0].removeprefix("s3://")).total() <= len(keys) + 2 * 2 * run.plan.part_size
    assert len(maps_in(buckets[1])) == len(list(Store(buckets[0]).list()))
