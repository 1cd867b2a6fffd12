# SPDX-License-Identifier: MIT
"""Machines with agents that read by RDMA, and two with a verbs fabric and no agents."""

import os
import signal
import time

from agents import Agents
from case import Case
from parent_program import prepare

PEER = os.environ.get("MITOSIS_VERBS_PEER", "")
PAGE_SECONDS = 5  # --page-deadline
ENDED = -signal.SIGKILL  # SIGBUS where the kernel has UFFDIO_POISON: not before Linux 6.6
SLACK_SECONDS = 5  # of emulated machines
POLICY = "rc+ondemand+none+cow"


class VerbsCase(Case):

    COUNT = 3
    OPTIONS = ()  # of the agents, besides

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.agents = Agents(cls.machines, "--fabric", "verbs", *cls.OPTIONS)
        cls.addClassCleanup(cls.agents.stop)

    def resume(self, machine, parent, handler, key, *options, seconds=120):
        """(status, output) of a child there."""
        return self.agents.mitosis(machine, "resume", parent, handler, *options, seconds=seconds,
                                   env={"MITOSIS_KEY": key})

    def wait_until_registered(self, machine, handler):
        """Until the agent has told that all of the parent is registered."""
        self.wait_for(lambda: f"handler {handler} is registered" in self.agents.log(machine),
                      lambda: self.agents.log(machine))

    def begin_slow_child(self, machine, handler, key):
        """A child that reads its memory page by page, and does so now."""
        machine.must("touch", "/run/slow")
        self.addCleanup(machine.run, "rm", "-f", "/run/slow", "/run/reading")
        begun = self.agents.begin(machine, "resume", "0", handler, env={"MITOSIS_KEY": key})
        self.wait_for_file(machine, "/run/reading", lambda: self.agents.log(machine))
        return begun


class OwnerEnds:
    """What becomes of a child on machine 1 whose parent on machine 0, of `MIB`, ends in mid-read: a
    VerbsCase's. The last of its tests leaves machine 0 dead."""

    MIB = 4

    def test_a_reclaimed_parent_ends_its_children(self):
        key, _ = prepare(self.agents, self.machines[0], 52, POLICY, self.MIB)
        begun = self.begin_slow_child(self.machines[1], 52, key)
        self.assertEqual(self.agents.mitosis(self.machines[0], "reclaim", "52")[0], 0)
        began = time.monotonic()
        status, said = self.machines[1].finish(begun)
        self.assertEqual(status, ENDED, said)
        self.assertLess(time.monotonic() - began, PAGE_SECONDS + SLACK_SECONDS)

    def test_z_a_dead_machine_ends_the_children_of_its_parents(self):
        """The last one: the machine does not come back."""
        key, _ = prepare(self.agents, self.machines[0], 54, POLICY, self.MIB)
        begun = self.begin_slow_child(self.machines[1], 54, key)
        began = time.monotonic()
        self.machines[0].kill()
        status, said = self.machines[1].finish(begun)
        self.assertEqual(status, ENDED, said)
        self.assertLess(time.monotonic() - began, PAGE_SECONDS + SLACK_SECONDS)


class FabricCase(Case):
    """Machine 0 owns what machine 1 reads: see verbs_peer.cpp."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.owner, cls.reader = cls.machines

    def setUp(self):
        self.owner.must("rm", "-f", "/run/serving")
        self.owner.must("sh", "-c", 'setsid "$@" > /run/out 2>&1 & echo $! > /run/pid', "sh", PEER,
                        "serve")
        self.wait_for_file(self.owner, "/run/serving",
                           lambda: self.owner.run("cat", "/run/out")[1])

    def tearDown(self):
        self.owner.run("sh", "-c", "kill -9 $(cat /run/pid)")

    def check(self, what, seconds=100):
        status, said = self.reader.run(PEER, what, self.owner.address, seconds=seconds)
        self.assertEqual(status, 0, said)
        return said
