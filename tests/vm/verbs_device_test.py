#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Remote fork by RDMA where the device's port goes down, and where the device is taken away."""

import soft_roce
from case import run_or_skip
from parent_program import prepare
from verbs_case import POLICY, VerbsCase

COPY = "rc+prefetch8+none+copy"


class Device(VerbsCase):

    COUNT = 2
    OPTIONS = ("--page-deadline", "30s")  # what is waited for takes its time there

    def wait_for_log(self, machine, part, count=1):
        self.wait_for(lambda: self.agents.log(machine).count(part) >= count,
                      lambda: self.agents.log(machine))

    def test_a_port_that_goes_down_and_up_costs_no_byte(self):
        owner, reader = self.machines
        key, data = prepare(self.agents, owner, 70, POLICY, 1)
        begun = self.begin_slow_child(reader, 70, key)
        reader.must("ip", "link", "set", "eth0", "down")
        try:
            self.wait_for_log(reader, "port 1 of rxe0 is down; all is read over TCP")
        finally:
            reader.must("ip", "link", "set", "eth0", "up")
        self.wait_for_log(reader, "port 1 of rxe0 is up again")
        self.assertEqual(reader.finish(begun), (5, f"child {data} vm1\n"), self.agents.log(reader))

    def test_a_device_that_is_removed_leaves_tcp_and_one_that_comes_is_used(self):
        owner, reader = self.machines
        key, data = prepare(self.agents, owner, 71, POLICY, 2)
        copy_key, copy_data = prepare(self.agents, owner, 72, COPY, 2)
        self.wait_until_registered(owner, 72)
        pids = [machine.must("cat", "/run/agent.ready") for machine in self.machines]
        begun = self.begin_slow_child(reader, 71, key)
        # It waits for who has the device.
        deletions = [machine.begin("rdma", "link", "delete", soft_roce.DEVICE, seconds=60)
                     for machine in self.machines]
        for machine, deletion in zip(self.machines, deletions):
            self.assertEqual(machine.finish(deletion)[0], 0, self.agents.log(machine))
            self.assertIn("rxe0: it is being removed", self.agents.log(machine))
            self.wait_for_log(machine, "without RDMA, all goes over TCP until there is a device")
        self.assertEqual(reader.finish(begun), (5, f"child {data} vm1\n"), self.agents.log(reader))
        reader.must("rm", "-f", "/run/slow")
        self.assertEqual(self.resume(reader, 0, 71, key), (5, f"child {data} vm1\n"),
                         self.agents.log(reader))
        self.assertEqual(self.resume(reader, 0, 72, copy_key), (5, f"child {copy_data} vm1\n"),
                         self.agents.log(owner))
        prepare(self.agents, owner, 73, COPY, 2)  # with no device; the next one has it too
        for machine in self.machines:
            soft_roce.start(machine)
        for machine in self.machines:
            self.wait_for_log(machine, "there is a device again")
        self.wait_for_log(owner, "handler 71 is registered", 2)
        self.wait_for_log(owner, "handler 72 is registered", 2)
        self.wait_until_registered(owner, 73)
        before = soft_roce.read_packets(reader)
        self.wait_for(lambda: self.resume(reader, 0, 71, key) == (5, f"child {data} vm1\n") and
                      soft_roce.read_packets(reader) > before + 300,
                      lambda: self.agents.log(reader))
        self.assertEqual([machine.must("cat", "/run/agent.ready") for machine in self.machines],
                         pids)


if __name__ == "__main__":
    run_or_skip()
