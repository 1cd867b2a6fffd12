#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Remote fork by RDMA, over soft-RoCE: what is read one-sidedly, and what happens where it ends."""

import soft_roce
from case import run_or_skip
from parent_program import prepare
from verbs_case import VerbsCase

POLICIES = ("rc+prefetch8+none+cow", "rc+prefetch32+local+cow", "rc+eager+none+copy")
MIB = 8


class OverVerbs(VerbsCase):

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


if __name__ == "__main__":
    run_or_skip()
