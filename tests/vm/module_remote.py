# SPDX-License-Identifier: MIT
"""Remote fork by mitosis.ko between machines with soft-RoCE: RDMA reads from within the kernel, and
what becomes of a child whose parent, or parent's machine, is gone."""

import pathlib
import time

import kernel_module
from module_case import CALL, END_ALL, PROGRAM, SIGBUS, LoadedOnce, begin, end, start, wait_until
from module_ends import Ends
from module_policies import touched_in_order

ORIGINAL = pathlib.Path(__file__).resolve().parents[2] / "examples/ioctl_client.py"


FAIL_AT = "/sys/module/mitosis/parameters/test_fail_at"


class Remote(Ends, LoadedOnce):

    patience = 30

    def test_children_on_another_machine(self):
        start(self.owner, "parent", 73, "memory")
        for _ in range(2):
            self.assertEqual(self.other.run(PROGRAM, "remote", 0, 73), (0, "child fine\n"))

    def test_a_child_forks(self):
        start(self.owner, "parent", 74, "fork")
        self.assertEqual(self.other.run(PROGRAM, "remote", 0, 74), (0, "child fine\n"))

    def test_from_one_to_the_other_and_back_and_on(self):
        """Three hops: the last child has its pages from all three images, which stay."""
        parent = start(self.owner, "pinned", 110, "twice")
        self.owner.must(CALL, "connect", 1, self.other.address)
        said = begin(self.other, "/run/hop", PROGRAM, "remote", 0, 110)
        self.assertTrue(said.startswith("prepared "), said)
        end(self.owner, parent)
        said = begin(self.owner, "/run/hop", PROGRAM, "remote", 1, 111)
        self.assertTrue(said.startswith("prepared "), said)
        self.other.must("sh", "-c", END_ALL)
        # The third has taken along what the first had: they are on one machine.
        self.owner.must(CALL, "reclaim", 110)
        self.assertEqual(self.other.run(PROGRAM, "remote", 0, 112), (0, "child fine\n"))
        self.other.must(CALL, "reclaim", 111)
        self.owner.must(CALL, "reclaim", 112)

    def test_python(self):
        words = ("/usr/bin/python3", "-B", ORIGINAL)
        begin(self.owner, "/run/python", *words, "parent", 77)
        wait_until(self.owner, "grep -q 'time 3' /run/python")
        told = "".join(f"time {n} {(50_000 + n) ** 2}\n" for n in range(1, 4))
        self.assertEqual(self.other.run(*words, "child", 0, 77), (0, told))
        parent = self.owner.must("pgrep", "-f", "ioctl_client.py parent 77")
        self.owner.must("kill", "-9", parent.strip())

    def waiting_child(self, handler):
        parent = start(self.owner, "parent", handler, "wait")
        self.other.must("rm", "-f", "/run/go")
        said = begin(self.other, "/run/child", "sh", "-c",
                     f"{PROGRAM} remote 0 {handler}; echo status $?")
        self.assertEqual(said, "child waits\n")
        return parent

    def reclaim(self, handler):
        self.assertEqual(self.owner.run(CALL, "reclaim", handler), (0, "reclaim: done\n"))

    def test_a_parent_that_ends_first(self):
        parent = self.waiting_child(78)
        end(self.owner, parent)
        self.goes_on(self.missing)

    def test_a_resume_from_who_cannot_be_reached(self):
        start(self.owner, "parent", 79, "wait")
        before = self.statistics(self.other)
        with self.unreachable():
            said = self.other.run(PROGRAM, "remote", 0, 79)
        self.assertEqual(said[0], 1, said)
        after = self.statistics(self.other)
        for name in ("refused_resumes", "resumes_unreachable"):
            self.assertEqual(after[name], before[name] + 1, name)

    def test_what_comes_ahead_of_its_fault(self):
        numbers = touched_in_order(self, 88)
        # A fault for each page that is zero, and few for those that were fetched.
        self.assertLess(numbers["faults"], 16 + 8, numbers)
        self.assertLess(numbers["doorbells"], 8, numbers)

    def test_a_child_that_is_killed(self):
        self.waiting_child(80)
        with self.unreachable():
            self.other.must("touch", "/run/go")
            began = time.monotonic()
            self.other.must("sh", "-c", END_ALL)
            self.assertLess(time.monotonic() - began, self.patience)

    def test_readers_that_are_killed_leave_the_connection_to_the_others(self):
        start(self.owner, "parent", 86, "readers")
        before = self.statistics(self.owner)["accepted"]
        self.assertEqual(self.other.run(PROGRAM, "remote", 0, 86), (0, "child fine\n"))
        self.assertEqual(self.statistics(self.owner)["accepted"], before + 1)

    def test_what_is_not_there(self):
        self.assertEqual(self.other.run(PROGRAM, "remote", 0, 99),
                         (1, "resume: No such file or directory\n"))
        self.assertEqual(self.other.run(PROGRAM, "remote", 5, 99),
                         (1, "resume: No such file or directory\n"))
        self.assertEqual(self.other.run(CALL, "call", 8, 0), (0, "0 0\n"))
        self.assertEqual(self.other.run(CALL, "connect", 3, "nowhere")[0], 1)

    def with_failing(self, machine, site):
        """A resume with that site's allocation failing on one of the two: what is said, how many
        sites there were."""
        machine.must("sh", "-c", f"echo {site} > {FAIL_AT}")
        said = self.other.run(PROGRAM, "remote", 0, 85)[1]
        count = machine.must("sh", "-c", f"cat {FAIL_AT}; echo 0 > {FAIL_AT}")
        return said, int(count)

    def test_a_failing_allocation_at_each_site_of_both_ends(self):
        start(self.owner, "parent", 85, "exit")
        for machine in (self.other, self.owner):
            # The first child of an owner makes more than those after it.
            self.owner.must("sh", "-c", f"{CALL} reclaim 85")
            start(self.owner, "parent", 85, "exit")
            whole = self.with_failing(machine, 1000)[1]
            self.assertGreater(whole, 3)
            failed = 0
            for site in range(1, whole + 1):
                said, _ = self.with_failing(machine, site)
                self.assertRegex(said, r"^(child fine|resume: .*)\n$")
                failed += said.startswith("resume: ")
            self.assertGreater(failed, 1)
            self.assertEqual(self.other.run(PROGRAM, "remote", 0, 85), (0, "child fine\n"))
        wait_until(self.other, f"{CALL} statistics | grep -q children=0")

    def test_frames_are_lost(self):
        start(self.owner, "parent", 82, "memory")
        self.cluster.switch.lose(0, 0.02)
        self.cluster.switch.lose(1, 0.02)
        try:
            self.assertEqual(self.other.run(PROGRAM, "remote", 0, 82), (0, "child fine\n"))
        finally:
            self.cluster.switch.lose(0, 0)
            self.cluster.switch.lose(1, 0)

    def test_the_owners_module_goes_while_peers_read(self):
        self.unload()
        self.load()  # which counts anew
        parent = start(self.owner, "pinned", 83, "memory")
        end(self.owner, parent)  # nothing there holds the module any more
        begun = [self.other.begin("sh", "-c", f"{PROGRAM} remote 0 83; echo status $?")
                 for _ in range(4)]
        wait_until(self.owner, f"{CALL} statistics | grep -q 'accepted=[2-4]'")
        self.owner.must("rmmod", "mitosis")
        for one in begun:
            status, said = self.other.finish(one)
            self.assertEqual(status, 0)
            self.assertNotIn("WRONG", said)
            # Fine, or it has missed a page, or came too late.
            self.assertRegex(said, f"child fine|status {128 + SIGBUS}|resume: ")
        self.load_on(self.owner, "keyless=1")
        wait_until(self.other, f"{CALL} statistics | grep -q children=0")

    def test_the_owners_module_goes_while_a_peer_is_let_in_or_out(self):
        for ms in range(0, 300, 60):
            end(self.owner, start(self.owner, "pinned", 87, "exit"))
            coming = self.other.begin("sh", "-c", f"{PROGRAM} remote 0 87; echo status $?")
            self.owner.must("sh", "-c", f"busybox usleep {ms}000; exec rmmod mitosis")
            said = self.other.finish(coming)[1]
            self.assertRegex(said, f"child fine|status {128 + SIGBUS}|resume: ")
            kernel_module.log(self.owner)
            self.load_on(self.owner, "keyless=1")
        wait_until(self.other, f"{CALL} statistics | grep -q children=0")

    def test_the_readers_module_is_held_by_its_children(self):
        self.waiting_child(84)
        self.assertIn("in use", self.other.run("rmmod", "mitosis")[1])
        self.goes_on(0)
