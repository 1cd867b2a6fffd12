# SPDX-License-Identifier: MIT
"""A module for every configuration: each is built, says its policy, and forks; and one of a user's
own, built out of tree from what is installed."""

import os
import pathlib
import re
import subprocess
import tempfile

import kernel_module
from module_case import CALL, PROGRAM, ModuleCase, RemoteCase, begin, start, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MITOSIS_BUILD", ROOT / "build"))
FINE = (0, "child fine\n")
PROFILE = "/sys/kernel/debug/mitosis/profile"


def profile_of(machine):
    """{step: how many}"""
    machine.run("mount", "-t", "debugfs", "none", "/sys/kernel/debug")
    return {step: int(count) for step, count in
            re.findall(r"^(\w+) count=(\d+)", machine.must("cat", PROFILE), re.M)}


class Policies(RemoteCase):
    """Each with a child on the parent's machine and one on another."""

    def check(self, unit, policy):
        type(self).module = kernel_module.build(kernel_module.UNIT.with_name(f"mitosis_{unit}.cpp"),
                                                unit)
        self.unload()
        self.load()
        self.assertIn(f"with the policy {policy}", kernel_module.log(self.owner)[-1])
        start(self.owner, "parent", 20, "memory")
        self.assertEqual(self.owner.run(PROGRAM, "child", 20), FINE)
        self.assertEqual(self.other.run(PROGRAM, "remote", 0, 20), FINE)
        return self.statistics(self.other)

    def test_ondemand(self):
        numbers = self.check("ondemand", "rc+ondemand+none+cow")
        self.assertGreater(numbers["doorbells"], 2000)  # one a page

    def test_prefetch_profile(self):
        numbers = self.check("prefetch_profile", "rc+prefetch8+none+cow+profile")
        self.assertLess(numbers["doorbells"], 1500)
        steps = profile_of(self.other)
        self.assertGreater(steps["fault"], 50)
        self.assertGreater(steps["read"], 100)

    def test_cow_profile(self):
        self.check("cow_profile", "rc+ondemand+none+cow+profile")
        self.assertGreater(profile_of(self.other)["fault"], 2000)

    def test_eager(self):
        numbers = self.check("eager", "rc+eager+none+cow")
        self.assertLess(numbers["doorbells"], 300)  # 16 reads of up to 64 pages each
        self.assertGreater(numbers["remote_pages"], 2000)
        # Whatever becomes of the parent, the child has all.
        start(self.owner, "parent", 21, "wait")
        self.other.must("rm", "-f", "/run/go")
        self.assertEqual(begin(self.other, "/run/eager", PROGRAM, "remote", 0, 21), "child waits\n")
        self.owner.must(CALL, "reclaim", 21)
        self.other.must("touch", "/run/go")
        wait_until(self.other, "grep -q 'child fine' /run/eager")

    def test_cache(self):
        numbers = self.check("cache", "rc+prefetch8+local+cow")
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

    def test_copy(self):
        self.check("copy", "rc+prefetch8+none+copy")


class OwnModule(ModuleCase):
    """examples/own_module: nothing but what is installed is needed."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory(dir=BUILD / "vm")))
        subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet", "--tags",
                        "devel", "--destdir", str(folder / "root")], check=True,
                       stdout=subprocess.DEVNULL)
        (package,) = (folder / "root").rglob("mitosis.pc")
        own = folder / "own_module"
        subprocess.run(["cp", "-r", str(ROOT / "examples/own_module"), str(own)], check=True)
        kdir = kernel_module.headers(BUILD / "vm", cls.machine.must("uname", "-r").strip())
        subprocess.run(["make", "-C", str(own), f"KDIR={kdir}"], check=True,
                       stdout=subprocess.DEVNULL,
                       env=os.environ | {"PKG_CONFIG_PATH": str(package.parent),
                                         "PKG_CONFIG_SYSROOT_DIR": str(folder / "root")})
        cls.module = own / "build/mitosis.ko"

    def test_it_forks(self):
        self.assertIn("with the policy rc+prefetch32+none+copy+profile",
                      kernel_module.log(self.machine)[-1])
        start(self.machine, "parent", 22, "memory")
        self.assertEqual(self.machine.run(PROGRAM, "child", 22), FINE)
        self.assertGreater(profile_of(self.machine)["fault"], 50)
