# SPDX-License-Identifier: MIT
"""Three machines with soft-RoCE, and an agent on each that reads by RDMA."""

from agents import Agents
from case import Case


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
