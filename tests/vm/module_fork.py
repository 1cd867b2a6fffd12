# SPDX-License-Identifier: MIT
"""Prepare and ResumeLocal of mitosis.ko: a child has the parent's memory as of its prepare, on a
kernel that poisons what is freed and stops at the first warning."""

import pathlib

import kernel_module
from module_case import (CALL, MEMORY, PROGRAM, SIGBUS, ModuleCase, begin, end, end_of, start, used,
                         wait_until)

ORIGINAL = pathlib.Path(__file__).resolve().parents[2] / "examples/ioctl_client.py"


class Forks(ModuleCase):

    def resume(self, handler):
        return self.machine.run(PROGRAM, "child", handler)

    def test_children_have_the_memory_as_of_prepare(self):
        parent = start(self.machine, "parent", 73, "memory")
        for _ in range(3):
            self.assertEqual(self.resume(73), (0, "child fine\n"))
        end(self.machine, parent)

    def check_kind(self, kind, handler):
        said = begin(self.machine, "/run/kind", MEMORY, handler, kind)
        self.assertTrue(said.startswith("prepared "), said)
        self.assertEqual(self.resume(handler), (0, "child fine\n"))

    def test_memory_with_thousands_of_holes(self):
        self.check_kind("holes", 60)

    def test_huge_pages_stay_such(self):
        self.check_kind("huge", 61)

    def test_memory_that_a_device_may_write_to(self):
        self.check_kind("pinned", 62)

    def test_memory_that_is_swapped_out(self):
        disk = kernel_module.tree(self.machine) / "kernel/drivers/block/brd.ko"
        self.machine.must("sh", "-c", f"insmod {disk} rd_nr=1 rd_size=65536 && "
                                      "busybox mkswap /dev/ram0 && busybox swapon /dev/ram0")
        self.addCleanup(self.machine.must, "sh", "-c", "busybox swapoff /dev/ram0 && rmmod brd")
        self.check_kind("swapped", 63)

    def test_a_child_forks(self):
        parent = start(self.machine, "parent", 74, "fork")
        self.assertEqual(self.resume(74), (0, "child fine\n"))
        end(self.machine, parent)

    def test_generations_of_forks_leave_nothing(self):
        parent = start(self.machine, "parent", 88, "generations")
        self.machine.must("rm", "-f", "/run/go")
        said = begin(self.machine, "/run/many", "sh", "-c", f"{PROGRAM} child 88; echo status $?")
        self.assertEqual(said, "child waits\n")
        # The first, and what it has of its latest fork; what ends, ends a little later.
        wait_until(self.machine, f"{CALL} statistics | grep -q 'children=[12] '")
        self.machine.must("touch", "/run/go")
        self.assertEqual(end_of(self.machine, "/run/many"), "status 0\n")
        wait_until(self.machine, f"{CALL} statistics | grep -q 'children=0 '")
        end(self.machine, parent)

    def test_a_child_forks_among_signals(self):
        parent = start(self.machine, "parent", 89, "signals")
        self.assertEqual(self.resume(89), (0, "child fine\n"))
        end(self.machine, parent)

    def test_a_time_namespace_is_refused_by_name(self):
        parent = start(self.machine, "parent", 90, "memory")
        self.assertEqual(self.machine.run("unshare", "--time", "--fork", PROGRAM, "child", 90),
                         (1, "resume: Operation not supported\n"))
        self.assertIn("is in a time namespace", kernel_module.log(self.machine)[-1])
        self.assertEqual(self.resume(90), (0, "child fine\n"))
        end(self.machine, parent)

    def test_a_child_changes_its_memory(self):
        parent = start(self.machine, "parent", 75, "change")
        self.assertEqual(self.resume(75), (0, "child fine\n"))
        end(self.machine, parent)

    def test_the_parent_of_prepare_ping_need_not_stay(self):
        start(self.machine, "leaves", 76, "exit")
        self.assertEqual(self.resume(76), (0, "child fine\n"))

    def test_unloading_ends_what_was_to_stay(self):
        before = used(self.machine)
        self.machine.must("sh", "-c", "for handler in $(seq 100 119); do "
                                      "$1 leaves $handler exit > /run/left || exit; done", "sh",
                          PROGRAM)
        self.assertGreater(used(self.machine) - before, 100 * 1024)
        self.unload()
        self.load()
        self.assertLess(used(self.machine) - before, 100 * 1024)

    def test_the_parent_of_prepare_takes_its_handler_along(self):
        parent = start(self.machine, "parent", 77, "memory")
        end(self.machine, parent)
        self.assertEqual(self.resume(77), (1, "resume: No such file or directory\n"))
        self.assertIn("no handler 77 is prepared", kernel_module.log(self.machine)[-1])

    def test_a_handler_in_use_is_refused(self):
        parent = start(self.machine, "parent", 78, "memory")
        self.assertEqual(self.machine.run(PROGRAM, "parent", 78, "memory"),
                         (1, "prepare: File exists\n"))
        end(self.machine, parent)

    def test_a_child_prepares_itself_again(self):
        parent = start(self.machine, "parent", 80, "again")
        said = begin(self.machine, "/run/hop", PROGRAM, "child", 80)
        self.assertTrue(said.startswith("prepared "), said)
        end(self.machine, parent)  # the second has all that it needs
        self.assertEqual(self.resume(81), (0, "child fine\n"))

    def test_a_child_whose_parent_ends_first_gets_sigbus(self):
        parent = start(self.machine, "parent", 82, "wait")
        self.machine.must("rm", "-f", "/run/go")
        said = begin(self.machine, "/run/bus", "sh", "-c", f"{PROGRAM} child 82; echo status $?")
        self.assertEqual(said, "child waits\n")
        end(self.machine, parent)
        self.machine.must("touch", "/run/go")
        self.assertEqual(end_of(self.machine, "/run/bus"), f"status {128 + SIGBUS}\n")
        self.assertIn("its parent was reclaimed or has ended",
                      "\n".join(kernel_module.log(self.machine)[-3:]))

    def test_a_child_that_is_killed_leaves_nothing(self):
        parent = start(self.machine, "parent", 83, "wait")
        self.machine.must("rm", "-f", "/run/go")
        self.assertEqual(begin(self.machine, "/run/waits", PROGRAM, "child", 83), "child waits\n")
        self.assertNotEqual(self.machine.run("rmmod", "mitosis")[0], 0)
        for pid in self.machine.must("pidof", "module_program").split():
            if int(pid) != parent:
                end(self.machine, int(pid))
        self.machine.must("touch", "/run/go")
        self.assertEqual(self.resume(83)[1], "child waits\nchild fine\n")
        end(self.machine, parent)

    def test_a_reclaim_in_mid_run(self):
        parent = start(self.machine, "pinned", 87, "wait")
        self.machine.must("rm", "-f", "/run/go")
        said = begin(self.machine, "/run/bus", "sh", "-c", f"{PROGRAM} child 87; echo status $?")
        self.assertEqual(said, "child waits\n")
        self.assertEqual(self.machine.run("setpriv", "--reuid=65534", "--clear-groups", CALL,
                                          "reclaim", 87), (1, "reclaim: Permission denied\n"))
        self.assertEqual(self.machine.run(CALL, "reclaim", 87), (0, "reclaim: done\n"))
        self.machine.must("touch", "/run/go")
        self.assertEqual(end_of(self.machine, "/run/bus"), f"status {128 + SIGBUS}\n")
        gone = "No such file or directory\n"
        self.assertEqual(self.machine.run(CALL, "reclaim", 87), (1, "reclaim: " + gone))
        self.assertEqual(self.resume(87), (1, "resume: " + gone))
        self.machine.must("kill", "-0", parent)  # it runs on

    def test_several_threads_are_refused_by_name(self):
        self.assertEqual(self.machine.run(PROGRAM, "parent", 84, "threads"),
                         (1, "prepare: Operation not supported\n"))
        self.assertIn("prepare: process", kernel_module.log(self.machine)[-1])
        self.assertIn("has several threads", kernel_module.log(self.machine)[-1])
        start(self.machine, "parent", 84, "memory")
        self.assertEqual(self.machine.run(PROGRAM, "threaded", 84),
                         (1, "resume: Operation not supported\n"))
        self.assertIn("has several threads", kernel_module.log(self.machine)[-1])

    def test_another_users_parent_is_refused(self):
        parent = start(self.machine, "parent", 85, "memory")
        said = self.machine.run("setpriv", "--reuid=65534", "--clear-groups", PROGRAM, "child", 85)
        self.assertEqual(said, (1, "resume: Permission denied\n"))
        end(self.machine, parent)

    def test_a_program_of_the_original_in_python(self):
        """Counts on from 1 in the child, as the original's example does."""
        words = ("/usr/bin/python3", "-B", ORIGINAL)
        begin(self.machine, "/run/python", *words, "parent", 86)
        wait_until(self.machine, "grep -q 'time 3' /run/python")
        numbers = [50_001 ** 2, 50_002 ** 2, 50_003 ** 2]
        told = "".join(f"time {n} {number}\n" for n, number in enumerate(numbers, 1))
        self.assertEqual(self.machine.must("cat", "/run/python"), "time 0\n" + told)
        for _ in range(2):
            self.assertEqual(self.machine.run(*words, "local_child", 86), (0, told))
        end(self.machine, int(self.machine.must("pgrep", "-f", "ioctl_client.py parent 86")))
