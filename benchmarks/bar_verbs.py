#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""RDMA in two emulated machines over soft-RoCE, each value beside perftest's or TCP's of the same
machines. Takes what Google Benchmark's programs take, and writes what they write.

Nothing here tells how fast a device is: that is emulated, as are both machines. It tells what our
layers add to it.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import sys
import time

BUILD = pathlib.Path(__file__).resolve().parents[1]
SOURCE = pathlib.Path("@SOURCE@")  # by meson
sys.path.insert(0, str(SOURCE / "tests/vm"))
os.environ.setdefault("MITOSIS_VM_FOLDER", str(BUILD / "vm"))
os.environ.setdefault("MITOSIS_COMMAND", str(BUILD / "tools/mitosis"))
os.environ.setdefault("MITOSIS_LIBRARY", str(BUILD / "tools/libmitosis/libmitosis.so"))
os.environ.setdefault("PYTHONPATH", str(SOURCE / "tools/python"))

# pylint: disable=wrong-import-position
import soft_roce  # noqa: E402
from agents import Agents  # noqa: E402
from cluster import Cluster  # noqa: E402
from parent_program import prepare  # noqa: E402

PEER = str(BUILD / "tests/vm/verbs_peer")
ROUNDS = 3
MIB = 4


def perftest(owner, reader, program, *words):
    """The row of numbers that the reader's side prints."""
    begun = owner.begin(program, "-d", soft_roce.DEVICE, *words)
    deadline = time.monotonic() + 30
    while owner.run("sh", "-c", "grep -q ':4853 ' /proc/net/tcp /proc/net/tcp6")[0] != 0:  # 18515
        if time.monotonic() > deadline:
            raise RuntimeError(f"{program} does not listen")
    said = reader.must(program, "-d", soft_roce.DEVICE, *words, owner.address)
    owner.finish(begun)
    row = re.findall(r"^ *\d+ +\d+ .*$", said, re.MULTILINE)[-1]
    return [float(number) for number in row.split()]


def ours(owner, reader, what):
    return float(reader.must(PEER, what, owner.address).split()[-1])


def reads(owner, reader):
    """{name: [(ours, perftest's)]} of single reads and of streams, taking turns."""
    owner.must("sh", "-c", f"setsid {PEER} serve > /run/out 2>&1 & echo $! > /run/pid")
    while owner.run("test", "-e", "/run/serving")[0] != 0:
        time.sleep(0.1)
    rows = {"read_latency": [], "read_bandwidth": []}
    for _ in range(ROUNDS):
        floor = perftest(owner, reader, "ib_read_lat", "-s", "4096", "-n", "1000")[4]
        rows["read_latency"].append((ours(owner, reader, "latency"), floor))
        # As many bytes under way as ours has: it is the network's queues that are measured else.
        floor = perftest(owner, reader, "ib_read_bw", "-s", "65536", "-n", "320", "-t", "32", "-o",
                         "16", "--report_gbits")[3] * 1000 / 8
        rows["read_bandwidth"].append((ours(owner, reader, "bandwidth"), floor))
        print(*(f"{name}: {pairs[-1]}" for name, pairs in rows.items()), flush=True)
    owner.must("sh", "-c", "kill $(cat /run/pid)")
    return rows


def resumes(machines, *options):
    """The milliseconds of some resumes of one parent, to their end."""
    agents = Agents(machines, *options)
    key, data = prepare(agents, machines[0], 7, "rc+prefetch32+none+cow", MIB)
    taken = []
    for _ in range(ROUNDS + 1):
        began = time.monotonic()
        status, said = agents.mitosis(machines[1], "resume", "0", "7", env={"MITOSIS_KEY": key})
        taken.append((time.monotonic() - began) * 1000)
        print(f"resume {options}: {taken[-1]:.0f} ms", flush=True)
        if (status, said) != (5, f"child {data} vm1\n"):
            raise RuntimeError(f"a resume failed: {status} {said}")
    agents.stop()
    for machine in machines:
        machine.must("sh", "-c", "rm -f /run/parent7")
    return taken[1:]  # the first one connects


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--benchmark_out", required=True)
    parser.add_argument("--benchmark_filter", default="")
    arguments, _ = parser.parse_known_args()
    with Cluster(2) as cluster:
        for machine in cluster.machines:
            soft_roce.start(machine)
        rows = reads(*cluster.machines)
        rows["resume"] = list(zip(resumes(cluster.machines, "--fabric", "verbs"),
                                  resumes(cluster.machines)))
    medians = [{"run_name": f"verbs/{name}", "repetitions": 1,
                "value": statistics.median(value for value, _ in pairs),
                "floor": statistics.median(floor for _, floor in pairs)}
               for name, pairs in rows.items()
               if re.search(arguments.benchmark_filter, f"verbs/{name}/")]
    with open(arguments.benchmark_out, "w", encoding="utf-8") as out:
        json.dump({"benchmarks": medians}, out)


if __name__ == "__main__":
    main()
