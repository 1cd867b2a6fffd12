# SPDX-License-Identifier: MIT
"""What is built: a module for every configuration, one of a user's own out of tree from what is
installed; and what the build refuses, with words that say what to do. Needs no machine."""

import functools
import os
import pathlib
import subprocess
import unittest

import kernel_module
from image import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("MITOSIS_BUILD", ROOT / "build"))
POLICIES = {
    "ondemand": "rc+ondemand+none+cow",
    "prefetch_profile": "rc+prefetch8+none+cow+profile",
    "cow_profile": "rc+ondemand+none+cow+profile",
    "cache": "rc+prefetch8+local+cow",
    "eager": "rc+eager+none+cow",
    "copy": "rc+prefetch8+none+copy",
}


def of_policy(unit):
    """The path of the module with the policy of kernel/mitosis_`unit`.cpp."""
    return kernel_module.build(kernel_module.UNIT.with_name(f"mitosis_{unit}.cpp"), unit)


@functools.cache
def own():
    """The path of examples/own_module's, out of nothing but what is installed; once a process."""
    folder = BUILD / "vm/own"
    subprocess.run(["meson", "install", "-C", str(BUILD), "--no-rebuild", "--quiet", "--tags",
                    "devel", "--destdir", str(folder / "root")], check=True,
                   stdout=subprocess.DEVNULL)
    (package,) = (folder / "root").rglob("mitosis.pc")
    subprocess.run(["cp", "-r", str(ROOT / "examples/own_module"), str(folder)], check=True)
    kdir = kernel_module.headers(BUILD / "vm", Image(BUILD / "vm").release)
    subprocess.run(["make", "-C", str(folder / "own_module"), f"KDIR={kdir}"], check=True,
                   stdout=subprocess.DEVNULL,
                   env=os.environ | {"PKG_CONFIG_PATH": str(package.parent),
                                     "PKG_CONFIG_SYSROOT_DIR": str(folder / "root")})
    return folder / "own_module/build/mitosis.ko"


class Builds(unittest.TestCase):
    LINE = "MITOSIS_KERNEL_MODULE(Policy<>);\n"

    def refused(self, text):
        status, said = kernel_module.compiler_output(
            "// SPDX-License-Identifier: MIT\n#include <mitosis/fork/kernel/module.hpp>\n" + text)
        self.assertEqual(status, 1)
        return said

    def test_each_policy(self):
        for unit in POLICIES:
            self.assertTrue(pathlib.Path(of_policy(unit)).exists())

    def test_ones_own(self):
        self.assertTrue(own().exists())

    def test_sparse_finds_nothing_in_the_shim(self):
        kernel_module.build()
        self.assertEqual(kernel_module.sparse(), [])

    def test_what_must_not_be_in_a_module(self):
        said = self.refused("extern \"C\" int mitosis_seed();\nint seed = mitosis_seed();\n"
                            "int* make() { return new int(1); }\n"
                            "thread_local int mine = 1;\nint* its() { return &mine; }\n" +
                            self.LINE)
        self.assertIn("has a section .init_array", said)  # constructors
        self.assertIn("needs _Znwm", said)  # a function that the shim does not have
        self.assertIn("has a section .tdata", said)  # thread-local storage

    def test_a_policy_that_a_stock_kernel_cannot_carry(self):
        self.assertIn("use Transport<RC> in a kernel module",
                      self.refused("MITOSIS_KERNEL_MODULE(Policy<Transport<DCT>>);\n"))
