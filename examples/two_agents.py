# SPDX-License-Identifier: MIT
# TwoAgents: machines 0 and 1 on this one host, each an agent with a socket and a port of its own.
"""What the examples' and the Python module's tests run against."""

import os
import pathlib
import re
import secrets
import subprocess
import tempfile
import time

SKIPPED = 77  # meson's exit status for a test that could not run


class TwoAgents:
    """A context: `env(machine)` is the environment in which programs find that machine's agent,
    `address(machine)` where the other may reach it. They do not know each other yet."""

    def __init__(self, command, extra=((), ())):
        """`extra`: further arguments of each agent."""
        self._command = command
        self._extra = extra
        self._agents = []

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="mitosis-examples-")
        self.file("").chmod(0o755)  # the agents are for every user; the secret is not
        secret = self.file("secret")
        secret.write_text(secrets.token_hex(32))
        secret.chmod(0o600)
        for machine in (0, 1):
            self._agents.append(self._start(machine, secret))
        for machine in (0, 1):
            self.wait_for(self.file(f"ready{machine}").exists, "an agent")
        return self

    def __exit__(self, failure, *_):
        for agent in self._agents:
            agent.terminate()
        for agent in self._agents:
            try:
                agent.wait(10)
            except subprocess.TimeoutExpired:
                agent.kill()
        if failure is not None:
            for machine in (0, 1):
                print(self.file(f"log{machine}").read_text(), flush=True)
        self._folder.cleanup()

    def file(self, name):
        return pathlib.Path(self._folder.name, name)

    def env(self, machine):
        return os.environ | {"MITOSIS_SOCKET": str(self.file(f"agent{machine}.sock"))}

    def address(self, machine):
        log = self.file(f"log{machine}")
        said = re.compile(r" at (127\.0\.0\.1:\d+)$", re.M)
        self.wait_for(lambda: said.search(log.read_text()), "the agent's address")
        return said.search(log.read_text())[1]

    def _start(self, machine, secret):
        with self.file(f"log{machine}").open("w") as log:
            return subprocess.Popen(
                [self._command, "agent", "--machine", str(machine), "--secret-file", str(secret),
                 "--socket", self.env(machine)["MITOSIS_SOCKET"], "--listen", "127.0.0.1:0",
                 "--ready-file", str(self.file(f"ready{machine}")), *self._extra[machine]],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @staticmethod
    def wait_for(condition, what):
        deadline = time.monotonic() + 20
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(what)
            time.sleep(0.01)


def program(arguments, env, **options):
    """A program whose output is read line by line; nothing but its standard streams is open."""
    return subprocess.Popen(arguments, env=env, stdin=subprocess.PIPE, text=True,
                            stdout=subprocess.PIPE, **options)
