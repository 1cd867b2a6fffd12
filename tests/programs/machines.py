# SPDX-License-Identifier: MIT
"""Two machines of this one: network namespaces with an agent each, for tests of real programs.

A namespace is held by a process that dies with the test, so that nothing outlives it, however it
ends.
"""

import contextlib
import ctypes
import os
import pathlib
import secrets
import signal
import subprocess
import sys
import tempfile
import time

PATIENCE = 60  # seconds; for what hangs, not for a busy machine
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
ADDRESSES = {1: "10.88.0.1", 2: "10.88.0.2"}
PORT = 7411

_libc = ctypes.CDLL(None, use_errno=True)


def wait_for(condition, what, patience=PATIENCE):
    """The condition's first true value; TimeoutError, which names `what` (a text, or what gives
    one), after the patience."""
    deadline = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"no {what() if callable(what) else what} after {patience} s")
        time.sleep(0.005)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _hold_network(parent):
    """In the holder: a namespace of its own, until its parent ends."""
    _die_with_parent()
    if os.getppid() != parent or _libc.unshare(CLONE_NEWNET) != 0:
        os._exit(1)
    while True:
        signal.pause()


def _name_of(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


class Machines:
    """A context. `run` and `start` execute programs on machine 1 or 2, `mitosis` the command."""

    def __init__(self, command, agent_options=()):
        self.command = command
        self._agent_options = list(agent_options)
        self._holders, self._agents, self._programs = {}, {}, []

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="mitosis-programs-")
        try:
            self._connect_networks()
            secret = self.file("secret")
            secret.write_text(secrets.token_hex(32))
            secret.chmod(0o600)
            for machine in ADDRESSES:
                self._start_agent(machine, secret)
            for machine in ADDRESSES:
                wait_for(self.file(f"ready{machine}").exists, f"agent {machine}")
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, failure, *_):
        for program in self._programs:
            if program.poll() is None:
                program.kill()
            program.wait()
        for agent in self._agents.values():
            agent.terminate()
        for agent in self._agents.values():
            try:
                agent.wait(20)
            except subprocess.TimeoutExpired:
                agent.kill()
                agent.wait()
        if failure is not None:
            self.print_logs()
        for holder in self._holders.values():
            os.kill(holder, signal.SIGKILL)
            os.waitpid(holder, 0)
        self._folder.cleanup()

    def print_logs(self):
        for machine in self._agents:
            print(f"-- agent {machine} --", self.file(f"log{machine}").read_text(), sep="\n",
                  file=sys.stderr)

    def file(self, name):
        return pathlib.Path(self._folder.name, name)

    def argv(self, machine, words):
        return ["nsenter", f"--net=/proc/{self._holders[machine]}/ns/net", "--",
                *map(str, words)]

    def start(self, machine, words, **options):
        """A program, ended with the machines at the latest; its pid is the program's own."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options["env"] = self._environment(machine) | options.pop("env", {})
        program = subprocess.Popen(self.argv(machine, words), preexec_fn=_die_with_parent,
                                   **options)
        self._programs.append(program)
        return program

    def forget(self, program):
        """It has ended: the pipes of a long test's programs would use up its descriptors."""
        self._programs.remove(program)
        for pipe in (program.stdin, program.stdout):
            with contextlib.suppress(BrokenPipeError):  # what it was told last
                pipe.close()

    def run(self, machine, words, **options):
        """A program's output; an error, with what it said, where it fails."""
        options["env"] = self._environment(machine) | options.pop("env", {})
        done = subprocess.run(self.argv(machine, words), capture_output=True, text=True,
                              timeout=PATIENCE, **options)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, words))} on machine {machine} exits with "
                               f"{done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def mitosis(self, machine, *words):
        return self.run(machine, [self.command, *words])

    def prepare(self, machine, pid, handler, *options):
        """The key of a running process, prepared by its pid."""
        return self.mitosis(machine, "prepare", "--pid", pid, "--handler", handler,
                            *options).split()[0]

    def workers(self, machine):
        """Pids of the agent's worker: the child of its first process that has that name."""
        return self._children_of_agent(machine, "mitosis-worker")

    def keeper(self, machine):
        return self._agents[machine].pid

    def guards(self, machine):
        return self._children_of_agent(machine, "mitosis-guard")

    def _children_of_agent(self, machine, name):
        agent = self._agents[machine].pid
        children = pathlib.Path(f"/proc/{agent}/task/{agent}/children").read_text().split()
        return [int(pid) for pid in children if _name_of(pid) == name]

    def strangers(self, machine):
        """Processes in the machine's network that are neither its agent's nor the test's own."""
        network = os.readlink(f"/proc/{self._holders[machine]}/ns/net")
        own = {self._holders[machine], self._agents[machine].pid, *self.workers(machine),
               *self.guards(machine)}
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/ns/net") == network and int(pid) not in own:
                    found.append((int(pid), _name_of(pid)))
            except OSError:
                continue  # it has ended
        return found

    def _environment(self, machine):
        return os.environ | {"MITOSIS_SOCKET": str(self.file(f"agent{machine}.sock"))}

    def _connect_networks(self):
        for machine in ADDRESSES:
            parent = os.getpid()
            holder = os.fork()
            if holder == 0:
                _hold_network(parent)
            self._holders[machine] = holder
            own = os.readlink("/proc/self/ns/net")
            wait_for(lambda: os.readlink(f"/proc/{holder}/ns/net") != own, "network namespace", 10)
        self.run(1, ["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns",
                     self._holders[2]])
        for machine, address in ADDRESSES.items():
            self.run(machine, ["ip", "address", "add", f"{address}/24", "dev", "eth0"])
            for device in ("lo", "eth0"):
                self.run(machine, ["ip", "link", "set", device, "up"])

    def _start_agent(self, machine, secret):
        peers = [f"{other}={address}:{PORT}" for other, address in ADDRESSES.items()
                 if other != machine]
        with self.file(f"log{machine}").open("w") as log:
            self._agents[machine] = subprocess.Popen(
                self.argv(machine, [
                    self.command, "agent", "--machine", machine, "--secret-file", secret,
                    "--socket", self.file(f"agent{machine}.sock"), "--listen", f"0.0.0.0:{PORT}",
                    "--advertise", f"{ADDRESSES[machine]}:{PORT}", "--peer", *peers,
                    "--ready-file", self.file(f"ready{machine}"), *self._agent_options]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent)
