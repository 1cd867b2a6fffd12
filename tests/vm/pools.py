# SPDX-License-Identifier: MIT
"""A connection pool (`mitosis pool`) on each machine of a cluster."""

import secrets
import time

from agents import COMMAND, START_SECONDS

SOCKET = "/run/pool.sock"
PORT = 7412


class Pools:
    """Machine n of the cluster is machine n; each knows all others."""

    def __init__(self, machines):
        self._machines = machines
        self._secret = secrets.token_hex(32)
        for machine in machines:
            self.start(machine)
        for machine in machines:
            self.wait(machine)

    def start(self, machine):
        """Starts its pool; `wait` waits until it serves."""
        machine.must("sh", "-c", f"umask 077; rm -f /run/pool.ready; "
                                 f"echo {self._secret} > /run/pool.secret")
        peers = [word for other in self._machines if other is not machine
                 for word in ("--peer", f"{other.number}={other.address}:{PORT}")]
        machine.must("sh", "-c", 'exec setsid "$@" >> /run/pool.log 2>&1 &', "sh", COMMAND, "pool",
                     "--machine", machine.number, "--secret-file", "/run/pool.secret", "--socket",
                     SOCKET, "--ready-file", "/run/pool.ready", *peers)

    def wait(self, machine):
        deadline = time.monotonic() + START_SECONDS
        while machine.run("test", "-s", "/run/pool.ready")[0] != 0:
            if time.monotonic() > deadline:
                raise AssertionError(f"machine {machine.number}: no pool: {self.log(machine)}")

    def kill(self, machine):
        machine.must("sh", "-c", "kill -9 $(cat /run/pool.ready)")

    @staticmethod
    def log(machine):
        """What its pool has said."""
        return machine.run("cat", "/run/pool.log")[1]
