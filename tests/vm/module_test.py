#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""mitosis.ko comes, serves its device and goes, on a kernel that stops at the first warning."""

import os
import unittest

import kernel_module
from case import run_or_skip

PROGRAM = os.environ.get("MITOSIS_MODULE_PROGRAM", "")
PYTHON_NIL = """
import fcntl, os
device = os.open("/dev/mitosis-syscalls", os.O_RDWR)
print(fcntl.ioctl(device, 0), fcntl.ioctl(device, 0, 7))
"""
EACCES, ENOTTY = 13, 25


class TheModule(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.module = kernel_module.build()
        cls.cluster = cls.enterClassContext(kernel_module.strict_cluster(1))
        cls.machine = cls.cluster.machines[0]

    def setUp(self):
        kernel_module.load(self.machine, self.module)

    def tearDown(self):
        self.machine.must("rmmod", "mitosis")
        kernel_module.log(self.machine)

    def test_says_what_it_is(self):
        self.assertIn("serves /dev/mitosis-syscalls with the policy rc+prefetch8+none+cow",
                      kernel_module.log(self.machine)[-1])

    def test_nil_from_c_and_python(self):
        self.assertEqual(self.machine.run(PROGRAM, "call", 0, 0), (0, "0 0\n"))
        self.assertEqual(self.machine.run("/usr/bin/python3", "-c", PYTHON_NIL), (0, "0 0\n"))

    def test_calls_without_a_key_are_off(self):
        for number in (4, 7):
            self.assertEqual(self.machine.run(PROGRAM, "call", number, 73), (0, f"-1 {EACCES}\n"))
            self.assertIn("load the module with keyless=1", kernel_module.log(self.machine)[-1])

    def test_a_number_that_is_none(self):
        for number in (1, 9, 100, 0x40046d01, 0xffffffff):  # 2 is every file's, the kernel says
            self.assertEqual(self.machine.run(PROGRAM, "call", number, 0), (0, f"-1 {ENOTTY}\n"))

    def test_is_not_unloaded_while_the_device_is_open(self):
        self.machine.must("sh", "-c", f"setsid {PROGRAM} hold < /dev/null > /run/hold 2>&1 &")
        self.machine.must("sh", "-c", "until grep -q held /run/hold; do sleep 0.05; done")
        status, said = self.machine.run("rmmod", "mitosis")
        self.assertNotEqual(status, 0)
        self.assertIn("in use", said)
        self.machine.must("sh", "-c", "kill $(cut -d ' ' -f 2 /run/hold)")
        self.machine.must("sh", "-c", "while grep -q '^mitosis .* [1-9][0-9]* -' /proc/modules; "
                                      "do sleep 0.05; done")


class TheBuild(unittest.TestCase):
    """Refuses what must not be in a module."""

    LINE = "MITOSIS_KERNEL_MODULE(Policy<>);\n"

    def refused(self, text, because):
        status, said = kernel_module.compiler_output(
            "// SPDX-License-Identifier: MIT\n#include <mitosis/fork/kernel/module.hpp>\n" + text)
        self.assertEqual(status, 1)
        self.assertIn(because, said)

    def test_constructors(self):
        self.refused("extern \"C\" int mitosis_seed();\nint seed = mitosis_seed();\n" + self.LINE,
                     ".init_array")

    def test_functions_that_the_shim_has_not(self):
        self.refused("int* make() { return new int(1); }\n" + self.LINE, "needs _Znwm")

    def test_thread_local_storage(self):
        self.refused("thread_local int mine = 1;\nint* its() { return &mine; }\n" + self.LINE,
                     ".tdata")

    def test_a_policy_whose_parts_are_not_built(self):
        self.refused("MITOSIS_KERNEL_MODULE(Policy<Cache<Local>>);\n", "its cache is not built yet")
        self.refused("MITOSIS_KERNEL_MODULE(Policy<Fetch<Eager>>);\n",
                     "an eager start is not built yet")
        self.refused("MITOSIS_KERNEL_MODULE(Policy<Cow<Off>>);\n",
                     "a prepare that copies is not built yet")
        self.refused("MITOSIS_KERNEL_MODULE(Policy<Profile<On>>);\n",
                     "nothing shows a profile there yet")

    def test_a_policy_that_a_stock_kernel_cannot_carry(self):
        self.refused("MITOSIS_KERNEL_MODULE(Policy<Transport<DCT>>);\n",
                     "use Transport<RC> in a kernel module")


if __name__ == "__main__":
    run_or_skip()
