# SPDX-License-Identifier: MIT
"""Soft-RoCE on the machines of a cluster: real verbs over their Ethernet."""

import re
import time

DEVICE = "rxe0"
READY_SECONDS = 60
FRAME_BYTES = 4500  # so that a page goes in one packet: emulated machines are slow a packet


def start(machine):
    """Makes its device `rxe0`, where it has none, and waits until it can be used with the machine's
    address."""
    if machine.run("test", "-e", f"/sys/class/infiniband/{DEVICE}")[0] == 0:
        return
    # Nothing there loads by itself what a module asks for: rdma_rxe needs a crc32.
    machine.must("modprobe", "-a", "crc32_generic", "rdma_rxe", "ib_uverbs", "rdma_ucm")
    machine.must("ip", "link", "set", "eth0", "mtu", FRAME_BYTES)
    machine.must("rdma", "link", "add", DEVICE, "type", "rxe", "netdev", "eth0")
    deadline = time.monotonic() + READY_SECONDS
    while machine.run("grep", "-q", "ACTIVE", f"/sys/class/infiniband/{DEVICE}/ports/1/state")[0]:
        if time.monotonic() > deadline:
            raise AssertionError(f"machine {machine.number}: {DEVICE} does not become active")


def read_packets(machine):
    """How many packets its device has received so far."""
    said = machine.must("rdma", "statistic", "show", "link", f"{DEVICE}/1")
    return int(re.search(r"rcvd_pkts (\d+)", said).group(1))
