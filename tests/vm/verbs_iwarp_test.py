#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Remote fork by RDMA over soft-iWARP: what differs of it from soft-RoCE, and how it ends."""

import json

import soft_iwarp
from agents import COMMAND
from case import run_or_skip
from parent_program import prepare
from verbs_case import FabricCase, OwnerEnds, VerbsCase

POLICIES = ("rc+prefetch8+none+cow", "rc+prefetch32+local+copy")


class FabricOverIwarp(FabricCase):

    RDMA = soft_iwarp

    def test_bytes_are_the_owners(self):
        self.check("bytes")

    def test_every_completion_wakes_who_sleeps_for_it(self):
        self.check("wake_ups")

    def test_a_key_that_the_device_refuses_costs_no_byte(self):
        self.check("wrong_remote_key")

    def test_reads_end_when_the_target_is_revoked(self):
        self.check("revoke")

    def test_a_hundred_connections_leave_nothing(self):
        self.check("hundred_by_cm", seconds=250)


class OverIwarp(OwnerEnds, VerbsCase):

    COUNT = 2
    RDMA = soft_iwarp
    MIB = 2

    def test_the_device_is_listed_with_its_interface_and_address(self):
        machine = self.machines[0]
        [device] = json.loads(machine.must(COMMAND, "nics", "--json"))["devices"]
        self.assertEqual((device["device"], device["unusable"]), ("siw0", None))
        [gid] = device["ports"][0]["gids"]
        self.assertEqual((gid["type"], gid["address"], gid["interface"], gid["chosen"]),
                         ("iWARP", machine.address, "eth0", True))
        self.assertIn("siw0 port 1 gid 0 is iWARP, which has no datagrams",
                      self.agents.log(machine))

    def test_a_python_program_forks(self):
        owner, reader = self.machines
        for handler, policy in enumerate(POLICIES, 60):
            with self.subTest(policy=policy):
                key, data = prepare(self.agents, owner, handler, policy, self.MIB)
                self.wait_until_registered(owner, handler)
                before = soft_iwarp.read_bytes(reader)
                # Two: the first one's first pages come while the connection is made.
                for _ in range(2):
                    self.assertEqual(self.resume(reader, 0, handler, key),
                                     (5, f"child {data} vm1\n"), self.agents.log(reader))
                self.assertGreater(soft_iwarp.read_bytes(reader) - before, self.MIB << 19,
                                   self.agents.log(reader))
                self.assertEqual(self.agents.mitosis(owner, "reclaim", handler)[0], 0)



if __name__ == "__main__":
    run_or_skip()
