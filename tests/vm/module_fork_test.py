#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Prepare and ResumeLocal of mitosis.ko: a child has the parent's memory as of its prepare, on a
kernel that poisons what is freed and stops at the first warning."""

import os
import pathlib
import unittest

import kernel_module
from case import run_or_skip

PROGRAM = os.environ.get("MITOSIS_MODULE_PROGRAM", "")
PROCESSORS = int(os.environ.get("MITOSIS_VM_PROCESSORS", "2"))
ORIGINAL = pathlib.Path(__file__).resolve().parents[2] / "examples/ioctl_client.py"
SIGBUS = 7
# PROGRAM COUNT: that many parents, one after the other, each with a child.
FORKS = """
for handler in $(seq $2); do
  : > /run/loop
  $1 parent $handler memory < /dev/null > /run/loop & parent=$!
  until [ -s /run/loop ]; do sleep 0.02; done
  $1 child $handler || exit 1
  kill -9 $parent
  wait $parent
done 2> /dev/null
exit 0
"""
END_ALL = "while pidof module_program; do kill -9 $(pidof module_program); sleep 0.05; done"


class Forks(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.module = kernel_module.build()
        cls.cluster = cls.enterClassContext(
            kernel_module.strict_cluster(1, processors=PROCESSORS))
        cls.machine = cls.cluster.machines[0]

    def setUp(self):
        kernel_module.load(self.machine, self.module, "keyless=1")

    def tearDown(self):
        self.machine.must("sh", "-c", END_ALL)
        self.machine.must("rmmod", "mitosis")
        kernel_module.log(self.machine)

    def begin(self, out, *words):
        """A program in the background; its first line, once there is one."""
        # Standard input that neither ends nor has anything.
        self.machine.must("sh", "-c", f"rm -f {out}; [ -p /run/never ] || mkfifo /run/never; "
                                      f'setsid "$@" <> /run/never > {out} 2>&1 &', "sh", *words)
        self.machine.must("sh", "-c", f"until grep -q . {out}; do sleep 0.05; done")
        return self.machine.must("head", "-n", 1, out)

    def start(self, *words):
        """A parent in the background that has prepared itself; its pid."""
        said = self.begin(f"/run/out{words[1]}", PROGRAM, *words)
        self.assertTrue(said.startswith("prepared "), said)
        return int(said.split()[1])

    def used(self):
        """KiB of memory that are neither free nor a cache's."""
        self.machine.must("sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches")
        said = dict(line.split()[:2] for line in self.machine.must("cat", "/proc/meminfo")
                    .splitlines())
        return int(said["MemTotal:"]) - int(said["MemAvailable:"])

    def end(self, pid):
        self.machine.must("sh", "-c", f"kill -9 {pid}; "
                                      f"while [ -e /proc/{pid} ]; do sleep 0.05; done")

    def resume(self, handler):
        return self.machine.run(PROGRAM, "child", handler)

    def test_children_have_the_memory_as_of_prepare(self):
        parent = self.start("parent", 73, "memory")
        for _ in range(3):
            self.assertEqual(self.resume(73), (0, "child fine\n"))
        self.end(parent)

    def test_a_child_forks(self):
        parent = self.start("parent", 74, "fork")
        self.assertEqual(self.resume(74), (0, "child fine\n"))
        self.end(parent)

    def test_a_child_changes_its_memory(self):
        parent = self.start("parent", 75, "change")
        self.assertEqual(self.resume(75), (0, "child fine\n"))
        self.end(parent)

    def test_the_parent_of_prepare_ping_need_not_stay(self):
        self.start("pinned", 76, "exit")
        self.assertEqual(self.resume(76), (0, "child fine\n"))

    def test_unloading_ends_what_was_to_stay(self):
        before = self.used()
        for handler in range(100, 120):
            self.start("pinned", handler, "exit")
        self.assertGreater(self.used() - before, 100 * 1024)
        self.tearDown()
        self.setUp()
        self.assertLess(self.used() - before, 100 * 1024)

    def test_the_parent_of_prepare_takes_its_handler_along(self):
        parent = self.start("parent", 77, "memory")
        self.end(parent)
        self.assertEqual(self.resume(77), (1, "resume: No such file or directory\n"))
        self.assertIn("no handler 77 is prepared", kernel_module.log(self.machine)[-1])

    def test_a_handler_in_use_is_refused(self):
        parent = self.start("parent", 78, "memory")
        self.assertEqual(self.machine.run(PROGRAM, "parent", 78, "memory"),
                         (1, "prepare: File exists\n"))
        self.end(parent)

    def test_a_module_without_prefetch(self):
        self.tearDown()
        unit = kernel_module.UNIT.with_name("mitosis_ondemand.cpp")
        kernel_module.load(self.machine, kernel_module.build(unit, "ondemand"), "keyless=1")
        self.assertIn("policy rc+ondemand+none+cow", kernel_module.log(self.machine)[-1])
        parent = self.start("parent", 79, "memory")
        self.assertEqual(self.resume(79), (0, "child fine\n"))
        self.end(parent)

    def test_a_child_prepares_itself_again(self):
        parent = self.start("parent", 80, "again")
        said = self.begin("/run/hop", PROGRAM, "child", 80)
        self.assertTrue(said.startswith("prepared "), said)
        self.end(parent)  # the second has all that it needs
        self.assertEqual(self.resume(81), (0, "child fine\n"))

    def test_a_child_whose_parent_ends_first_gets_sigbus(self):
        parent = self.start("parent", 82, "wait")
        self.machine.must("rm", "-f", "/run/go")
        said = self.begin("/run/bus", "sh", "-c", f"{PROGRAM} child 82; echo status $?")
        self.assertEqual(said, "child waits\n")
        self.end(parent)
        self.machine.must("touch", "/run/go")
        self.machine.must("sh", "-c", "until grep -q status /run/bus; do sleep 0.05; done")
        self.assertIn(f"status {128 + SIGBUS}", self.machine.must("cat", "/run/bus"))
        self.assertIn("its parent was reclaimed or has ended",
                      "\n".join(kernel_module.log(self.machine)[-3:]))

    def test_a_child_that_is_killed_leaves_nothing(self):
        parent = self.start("parent", 83, "wait")
        self.machine.must("rm", "-f", "/run/go")
        self.assertEqual(self.begin("/run/waits", PROGRAM, "child", 83), "child waits\n")
        self.assertNotEqual(self.machine.run("rmmod", "mitosis")[0], 0)
        for pid in self.machine.must("pidof", "module_program").split():
            if int(pid) != parent:
                self.end(int(pid))
        self.machine.must("touch", "/run/go")
        self.assertEqual(self.resume(83)[1], "child waits\nchild fine\n")
        self.end(parent)

    def test_a_reclaim_in_mid_run(self):
        parent = self.start("pinned", 87, "wait")
        self.machine.must("rm", "-f", "/run/go")
        said = self.begin("/run/bus", "sh", "-c", f"{PROGRAM} child 87; echo status $?")
        self.assertEqual(said, "child waits\n")
        self.assertEqual(self.machine.run("setpriv", "--reuid=65534", "--clear-groups", PROGRAM,
                                          "reclaim", 87), (1, "reclaim: Permission denied\n"))
        self.assertEqual(self.machine.run(PROGRAM, "reclaim", 87), (0, "reclaim: done\n"))
        self.machine.must("touch", "/run/go")
        self.machine.must("sh", "-c", "until grep -q status /run/bus; do sleep 0.05; done")
        self.assertIn(f"status {128 + SIGBUS}", self.machine.must("cat", "/run/bus"))
        gone = "No such file or directory\n"
        self.assertEqual(self.machine.run(PROGRAM, "reclaim", 87), (1, "reclaim: " + gone))
        self.assertEqual(self.resume(87), (1, "resume: " + gone))
        self.machine.must("kill", "-0", parent)  # it runs on

    def test_several_threads_are_refused_by_name(self):
        self.assertEqual(self.machine.run(PROGRAM, "parent", 84, "threads"),
                         (1, "prepare: Operation not supported\n"))
        self.assertIn("has several threads", kernel_module.log(self.machine)[-1])

    def test_another_users_parent_is_refused(self):
        parent = self.start("parent", 85, "memory")
        said = self.machine.run("setpriv", "--reuid=65534", "--clear-groups", PROGRAM, "child", 85)
        self.assertEqual(said, (1, "resume: Permission denied\n"))
        self.end(parent)

    def test_a_program_of_the_original_in_python(self):
        """Counts on from 1 in the child, as the original's example does."""
        words = ("/usr/bin/python3", "-B", ORIGINAL)
        self.begin("/run/python", *words, "parent", 86)
        self.machine.must("sh", "-c", "until grep -q 'time 3' /run/python; do sleep 0.05; done")
        numbers = [50_001 ** 2, 50_002 ** 2, 50_003 ** 2]
        told = "".join(f"time {n} {number}\n" for n, number in enumerate(numbers, 1))
        self.assertEqual(self.machine.must("cat", "/run/python"), "time 0\n" + told)
        for _ in range(2):
            self.assertEqual(self.machine.run(*words, "local_child", 86), (0, told))
        self.end(int(self.machine.must("pgrep", "-f", "ioctl_client.py parent 86")))

    def test_fifty_forks_leave_no_memory_behind(self):
        self.machine.must("sh", "-c", FORKS, "sh", PROGRAM, 10, seconds=300)
        before = self.used()
        said = self.machine.must("sh", "-c", FORKS, "sh", PROGRAM, 50, seconds=300)
        self.assertEqual(said, "child fine\n" * 50)
        # Each parent holds some 12 MiB, and so does its child: a GiB, had they been kept. The
        # processors' own lists of free pages look like a leak, of up to some 50 MiB.
        self.assertLess(self.used() - before, 100 * 1024)


if __name__ == "__main__":
    run_or_skip()
