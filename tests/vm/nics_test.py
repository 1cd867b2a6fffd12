#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""`mitosis nics` on a machine with a soft-RoCE device, and on one without."""

import json

import soft_roce
from case import Case, run_or_skip
from agents import COMMAND


class Nics(Case):

    COUNT = 1
    RDMA = None

    def test_devices_are_listed_and_those_that_cannot_be_used_say_why(self):
        [machine] = self.machines
        self.assertIn("This machine has no RDMA device", machine.must(COMMAND, "nics"))
        none = json.loads(machine.must(COMMAND, "nics", "--json"))
        self.assertEqual(none["devices"], [])
        self.assertIn("rdma link add", none["none_because"])

        soft_roce.start(machine)
        [device] = json.loads(machine.must(COMMAND, "nics", "--json"))["devices"]
        self.assertEqual(device["device"], "rxe0")
        self.assertIsNone(device["unusable"])
        self.assertFalse(device["may_do_dct"])
        self.assertGreater(device["limits"]["queue_pairs"], 100)
        [port] = device["ports"]
        self.assertEqual((port["state"], port["link_layer"]), ("active", "Ethernet"))
        [chosen] = [gid for gid in port["gids"] if gid["chosen"]]
        self.assertEqual((chosen["type"], chosen["address"], chosen["interface"]),
                         ("RoCE v2", machine.address, "eth0"))
        text = machine.must(COMMAND, "nics")
        self.assertRegex(text, rf"rxe0 +1 +active +\d+ +\d+ +RoCE v2 +{machine.address} "
                               r"+eth0 +yes, chosen")

        machine.must("ip", "link", "set", "eth0", "down")
        self.addCleanup(machine.must, "ip", "link", "set", "eth0", "up")
        self.assertIn("no: its link is down: set the interface up",
                      machine.must(COMMAND, "nics"))


if __name__ == "__main__":
    run_or_skip()
