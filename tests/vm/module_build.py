# SPDX-License-Identifier: MIT
"""What the build of a kernel module refuses: with words that say what to do."""

import unittest

import kernel_module


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

    def test_a_policy_that_a_stock_kernel_cannot_carry(self):
        self.refused("MITOSIS_KERNEL_MODULE(Policy<Transport<DCT>>);\n",
                     "use Transport<RC> in a kernel module")
