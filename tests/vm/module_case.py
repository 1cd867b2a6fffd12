# SPDX-License-Identifier: MIT
"""What the tests of mitosis.ko have in common: two machines that are booted once for all of them,
and the module, which each test loads anew and unloads. Every wait has a deadline of its own."""

import atexit
import concurrent.futures
import os
import unittest

import kernel_module
import soft_roce
from cluster import Cluster

PROGRAM = os.environ.get("MITOSIS_MODULE_PROGRAM", "")
CALL = os.environ.get("MITOSIS_MODULE_CALL", "")
MEMORY = os.environ.get("MITOSIS_MODULE_MEMORY", "")
PROCESSORS = int(os.environ.get("MITOSIS_VM_PROCESSORS", "2"))
PORT = 7412
SECRET = "all-machines-of-the-cluster"
SIGBUS = 7
WAIT_SECONDS = 60
END_ALL = "while pkill -9 -x 'module_(program|memory|call)'; do sleep 0.05; done"
# A child's memory goes a little after its process. Where the module itself does not go, the kernel
# says who waits for what.
UNLOAD = f"""
(sleep {WAIT_SECONDS - 15}; exec echo w > /proc/sysrq-trigger) > /dev/null 2>&1 &
{END_ALL}
until ! grep -q '^mitosis ' /proc/modules || rmmod mitosis > /dev/null 2>&1; do sleep 0.05; done
kill $!
exec dmesg
"""


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


def wait_until(machine, condition, seconds=WAIT_SECONDS, first="", then="", words=()):
    """Runs `first`, waits until that shell condition holds there, and runs `then`, whose output it
    returns; all in one shell there, with `words` as its arguments."""
    status, said = machine.run("timeout", seconds, "sh", "-c",
                               f"{first}\nuntil {condition}; do sleep 0.05; done\n{then}", "sh",
                               *words, seconds=seconds + 30)
    if status != 0:
        raise AssertionError(f"machine {machine.number}: not in {seconds} s: {condition} {said}")
    return said


def begin(machine, out, *words):
    """A program in the background; its first line, once there is one."""
    # Standard input that neither ends nor has anything.
    return wait_until(machine, f"grep -q . {out}", words=words, then=f"head -n 1 {out}",
                      first=f"rm -f {out}; [ -p /run/never ] || mkfifo /run/never; "
                            f'setsid "$@" <> /run/never > {out} 2>&1 &')


def start(machine, *words):
    """A parent in the background that has prepared itself; its pid, and its key if it has one."""
    said = begin(machine, f"/run/out{words[1]}", PROGRAM, *words)
    if not said.startswith("prepared "):
        raise AssertionError(f"machine {machine.number}: {words}: {said}")
    pid, *key = said.split()[1:]
    return (int(pid), key[0]) if key else int(pid)


def end(machine, pid):
    """Kills it, and waits until it is gone."""
    wait_until(machine, f"[ ! -e /proc/{pid} ]", first=f"kill -9 {pid}")


def end_of(machine, out):
    """The status that a shell has told at the end of `out`."""
    return wait_until(machine, f"grep -q status {out}", then=f"tail -n 1 {out}")


def used(machine):
    """KiB of memory that are neither free nor a cache's."""
    machine.must("sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches")
    said = dict(line.split()[:2] for line in machine.must("cat", "/proc/meminfo").splitlines())
    return int(said["MemTotal:"]) - int(said["MemAvailable:"])


class ModuleCase(unittest.TestCase):
    """On one machine, without RDMA. `module`: the path of mitosis.ko."""

    parameters = ("keyless=1",)
    number = 0  # of its machine

    @classmethod
    def setUpClass(cls):
        cls.module = kernel_module.build()
        cls.machine = MACHINES.cluster().machines[cls.number]
        cls.machines = [cls.machine]

    def setUp(self):
        self.addCleanup(self.unload)
        self.load()

    @classmethod
    def load(cls, *parameters):
        for machine in cls.machines:
            kernel_module.load(machine, cls.module, *(parameters or cls.parameters))

    @classmethod
    def unload(cls):
        for machine in reversed(cls.machines):  # who reads goes first
            status, said = machine.run("timeout", WAIT_SECONDS, "sh", "-c", UNLOAD)
            if status != 0:
                said += machine.run("sh", "-c", "dmesg | tail -n 60")[1]
                raise AssertionError(f"machine {machine.number}: the module does not go: {said}")
            kernel_module.log(machine, said)

    @classmethod
    def end_all(cls):
        """Programs, but not the module."""
        for machine in reversed(cls.machines):
            kernel_module.log(machine, machine.must("sh", "-c", f"{END_ALL}; dmesg"))

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

    @classmethod
    def load(cls, *parameters):
        words = parameters or cls.parameters
        with concurrent.futures.ThreadPoolExecutor() as at_once:
            list(at_once.map(lambda machine: cls.load_on(machine, *words), cls.machines))
        # A busy host: a step of a connection may take longer than the module waits.
        wait_until(cls.other, f"{CALL} connect 0 {cls.owner.address} > /dev/null")

    @classmethod
    def load_on(cls, machine, *parameters, secret=SECRET):
        kernel_module.load(machine, cls.module, f"port={PORT}", f"machine={machine.number}",
                           f"secret={secret}", *parameters)


class LoadedOnce(RemoteCase):
    """On modules that are loaded once for all its tests."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.addClassCleanup(cls.unload)
        cls.load()

    def setUp(self):
        self.addCleanup(self.end_all)
