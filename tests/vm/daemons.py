# SPDX-License-Identifier: MIT
"""A daemon of ours (an agent, a connection pool) on each machine of a cluster."""

import os
import secrets
import time

COMMAND = os.environ.get("MITOSIS_COMMAND", "")
START_SECONDS = 60


class Daemons:
    """`mitosis NAME` on each; machine n of the cluster is machine n of mitosis, and knows all
    others. Its files are /run/NAME.*: `ready` has its pid, `log` what it says."""

    def __init__(self, name, port, machines, *options):
        """`options` go to every one."""
        self._name, self._port, self._options = name, port, options
        self._machines = machines
        self._secret = secrets.token_hex(32)
        for machine in machines:
            self.start(machine)
        for machine in machines:
            self.wait(machine)

    def start(self, machine):
        """Starts its daemon; `wait` waits until it serves."""
        at = f"/run/{self._name}"
        machine.must("sh", "-c", f"umask 077; mkdir -p /run/mitosis; rm -f {at}.ready; "
                                 f"echo {self._secret} > {at}.secret")
        peers = [word for other in self._machines if other is not machine
                 for word in ("--peer", f"{other.number}={other.address}:{self._port}")]
        machine.must("sh", "-c", f'exec setsid "$@" >> {at}.log 2>&1 &', "sh", COMMAND, self._name,
                     "--machine", machine.number, "--secret-file", f"{at}.secret", "--ready-file",
                     f"{at}.ready", *peers, *self._options)

    def wait(self, machine):
        deadline = time.monotonic() + START_SECONDS
        while machine.run("test", "-s", f"/run/{self._name}.ready")[0] != 0:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"machine {machine.number}: no {self._name}: {self.log(machine)}")

    def kill(self, machine):
        machine.must("sh", "-c", f"kill -9 $(cat /run/{self._name}.ready)")

    def stop(self):
        """Ends all, in order."""
        ready = f"/run/{self._name}.ready"
        alive = [machine for machine in self._machines if machine.alive]
        for machine in alive:
            machine.must("sh", "-c", f"kill $(cat {ready})")
        deadline = time.monotonic() + START_SECONDS
        for machine in alive:
            while machine.run("sh", "-c", f"test -d /proc/$(cat {ready})")[0] == 0:
                if time.monotonic() > deadline:
                    raise AssertionError(f"machine {machine.number}: {self.log(machine)}")

    def log(self, machine):
        """What its daemon has said."""
        return machine.run("cat", f"/run/{self._name}.log")[1]
