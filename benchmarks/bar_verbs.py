#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""RDMA in two emulated machines over soft-RoCE, each value beside perftest's or TCP's of the same
machines: what our layers add.
"""

import re
import time

import emulated

# pylint: disable=wrong-import-order
import soft_roce
from agents import Agents
from parent_program import prepare

PEER = emulated.program("verbs_peer")
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
    rows = {"verbs/read_latency": [], "verbs/read_bandwidth": []}
    for _ in range(ROUNDS):
        floor = perftest(owner, reader, "ib_read_lat", "-s", "4096", "-n", "1000")[4]
        rows["verbs/read_latency"].append((ours(owner, reader, "latency"), floor))
        # As many bytes under way as ours has: it is the network's queues that are measured else.
        floor = perftest(owner, reader, "ib_read_bw", "-s", "65536", "-n", "320", "-t", "32", "-o",
                         "16", "--report_gbits")[3] * 1000 / 8
        rows["verbs/read_bandwidth"].append((ours(owner, reader, "bandwidth"), floor))
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


def rows_of(machines, wanted):
    rows = {}
    if wanted("verbs/read_latency") or wanted("verbs/read_bandwidth"):
        rows |= reads(*machines)
    if wanted("verbs/resume"):
        rows["verbs/resume"] = list(zip(resumes(machines, "--fabric", "verbs"), resumes(machines)))
    return rows


if __name__ == "__main__":
    emulated.measure(rows_of)
