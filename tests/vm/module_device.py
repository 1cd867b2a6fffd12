# SPDX-License-Identifier: MIT
"""mitosis.ko comes, serves its device and goes, on a kernel that stops at the first warning."""

import kernel_module
from module_case import CALL, PROGRAM, ModuleCase, begin, wait_until

PYTHON_NIL = """
import fcntl, os
device = os.open("/dev/mitosis-syscalls", os.O_RDWR)
print(fcntl.ioctl(device, 0), fcntl.ioctl(device, 0, 7))
"""
EACCES, ENOTTY = 13, 25


class TheDevice(ModuleCase):
    parameters = ("keyless=0",)

    def test_says_what_it_is(self):
        self.assertIn("serves /dev/mitosis-syscalls with the policy rc+prefetch8+none+cow",
                      kernel_module.log(self.machine)[-1])

    def test_nil_from_c_and_python(self):
        self.assertEqual(self.machine.run(CALL, "call", 0, 0), (0, "0 0\n"))
        self.assertEqual(self.machine.run("/usr/bin/python3", "-c", PYTHON_NIL), (0, "0 0\n"))

    def test_calls_without_a_key_are_off(self):
        for number in (4, 7):
            self.assertEqual(self.machine.run(CALL, "call", number, 73), (0, f"-1 {EACCES}\n"))
            self.assertIn("load the module with keyless=1", kernel_module.log(self.machine)[-1])

    def test_a_number_that_is_none(self):
        for number in (1, 9, 100, 0x40046d01, 0xffffffff):  # 2 is every file's, the kernel says
            self.assertEqual(self.machine.run(CALL, "call", number, 0), (0, f"-1 {ENOTTY}\n"))

    def test_is_not_unloaded_while_the_device_is_open(self):
        self.assertTrue(begin(self.machine, "/run/hold", PROGRAM, "hold").startswith("held "))
        status, said = self.machine.run("rmmod", "mitosis")
        self.assertNotEqual(status, 0)
        self.assertIn("in use", said)
        self.machine.must("sh", "-c", "kill $(cut -d ' ' -f 2 /run/hold)")
        wait_until(self.machine, "! grep -q '^mitosis .* [1-9][0-9]* -' /proc/modules")
