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
    make(machine, DEVICE, "rxe", "rdma_rxe")


def make(machine, device, kind, *modules):
    """The machine's only device, where it is not there."""
    if machine.run("test", "-e", f"/sys/class/infiniband/{device}")[0] == 0:
        return
    # Nothing there loads by itself what a module asks for: rdma_rxe needs a crc32.
    machine.must("modprobe", "-a", "crc32_generic", *modules, "ib_uverbs", "rdma_ucm")
    # rdma_cm would take the first that has the address.
    machine.must("sh", "-c", "for old in $(ls /sys/class/infiniband); do "
                             "rdma link delete $old || exit 1; done")
    machine.must("ip", "link", "set", "eth0", "mtu", FRAME_BYTES)
    machine.must("rdma", "link", "add", device, "type", kind, "netdev", "eth0")
    deadline = time.monotonic() + READY_SECONDS
    while machine.run("grep", "-q", "ACTIVE", f"/sys/class/infiniband/{device}/ports/1/state")[0]:
        if time.monotonic() > deadline:
            raise AssertionError(f"machine {machine.number}: {device} does not become active")


def read_packets(machine):
    """How many packets its device has received so far."""
    said = machine.must("rdma", "statistic", "show", "link", f"{DEVICE}/1")
    return int(re.search(r"rcvd_pkts (\d+)", said).group(1))
