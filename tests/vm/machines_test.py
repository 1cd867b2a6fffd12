#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Emulated machines do what tests rely on: they boot, talk, lose each other, die and come back."""

from case import Case, run_or_skip
from machine import MachineLost


class Machines(Case):

    COUNT = 3
    RDMA = None

    @staticmethod
    def reach(machine, other):
        """They see each other; on a busy host the first packets may be lost."""
        machine.must("sh", "-c", f"for i in $(seq 30); do busybox ping -c 1 -W 1 {other.address} "
                                 "&& exit 0; done; exit 1")

    def test_each_runs_the_stock_kernel_and_sees_the_others(self):
        self.assertTrue(self.cluster.release.startswith("6.1."), self.cluster.release)
        for machine in self.machines:
            for other in self.machines:
                self.reach(machine, other)

    def test_output_and_status_come_back(self):
        said = self.machines[0].run("sh", "-c", "echo out; echo err >&2; exit 7")
        self.assertEqual(said, (7, "out\nerr\n"))
        self.assertEqual(self.machines[0].run("/no/such/program")[0], 127)

    def test_a_program_that_does_not_end_is_ended(self):
        self.assertEqual(self.machines[1].run("sleep", "100", seconds=1)[0], -1)

    def test_the_host_is_there_but_cannot_be_written(self):
        path = __file__ + ".written"
        self.machines[0].must("sh", "-c", f"echo new > {path} && test -s {path}")
        self.assertNotEqual(self.machines[1].run("test", "-e", path)[0], 0)
        with self.assertRaises(FileNotFoundError):
            open(path, encoding="utf-8")

    def test_a_cable_can_be_pulled_and_plugged_in_again(self):
        first, last = self.machines[0], self.machines[2]
        self.cluster.switch.unplug(2)
        self.assertNotEqual(first.run("busybox", "ping", "-c", "2", "-W", "1", last.address)[0], 0)
        self.cluster.switch.plug(2)
        self.reach(first, last)

    def test_a_killed_machine_is_noticed_and_can_be_started_again(self):
        machine = self.machines[2]
        machine.must("touch", "/run/before")
        begun = machine.begin("sleep", "100")
        machine.kill()
        with self.assertRaises(MachineLost):
            machine.finish(begun)
        machine.start()
        machine.wait()
        self.assertNotEqual(machine.run("test", "-e", "/run/before")[0], 0)
        self.reach(self.machines[0], machine)


if __name__ == "__main__":
    run_or_skip()
