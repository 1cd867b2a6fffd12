# SPDX-License-Identifier: MIT
"""An agent on each machine of a cluster, and the command `mitosis` there."""

import os
import secrets
import time

COMMAND = os.environ.get("MITOSIS_COMMAND", "")
LIBRARY = os.environ.get("MITOSIS_LIBRARY", "")
PYTHONPATH = os.environ.get("PYTHONPATH", "")
PORT = 7411
POOL = "/run/mitosis/agent.pool.sock"  # of one with --fabric verbs
START_SECONDS = 60


class Agents:
    """Machine n of the cluster is machine n of mitosis. An agent's files are /run/agent.*: `ready`
    has its pid, `log` what it says."""

    def __init__(self, machines, *options, peers=True):
        """`options` go to every one; with `peers` each knows all others."""
        self._options, self._peers, self._machines = options, peers, machines
        self.secret = secrets.token_hex(32)
        self.env = {"PYTHONPATH": PYTHONPATH, "MITOSIS_LIBRARY": LIBRARY}
        for machine in machines:
            self.start(machine)
        for machine in machines:
            self.wait(machine)

    def start(self, machine):
        """Starts its agent; `wait` waits until it serves."""
        machine.must("sh", "-c", "umask 077; rm -f /run/agent.ready; "
                                 f"echo {self.secret} > /run/agent.secret")
        others = self._machines if self._peers else ()
        peers = [word for other in others if other is not machine
                 for word in ("--peer", f"{other.number}={self.place(other)}")]
        machine.must("sh", "-c", 'exec setsid "$@" >> /run/agent.log 2>&1 &', "sh", COMMAND,
                     "agent", "--machine", machine.number, "--secret-file", "/run/agent.secret",
                     "--ready-file", "/run/agent.ready", *peers, *self._options)

    def wait(self, machine):
        deadline = time.monotonic() + START_SECONDS
        while machine.run("test", "-s", "/run/agent.ready")[0] != 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"machine {machine.number}: no agent: {self.log(machine)}")

    def stop(self):
        """Ends all, in order."""
        alive = [machine for machine in self._machines if machine.alive]
        for machine in alive:
            machine.must("sh", "-c", "kill $(cat /run/agent.ready)")
        deadline = time.monotonic() + START_SECONDS
        for machine in alive:
            while machine.run("sh", "-c", "test -d /proc/$(cat /run/agent.ready)")[0] == 0:
                if time.monotonic() > deadline:
                    raise AssertionError(f"machine {machine.number}: {self.log(machine)}")

    @staticmethod
    def place(machine):
        """Where its agent is reached."""
        return f"{machine.address}:{PORT}"

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
