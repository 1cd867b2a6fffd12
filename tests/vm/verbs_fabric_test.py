#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The verbs fabric by itself, over soft-RoCE between two machines: see verbs_peer.cpp."""

import re

import soft_roce
from case import run_or_skip
from verbs_case import PEER, FabricCase


class VerbsFabric(FabricCase):

    def resources(self, machine):
        """How many of each kind its device has: {"qp": 2, "mr": 8, ...}."""
        said = machine.must("rdma", "resource", "show", soft_roce.DEVICE)
        return {kind: int(count) for kind, count in re.findall(r"([a-z_]+) (\d+)", said)}

    def test_bytes_are_the_owners(self):
        self.check("bytes")

    def test_every_completion_wakes_who_sleeps_for_it(self):
        self.check("wake_ups")

    def test_rdma_cm_connects_too(self):
        self.check("bytes_by_cm")

    def test_rdma_cm_connects_only_who_was_given_a_ticket(self):
        self.check("forged_ticket")

    def test_a_hundred_connections_by_rdma_cm_leave_nothing(self):
        self.check("bytes_by_cm")  # the listener stays
        self.leave_nothing("hundred_by_cm")

    def test_a_key_that_the_device_refuses_costs_no_byte(self):
        self.check("wrong_remote_key")

    def test_an_address_that_was_told_to_nobody_cannot_be_read(self):
        self.check("guessed_address")

    def test_who_has_not_the_targets_key_is_told_that_it_is_revoked(self):
        self.check("wrong_target_key")

    def test_reads_end_when_the_target_is_revoked(self):
        self.check("revoke")

    def test_a_thousand_connections_one_after_the_other_leave_nothing(self):
        self.leave_nothing("thousand_connections")

    def leave_nothing(self, what):
        self.check("bytes")  # what the first reader makes there stays
        self.wait_for_end()
        before = self.resources(self.owner), self.descriptors()
        memory = self.memory_kib()
        self.check(what, seconds=250)
        self.wait_for_end()
        self.assertEqual((self.resources(self.owner), self.descriptors()), before)
        self.assertLess(self.memory_kib(), memory + 1024)

    def descriptors(self):
        """How many the owner has open."""
        return self.owner.must("sh", "-c", "ls /proc/$(cat /run/pid)/fd | wc -l").strip()

    def memory_kib(self):
        """The owner's."""
        status = self.owner.must("sh", "-c", "cat /proc/$(cat /run/pid)/status")
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1))

    def wait_for_end(self):
        """Until the owner has heard of its readers' end."""
        # The device has one of its own, of management.
        self.wait_for(lambda: self.resources(self.owner)["qp"] <= 1,
                      lambda: self.resources(self.owner), seconds=30)

    def test_requests_in_flight_fail_over_within_5_s_and_rdma_comes_back(self):
        self.reader.run("rm", "-f", "/run/reading", "/run/moved")
        self.addCleanup(self.cluster.switch.pass_roce, True)
        begun = self.reader.begin(PEER, "failover", self.owner.address, seconds=200)
        self.wait_for_file(self.reader, "/run/reading")
        self.cluster.switch.pass_roce(False)
        try:
            self.wait_for_file(self.reader, "/run/moved")
        finally:
            self.cluster.switch.pass_roce(True)
            status, said = self.reader.finish(begun)
            self.assertEqual(status, 0, said)
        self.assertRegex(said, r"moved [1-9]")

    def test_reads_end_when_the_owners_machine_dies(self):
        self.reader.run("rm", "-f", "/run/reading")
        begun = self.reader.begin(PEER, "end", self.owner.address)
        self.wait_for_file(self.reader, "/run/reading")
        self.cluster.switch.unplug(0)
        try:
            status, said = self.reader.finish(begun)
        finally:
            self.cluster.switch.plug(0)
        self.assertEqual(status, 0, said)


if __name__ == "__main__":
    run_or_skip()
