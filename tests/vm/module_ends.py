# SPDX-License-Identifier: MIT
"""What becomes of a child whose parent, or parent's machine, is gone in mid-run: the same whether a
module or an agent has the parent, and whether one or the other has the child."""

import contextlib
import time

from agents import Agents
from module_case import MACHINES, SIGBUS, ModuleCase, end_of

SIGKILL = 9  # this kernel has no UFFDIO_POISON: under an agent who misses a page is killed


class Ends:
    """Of a child on machine 1 (`other`) of a parent on machine 0 (`owner`). Has `waiting_child`,
    which begins one that has not fetched most of its memory and waits for /run/go, and
    `reclaim`; the child's output and a line with its status are in /run/child."""

    missing = 128 + SIGBUS  # the status of who misses a page
    patience = 60

    def goes_on(self, status):
        """Lets the child go on; it ends so."""
        self.other.must("touch", "/run/go")
        self.assertEqual(end_of(self.other, "/run/child"), f"status {status}\n")

    @contextlib.contextmanager
    def unreachable(self):
        """The owner, for that long."""
        self.cluster.switch.unplug(0)
        try:
            yield
        finally:
            self.cluster.switch.plug(0)

    def test_a_reclaim_in_mid_run(self):
        self.waiting_child(81)
        self.reclaim(81)
        self.goes_on(self.missing)

    def test_an_owner_that_cannot_be_reached(self):
        self.waiting_child(79)
        with self.unreachable():
            began = time.monotonic()
            self.goes_on(self.missing)
            self.assertLess(time.monotonic() - began, self.patience)


class WithAgent(Ends, ModuleCase):
    """One of the two machines has the module, the other one an agent."""

    owner_has_agent = False

    @classmethod
    def agent_options(cls):
        return ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster = MACHINES.cluster()
        cls.owner, cls.other = cls.cluster.machines
        cls.machines, others = [cls.owner], [cls.other]
        if cls.owner_has_agent:
            cls.machines, others = others, cls.machines
        cls.agents = Agents(others, *cls.agent_options())
        cls.addClassCleanup(cls.agents.stop)

    def setUp(self):
        super().setUp()
        for machine in (self.owner, self.other):
            machine.must("rm", "-f", "/run/go")
