# SPDX-License-Identifier: MIT
"""What the tests of mitosis.ko have in common: two machines that are booted once for all of them,
and the module, which each test loads anew and unloads. Every wait has a deadline of its own."""

import atexit
import os
import unittest

import kernel_module
import soft_roce
from cluster import Cluster

PROGRAM = os.environ.get("MITOSIS_MODULE_PROGRAM", "")
CALL = os.environ.get("MITOSIS_MODULE_CALL", "")
PROCESSORS = int(os.environ.get("MITOSIS_VM_PROCESSORS", "2"))
PORT = 7412
SECRET = "all-machines-of-the-cluster"
SIGBUS = 7
WAIT_SECONDS = 60
END_ALL = ("for name in module_program module_call; do "
           "while pidof $name; do kill -9 $(pidof $name); sleep 0.05; done; done")


class Machines:
    """Booted when first asked for; they end with the process."""

    def __init__(self):
        self._cluster = None
        self._with_roce = False

    def cluster(self):
        if self._cluster is None:
            # Strict: freed memory is poisoned, and whatever the kernel warns of ends it.
            self._cluster = Cluster(2, words=kernel_module.STRICT, processors=PROCESSORS)
            self._cluster.__enter__()  # pylint: disable=unnecessary-dunder-call
            atexit.register(self._cluster.close)
        return self._cluster

    def with_roce(self):
        cluster = self.cluster()
        if not self._with_roce:
            for machine in cluster.machines:
                soft_roce.start(machine)
            self._with_roce = True
        return cluster


MACHINES = Machines()


def wait_until(machine, condition, seconds=WAIT_SECONDS):
    """Until that shell condition holds there."""
    status, said = machine.run("timeout", seconds, "sh", "-c",
                               f"until {condition}; do sleep 0.05; done", seconds=seconds + 30)
    if status != 0:
        raise AssertionError(f"machine {machine.number}: not in {seconds} s: {condition} {said}")


def begin(machine, out, *words):
    """A program in the background; its first line, once there is one."""
    # Standard input that neither ends nor has anything.
    machine.must("sh", "-c", f"rm -f {out}; [ -p /run/never ] || mkfifo /run/never; "
                             f'setsid "$@" <> /run/never > {out} 2>&1 &', "sh", *words)
    wait_until(machine, f"grep -q . {out}")
    return machine.must("head", "-n", 1, out)


def start(machine, *words):
    """A parent in the background that has prepared itself; its pid, and its key if it has one."""
    said = begin(machine, f"/run/out{words[1]}", PROGRAM, *words)
    if not said.startswith("prepared "):
        raise AssertionError(f"machine {machine.number}: {words}: {said}")
    pid, *key = said.split()[1:]
    return (int(pid), key[0]) if key else int(pid)


def end(machine, pid):
    """Kills it, and waits until it is gone."""
    machine.must("kill", "-9", pid)
    wait_until(machine, f"[ ! -e /proc/{pid} ]")


def end_of(machine, out):
    """The status that a shell has told at the end of `out`."""
    wait_until(machine, f"grep -q status {out}")
    return machine.must("tail", "-n", 1, out)


def used(machine):
    """KiB of memory that are neither free nor a cache's."""
    machine.must("sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches")
    said = dict(line.split()[:2] for line in machine.must("cat", "/proc/meminfo").splitlines())
    return int(said["MemTotal:"]) - int(said["MemAvailable:"])


class ModuleCase(unittest.TestCase):
    """On one machine, without RDMA. `module`: the path of mitosis.ko."""

    parameters = ("keyless=1",)

    @classmethod
    def setUpClass(cls):
        cls.module = kernel_module.build()
        cls.machine = MACHINES.cluster().machines[0]
        cls.machines = [cls.machine]

    def setUp(self):
        self.addCleanup(self.unload)
        self.load()

    def load(self, *parameters):
        for machine in self.machines:
            kernel_module.load(machine, self.module, *(parameters or self.parameters))

    def unload(self):
        for machine in self.machines:
            machine.run("timeout", WAIT_SECONDS, "sh", "-c", END_ALL)
        for machine in reversed(self.machines):
            # A child's memory goes a little after its process.
            wait_until(machine, "! grep -q '^mitosis ' /proc/modules || rmmod mitosis 2> /dev/null")
            kernel_module.log(machine)

    def statistics(self, machine):
        said = machine.must(CALL, "statistics")
        return {name: int(number) for name, number in (word.split("=") for word in said.split())}


class RemoteCase(ModuleCase):
    """On two machines, by RDMA: machine 1 (`other`) knows machine 0 (`owner`)."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.cluster = MACHINES.with_roce()
        cls.machines = cls.cluster.machines
        cls.owner, cls.other = cls.machines

    def load(self, *parameters):
        for machine in self.machines:
            self.load_on(machine, *(parameters or self.parameters))
        # A busy host: a step of a connection may take longer than the module waits.
        wait_until(self.other, f"{CALL} connect 0 {self.owner.address} > /dev/null")

    def load_on(self, machine, *parameters, secret=SECRET):
        kernel_module.load(machine, self.module, f"port={PORT}", f"machine={machine.number}",
                           f"secret={secret}", *parameters)
