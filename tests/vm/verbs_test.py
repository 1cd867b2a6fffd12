#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Remote fork by RDMA, over soft-RoCE: what is read one-sidedly, and what happens where it ends."""

import re

import soft_roce
from case import run_or_skip
from parent_program import prepare
from verbs_case import VerbsCase

POLICIES = ("rc+prefetch8+none+cow", "rc+prefetch32+local+cow", "rc+eager+none+copy")
MIB = 8
LOST = 0.05  # of the packets that a machine sends


class OverVerbs(VerbsCase):

    OPTIONS = ("--page-deadline", "20s")  # emulated machines are slow where packets are lost

    def test_a_python_program_forks_from_one_machine_to_two_others(self):
        for number, policy in enumerate(POLICIES):
            with self.subTest(policy=policy):
                handler = 10 + number
                key, data = prepare(self.agents, self.machines[0], handler, policy, MIB)
                self.wait_until_registered(self.machines[0], handler)
                for machine in self.machines[1:]:
                    before = soft_roce.read_packets(machine)
                    status, said = self.resume(machine, 0, handler, key)
                    self.assertEqual(said, f"child {data} vm{machine.number}\n")
                    self.assertEqual(status, 5)
                    # By RDMA, not by what stands in for it.
                    came = soft_roce.read_packets(machine) - before
                    self.assertGreater(came, MIB * 128, f"packets; {self.agents.log(machine)}")
                self.assertEqual(self.agents.mitosis(self.machines[0], "reclaim", handler)[0], 0)

    def test_a_copied_parent_can_be_read_as_soon_as_it_is_prepared(self):
        owner, reader = self.machines[0], self.machines[1]
        for handler in (15, 16):  # after the first one there is room for as large a one
            key, data = prepare(self.agents, owner, handler, "rc+prefetch8+none+copy", MIB)
            self.wait_until_registered(owner, handler)
            told = rf"handler {handler} is registered: (\d+) pages, (\d+) of"
            pages, beforehand = re.findall(told, self.agents.log(owner))[-1]
            self.wait_for(lambda pages=pages: self.room_mib(owner) * 256 >= int(pages),
                          lambda: self.agents.log(owner))
        self.assertEqual(beforehand, pages, self.agents.log(owner))
        # The next worker finds the copies where they are.
        serving = self.agents.log(owner).count(" serves ")
        owner.must("pkill", "-KILL", "-x", "mitosis-worker")
        self.wait_for(lambda: self.agents.log(owner).count(" serves ") > serving,
                      lambda: self.agents.log(owner))
        self.assertEqual(self.resume(reader, 0, 16, key), (5, f"child {data} vm1\n"),
                         self.agents.log(owner))
        for handler in (15, 16):
            self.assertEqual(self.agents.mitosis(owner, "reclaim", handler)[0], 0)

    def room_mib(self, machine):
        """How much its agent has registered for copies to come."""
        told = re.findall(r"(\d+) MiB are registered for copies", self.agents.log(machine))
        return int(told[-1]) if told else 0

    def test_calls_go_by_datagrams_also_where_packets_are_lost(self):
        owner, reader = self.machines[0], self.machines[1]
        key, data = prepare(self.agents, owner, 20, "rc+prefetch8+none+cow", 1)
        for number in range(2):
            self.cluster.switch.lose(number, LOST)
            self.addCleanup(self.cluster.switch.lose, number, 0)
        for _ in range(5):
            self.assertEqual(self.resume(reader, 0, 20, key), (5, f"child {data} vm1\n"),
                             self.agents.log(reader))
        self.assertIn("calls to machine 0 go by datagrams", self.agents.log(reader))
        wrong = self.resume(reader, 0, 20, "0" * 31 + "1")
        self.assertEqual(wrong[0], 125)
        self.assertIn("does not open this handler", wrong[1])

    def test_where_rdma_gets_through_no_more_all_goes_over_tcp(self):
        owner, reader = self.machines[0], self.machines[2]
        key, data = prepare(self.agents, owner, 21, "rc+prefetch8+none+cow", 1)
        self.assertEqual(self.resume(reader, 0, 21, key), (5, f"child {data} vm2\n"))
        self.cluster.switch.pass_roce(False)
        self.addCleanup(self.cluster.switch.pass_roce, True)
        self.assertEqual(self.resume(reader, 0, 21, key), (5, f"child {data} vm2\n"),
                         self.agents.log(reader))
        self.assertIn("calls to machine 0 go over TCP", self.agents.log(reader))
        self.cluster.switch.pass_roce(True)
        self.assertEqual(self.resume(reader, 0, 21, key), (5, f"child {data} vm2\n"))


if __name__ == "__main__":
    run_or_skip()
