# SPDX-License-Identifier: MIT
"""A module for every configuration: each says its policy, and forks; and one of a user's own."""

import re

import kernel_module
from module_build import POLICIES, of_policy, own
from module_case import CALL, PROGRAM, ModuleCase, RemoteCase, begin, start, wait_until

FINE = (0, "child fine\n")
PROFILE = "/sys/kernel/debug/mitosis/profile"


def profile_of(machine):
    """{step: how many}"""
    machine.run("mount", "-t", "debugfs", "none", "/sys/kernel/debug")
    return {step: int(count) for step, count in
            re.findall(r"^(\w+) count=(\d+)", machine.must("cat", PROFILE), re.M)}


def touched_in_order(case, handler):
    """What a child on another machine that touches 16 pages of its parent's, and 16 that are zeros,
    adds to the counters; a page or two that its code needs meanwhile come on top."""
    start(case.owner, "parent", handler, "order")
    case.other.must("rm", "-f", "/run/first", "/run/second")
    case.assertEqual(begin(case.other, "/run/order", PROGRAM, "remote", 0, handler),
                     "child waits\n")
    before = case.statistics(case.other)
    wait_until(case.other, "grep -q 'has touched' /run/order", first="touch /run/first")
    after = case.statistics(case.other)
    wait_until(case.other, "grep -q 'child fine' /run/order", first="touch /run/second")
    numbers = {name: number - before[name] for name, number in after.items()}
    case.assertEqual((numbers["zero_pages"], numbers["cached_pages"], numbers["dropped_pages"]),
                     (16, 0, 0), numbers)
    case.assertGreaterEqual(numbers["fetched_pages"], 16, numbers)
    case.assertEqual(numbers["read_bytes"], numbers["fetched_pages"] * 4096, numbers)
    case.assertEqual(numbers["remote_pages"], numbers["fetched_pages"] + 16, numbers)
    case.assertEqual(numbers["faults"] + numbers["ahead_pages"], numbers["remote_pages"], numbers)
    return numbers


class Policies(RemoteCase):
    """Each with a child on the parent's machine and one on another."""

    def setUp(self):
        self.addCleanup(self.unload)  # `check` loads

    def check(self, unit):
        type(self).module = of_policy(unit)
        self.load()
        self.assertIn(f"with the policy {POLICIES[unit]}", kernel_module.log(self.owner)[-1])
        start(self.owner, "parent", 20, "memory")
        begun = (self.owner, self.owner.begin(PROGRAM, "child", 20)), (
            self.other, self.other.begin(PROGRAM, "remote", 0, 20))
        for machine, one in begun:
            self.assertEqual(machine.finish(one), FINE)
        return self.statistics(self.other)

    def test_ondemand(self):
        numbers = self.check("ondemand")
        self.assertGreater(numbers["doorbells"], 1200)  # one a page
        numbers = touched_in_order(self, 24)
        self.assertEqual(numbers["ahead_pages"], 0)
        self.assertEqual((numbers["reads"], numbers["doorbells"]), (numbers["fetched_pages"],) * 2)
        self.assertLess(numbers["fetched_pages"], 16 + 8)

    def test_prefetch_profile(self):
        numbers = self.check("prefetch_profile")
        self.assertLess(numbers["doorbells"], 900)
        steps = profile_of(self.other)
        self.assertGreater(steps["fault"], 50)
        self.assertGreater(steps["read"], 100)
        self.assertEqual((steps["resume_connect"], steps["resume_memory"]), (1, 1))
        self.assertEqual(profile_of(self.owner)["prepare_memory"], 1)

    def test_cow_profile(self):
        self.check("cow_profile")
        self.assertGreater(profile_of(self.other)["fault"], 1200)

    def test_eager(self):
        numbers = self.check("eager")
        self.assertLess(numbers["doorbells"], 300)  # 16 reads of up to 64 pages each
        self.assertGreater(numbers["remote_pages"], 1200)
        # Whatever becomes of the parent, the child has all.
        start(self.owner, "parent", 21, "wait")
        self.other.must("rm", "-f", "/run/go")
        self.assertEqual(begin(self.other, "/run/eager", PROGRAM, "remote", 0, 21), "child waits\n")
        self.owner.must(CALL, "reclaim", 21)
        self.other.must("touch", "/run/go")
        wait_until(self.other, "grep -q 'child fine' /run/eager")

    def test_cache(self):
        numbers = self.check("cache")
        self.assertGreater(numbers["doorbells"], 100)
        # A cache ends with its last child: these share one.
        start(self.owner, "parent", 23, "wait")
        self.other.must("rm", "-f", "/run/go")
        self.assertEqual(begin(self.other, "/run/one", PROGRAM, "remote", 0, 23), "child waits\n")
        self.assertEqual(begin(self.other, "/run/two", PROGRAM, "remote", 0, 23), "child waits\n")
        before = self.statistics(self.other)["doorbells"]
        self.other.must("touch", "/run/go")
        for out in ("one", "two"):
            wait_until(self.other, f"grep -q 'child fine' /run/{out}")
        taken = self.statistics(self.other)["doorbells"] - before
        self.assertLess(taken, 1.3 * numbers["doorbells"])  # of one child, not of two
        # One that prepares itself takes along once what it has of the cache.
        pages = [self.statistics(self.owner)["pages"]]
        for words in (("parent", 24, "again"), ("child", 24)):
            said = begin(self.owner, f"/run/{words[0]}", PROGRAM, *words)
            self.assertTrue(said.startswith("prepared "), said)
            pages.append(self.statistics(self.owner)["pages"])
        self.assertLess(pages[2] - pages[1], pages[1] - pages[0] + 32)

    def test_copy(self):
        self.check("copy")


class OwnModule(ModuleCase):
    """examples/own_module: nothing but what is installed is needed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.module = own()

    def test_it_forks(self):
        self.assertIn("with the policy rc+prefetch32+none+copy+profile",
                      kernel_module.log(self.machine)[-1])
        start(self.machine, "parent", 22, "memory")
        self.assertEqual(self.machine.run(PROGRAM, "child", 22), FINE)
        self.assertGreater(profile_of(self.machine)["fault"], 50)
