#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Remote fork by mitosis.ko between machines with soft-RoCE: RDMA reads from within the kernel, and
what becomes of a child whose parent, or parent's machine, is gone."""

import os
import pathlib
import time
import unittest

import kernel_module
import soft_roce
from case import run_or_skip

PROGRAM = os.environ.get("MITOSIS_MODULE_PROGRAM", "")
PROCESSORS = int(os.environ.get("MITOSIS_VM_PROCESSORS", "2"))
ORIGINAL = pathlib.Path(__file__).resolve().parents[2] / "examples/ioctl_client.py"
PORT = 7412
SIGBUS = 7
END_ALL = "while pidof module_program; do kill -9 $(pidof module_program); sleep 0.05; done"


class Remote(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.module = kernel_module.build()
        cls.cluster = cls.enterClassContext(
            kernel_module.strict_cluster(2, processors=PROCESSORS))
        cls.owner, cls.other = cls.cluster.machines
        for machine in cls.cluster.machines:
            soft_roce.start(machine)

    def setUp(self):
        for machine in self.cluster.machines:
            kernel_module.load(machine, self.module, "keyless=1", f"port={PORT}",
                               f"machine={machine.number}")
        self.other.must(PROGRAM, "connect", 0, self.owner.address)

    def tearDown(self):
        for machine in self.cluster.machines:
            machine.run("sh", "-c", END_ALL)
        for machine in reversed(self.cluster.machines):
            machine.must("rmmod", "mitosis")
            kernel_module.log(machine)

    def begin(self, machine, out, *words):
        machine.must("sh", "-c", f"rm -f {out}; [ -p /run/never ] || mkfifo /run/never; "
                                 f'setsid "$@" <> /run/never > {out} 2>&1 &', "sh", *words)
        machine.must("sh", "-c", f"until grep -q . {out}; do sleep 0.05; done")
        return machine.must("head", "-n", 1, out)

    def start(self, machine, *words):
        said = self.begin(machine, f"/run/out{words[1]}", PROGRAM, *words)
        self.assertTrue(said.startswith("prepared "), said)
        return int(said.split()[1])

    def end_of(self, machine, out):
        """The status that a shell has told at the end of `out`."""
        machine.must("sh", "-c", f"until grep -q status {out}; do sleep 0.05; done")
        return machine.must("tail", "-n", 1, out)

    def test_children_on_another_machine(self):
        self.start(self.owner, "parent", 73, "memory")
        for _ in range(2):
            self.assertEqual(self.other.run(PROGRAM, "remote", 0, 73), (0, "child fine\n"))

    def test_a_child_forks(self):
        self.start(self.owner, "parent", 74, "fork")
        self.assertEqual(self.other.run(PROGRAM, "remote", 0, 74), (0, "child fine\n"))

    def test_from_one_to_the_other_and_back(self):
        parent = self.start(self.owner, "parent", 75, "again")
        self.owner.must(PROGRAM, "connect", 1, self.other.address)
        said = self.begin(self.other, "/run/hop", PROGRAM, "remote", 0, 75)
        self.assertTrue(said.startswith("prepared "), said)
        self.owner.must("kill", "-9", parent)
        self.assertEqual(self.owner.run(PROGRAM, "remote", 1, 76), (0, "child fine\n"))

    def test_python(self):
        words = ("/usr/bin/python3", "-B", ORIGINAL)
        self.begin(self.owner, "/run/python", *words, "parent", 77)
        self.owner.must("sh", "-c", "until grep -q 'time 3' /run/python; do sleep 0.05; done")
        told = "".join(f"time {n} {(50_000 + n) ** 2}\n" for n in range(1, 4))
        self.assertEqual(self.other.run(*words, "child", 0, 77), (0, told))
        parent = self.owner.must("pgrep", "-f", "ioctl_client.py parent 77")
        self.owner.must("kill", "-9", parent.strip())

    def waiting_child(self, handler):
        """A child that has begun, and not fetched most of its memory."""
        parent = self.start(self.owner, "parent", handler, "wait")
        self.other.must("rm", "-f", "/run/go")
        said = self.begin(self.other, "/run/waits", "sh", "-c",
                          f"{PROGRAM} remote 0 {handler}; echo status $?")
        self.assertEqual(said, "child waits\n")
        return parent

    def test_a_parent_that_ends_first(self):
        parent = self.waiting_child(78)
        self.owner.must("sh", "-c", f"kill -9 {parent}; "
                                    f"while [ -e /proc/{parent} ]; do sleep 0.05; done")
        self.other.must("touch", "/run/go")
        self.assertEqual(self.end_of(self.other, "/run/waits"), f"status {128 + SIGBUS}\n")

    def test_a_reclaim_in_mid_run(self):
        self.waiting_child(81)
        self.assertEqual(self.owner.run(PROGRAM, "reclaim", 81), (0, "reclaim: done\n"))
        self.other.must("touch", "/run/go")
        self.assertEqual(self.end_of(self.other, "/run/waits"), f"status {128 + SIGBUS}\n")

    def test_an_owner_that_cannot_be_reached(self):
        self.waiting_child(79)
        self.cluster.switch.unplug(0)
        began = time.monotonic()
        self.other.must("touch", "/run/go")
        self.assertEqual(self.end_of(self.other, "/run/waits"), f"status {128 + SIGBUS}\n")
        self.assertLess(time.monotonic() - began, 30)
        said = self.other.run(PROGRAM, "remote", 0, 79)
        self.assertEqual(said[0], 1, said)
        self.cluster.switch.plug(0)

    def test_a_child_that_is_killed(self):
        self.waiting_child(80)
        self.cluster.switch.unplug(0)
        self.other.must("touch", "/run/go")
        began = time.monotonic()
        self.other.must("sh", "-c", END_ALL)
        self.assertLess(time.monotonic() - began, 30)
        self.cluster.switch.plug(0)

    def test_what_is_not_there(self):
        self.assertEqual(self.other.run(PROGRAM, "remote", 0, 99),
                         (1, "resume: No such file or directory\n"))
        self.assertEqual(self.other.run(PROGRAM, "remote", 5, 99),
                         (1, "resume: No such file or directory\n"))
        self.assertEqual(self.other.run(PROGRAM, "call", 8, 0), (0, "0 0\n"))
        self.assertEqual(self.other.run(PROGRAM, "connect", 3, "nowhere")[0], 1)


if __name__ == "__main__":
    run_or_skip()
