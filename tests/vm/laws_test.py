#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The live laws (tests/live) with Debian's stock kernel: in one emulated machine, of whose network
namespaces each is a machine with an agent; by RDMA, through the one device, and over TCP."""

import os

import soft_roce
from case import Case, run_or_skip

LIVE_TEST = os.environ.get("MITOSIS_LIVE_TEST", "")
POLICIES = ("rc_prefetch8_none_cow", "rc_eager_none_copy")
SECONDS = 900


class LiveLaws(Case):

    COUNT = 1

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.machine = cls.machines[0]
        # Nothing there loads by itself what a program asks for.
        cls.machine.must("modprobe", "-a", "bridge", "veth")

    def laws(self, options):
        """Lets agents with these options keep the laws."""
        names = ":".join(f"*Laws.*/{policy}" for policy in POLICIES)
        status, said = self.machine.run(LIVE_TEST, f"--gtest_filter={names}", seconds=SECONDS,
                                        env={"MITOSIS_LIVE_OPTIONS": options})
        self.assertEqual(status, 0, said)
        self.assertIn(f"[  PASSED  ] {5 * len(POLICIES)} tests", said)

    def test_over_tcp(self):
        self.laws("")

    def test_by_rdma(self):
        before = soft_roce.read_packets(self.machine)
        self.laws("--fabric verbs")
        self.assertGreater(soft_roce.read_packets(self.machine), before + 10_000)


if __name__ == "__main__":
    run_or_skip()
