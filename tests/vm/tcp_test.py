#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Remote fork over TCP between machines with Debian's stock kernel, the oldest that is supported:
no PAGEMAP_SCAN, no UFFDIO_POISON, another vdso, another everything than where the tests run."""

from agents import Agents
from case import Case, run_or_skip
from parent_program import prepare

POLICIES = ("rc+prefetch8+none+cow", "dct+prefetch32+local+cow", "rc+eager+none+copy")


class OverTcp(Case):

    COUNT = 3
    RDMA = False

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.agents = Agents(cls.machines)
        cls.addClassCleanup(cls.agents.stop)

    def test_a_python_program_forks_from_one_machine_to_two_others(self):
        for number, policy in enumerate(POLICIES):
            with self.subTest(policy=policy):
                handler = 10 + number
                key, data = prepare(self.agents, self.machines[0], handler, policy)
                for machine in self.machines[1:]:
                    status, said = self.agents.mitosis(machine, "resume", "0", handler,
                                                       env={"MITOSIS_KEY": key})
                    self.assertEqual(said, f"child {data} vm{machine.number}\n")
                    self.assertEqual(status, 5)
                self.assertEqual(self.agents.mitosis(self.machines[0], "reclaim", handler)[0], 0)

    def test_a_machine_that_loses_its_parent_says_so_and_does_not_hang(self):
        key, _ = prepare(self.agents, self.machines[0], 30, "rc+ondemand+none+cow")
        self.cluster.switch.unplug(0)
        try:
            status, said = self.agents.mitosis(self.machines[1], "resume", "0", "30",
                                               env={"MITOSIS_KEY": key})
        finally:
            self.cluster.switch.plug(0)
        self.assertEqual(status, 125, said)
        self.assertIn("machine 0", said)


if __name__ == "__main__":
    run_or_skip()
