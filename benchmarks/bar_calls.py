#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Calls over datagrams and connecting, in two emulated machines over soft-RoCE, each value beside
perftest's or rdma_cm's of the same machines, taking turns.
"""

import re
import time

import emulated

# pylint: disable=wrong-import-order
import soft_roce
from agents import POOL, Agents

UD_RPC = emulated.program("ud_rpc")
CONNECT_TIMES = emulated.program("connect_times")
ROUNDS = 3
PERFTEST_TRIES = 3
NIL_ROUNDS = 7
NIL_BYTES = 80  # of the datagram that a nil call is
# Where packets take a millisecond who polls and who sleeps are worlds apart, and which is quicker
# depends on what else the host does: each is compared with perftest's doing the same.
WAITING = {"nil": ((), 10_000_000), "nil_asleep": (("-e",), 0)}  # perftest's word; our SPIN_US
READY_SECONDS = 60


def until(done, what):
    """Waits for `done()` to give something."""
    deadline = time.monotonic() + READY_SECONDS
    while not (value := done()):
        if time.monotonic() > deadline:
            raise RuntimeError(what)
    return value


def line_of(machine, file):
    """The whole lines that are in a file there."""
    said = machine.run("cat", file)[1]
    return said.strip() if said.endswith("\n") else ""


def median_of(machine, *words):
    """Microseconds, as our programs print them."""
    return float(re.search(r"median_us ([\d.]+)", machine.must(*words))[1])


def there_and_back(server, client, waiting):
    """Twice what ib_send_lat takes one way for as many bytes, in microseconds."""
    words = ("ib_send_lat", "-d", soft_roce.DEVICE, "-c", "UD", "-s", str(NIL_BYTES), "-n", "500",
             *waiting)
    # It sends nothing again: one lost packet, and both sides wait for ever.
    for _ in range(PERFTEST_TRIES):
        begun = server.begin(*words, seconds=60)
        until(lambda: server.run("sh", "-c", "grep -q ':4853 ' /proc/net/tcp /proc/net/tcp6")[0]
              == 0, "ib_send_lat does not listen")  # at 18515
        status, said = client.run(*words, server.address, seconds=30)
        server.finish(begun)
        if status == 0:
            row = re.findall(r"^ *\d+ +\d+ .*$", said, re.MULTILINE)[-1].split()
            return 2 * float(row[4])
    raise RuntimeError(f"ib_send_lat: {status} {said}")


def nil_calls(server, client, name):
    """The one of some pairs whose ratio is the median: the two of a pair were neighbours in time,
    and the host was as busy for both."""
    waiting, spin_us = WAITING[name]
    pairs = []
    for _ in range(NIL_ROUNDS):
        floor = there_and_back(server, client, waiting)
        # Ours serves only while it is measured: one that polls would take perftest's processor.
        server.must("sh", "-c", f"rm -f /run/ud; setsid {UD_RPC} serve {spin_us} > /run/ud 2>&1 &")
        way = until(lambda: line_of(server, "/run/ud"), "ud_rpc does not serve")
        pairs.append((median_of(client, UD_RPC, "nil", way, 500, spin_us), floor))
        client.must(UD_RPC, "stop", way)
        print(f"{name}: {pairs[-1][0]:.0f} us, ib_send_lat {pairs[-1][1]:.0f}", flush=True)
    pairs.sort(key=lambda pair: pair[0] / pair[1])
    return [pairs[len(pairs) // 2]]


def connects(machines):
    """{name: pairs} of what the pool takes and what the others do."""
    client, server = machines
    Agents(machines, "--fabric", "verbs")
    server.must("sh", "-c", f"setsid {CONNECT_TIMES} serve {POOL} > /run/served 2>&1 &")
    until(lambda: line_of(server, "/run/served") == "ready", "connect_times does not serve")
    until(lambda: client.run(CONNECT_TIMES, "pool", POOL, 1, 1)[0] == 0, "no link between pools")
    rows = {"rdma_cm": [], "raw": [], "attach": []}
    for _ in range(ROUNDS):
        pool = median_of(client, CONNECT_TIMES, "pool", POOL, 1, 500)
        rdma_cm = median_of(client, CONNECT_TIMES, "rdma_cm", server.address, 20)
        rows["rdma_cm"].append((pool, rdma_cm))
        rows["raw"].append((pool, median_of(client, CONNECT_TIMES, "raw", server.address, 20)))
        rows["attach"].append((median_of(client, CONNECT_TIMES, "attach", POOL, 1, 20), rdma_cm))
    return rows


def rows_of(machines, wanted):
    rows = {f"calls/{name}": nil_calls(*machines, name)
            for name in WAITING if wanted(f"calls/{name}")}
    if any(wanted(f"connect/{name}") for name in ("rdma_cm", "raw", "attach")):
        rows |= {f"connect/{name}": pairs for name, pairs in connects(machines).items()}
    return rows


if __name__ == "__main__":
    emulated.measure(rows_of)
