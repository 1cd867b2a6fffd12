# SPDX-License-Identifier: MIT
"""An agent on each machine of a cluster, and the command `mitosis` there."""

import os
import secrets
import time

COMMAND = os.environ.get("MITOSIS_COMMAND", "")
LIBRARY = os.environ.get("MITOSIS_LIBRARY", "")
PYTHONPATH = os.environ.get("PYTHONPATH", "")
PORT = 7411
LIFE_SECONDS = 3000  # of an agent, should nobody end it
START_SECONDS = 60


class Agents:
    """Machine n of the cluster is machine n of mitosis; each knows all others."""

    def __init__(self, machines, *options):
        """`options` go to every agent."""
        self._options = options
        self._machines = machines
        self._secret = secrets.token_hex(32)
        self.env = {"PYTHONPATH": PYTHONPATH, "MITOSIS_LIBRARY": LIBRARY}
        for machine in machines:
            self.start(machine)
        for machine in machines:
            self.wait(machine)

    def start(self, machine):
        """Starts its agent; `wait` waits until it serves."""
        machine.must("sh", "-c", f"umask 077; mkdir -p /run/mitosis; "
                                 f"echo {self._secret} > /run/secret")
        peers = [word for other in self._machines if other is not machine
                 for word in ("--peer", f"{other.number}={other.address}:{PORT}")]
        machine.must("sh", "-c", 'exec setsid "$@" > /run/agent.log 2>&1 &', "sh", COMMAND, "agent",
                     "--machine", machine.number, "--secret-file", "/run/secret", "--ready-file",
                     "/run/ready", *peers, *self._options)

    def wait(self, machine):
        deadline = time.monotonic() + START_SECONDS
        while machine.run("test", "-s", "/run/ready")[0] != 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"machine {machine.number}: no agent: {self.log(machine)}")

    def stop(self):
        """Ends all, in order."""
        for machine in self._machines:
            machine.must("sh", "-c", "kill $(cat /run/ready)")
        deadline = time.monotonic() + START_SECONDS
        for machine in self._machines:
            while machine.run("test", "-S", "/run/mitosis/agent.sock")[0] == 0:
                if time.monotonic() > deadline:
                    raise AssertionError(f"machine {machine.number}: {self.log(machine)}")

    @staticmethod
    def log(machine):
        """What its agent has said."""
        return machine.run("cat", "/run/agent.log")[1]

    def begin(self, machine, *words, seconds=120, env=None):
        """Starts the command on that machine; its `finish` takes what this returns."""
        return machine.begin(COMMAND, *words, seconds=seconds, env=self.env | (env or {}))

    def mitosis(self, machine, *words, seconds=120, env=None):
        """(status, output) of the command on that machine."""
        return machine.run(COMMAND, *words, seconds=seconds, env=self.env | (env or {}))
