# SPDX-License-Identifier: MIT
"""An agent on each machine of a cluster, and the command `mitosis` there."""

import os

from daemons import COMMAND, Daemons

LIBRARY = os.environ.get("MITOSIS_LIBRARY", "")
PYTHONPATH = os.environ.get("PYTHONPATH", "")
PORT = 7411


class Agents(Daemons):

    def __init__(self, machines, *options):
        super().__init__("agent", PORT, machines, *options)
        self.env = {"PYTHONPATH": PYTHONPATH, "MITOSIS_LIBRARY": LIBRARY}

    def begin(self, machine, *words, seconds=120, env=None):
        """Starts the command on that machine; its `finish` takes what this returns."""
        return machine.begin(COMMAND, *words, seconds=seconds, env=self.env | (env or {}))

    def mitosis(self, machine, *words, seconds=120, env=None):
        """(status, output) of the command on that machine."""
        return machine.run(COMMAND, *words, seconds=seconds, env=self.env | (env or {}))
