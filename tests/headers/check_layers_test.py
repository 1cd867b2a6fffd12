#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# The layering check itself: each forbidden edge is reported, a clean tree is not.
"""Runs check_layers.faults over small trees in a temporary folder."""

import pathlib
import tempfile
import unittest

import check_layers


class CheckLayers(unittest.TestCase):
    def faults(self, files: dict[str, str]) -> list[str]:
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                path = pathlib.Path(folder, "include", "mitosis", name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            return check_layers.faults(pathlib.Path(folder))

    def test_clean(self):
        files = {
            "base/a.hpp": "// World: any.\n#include <cstdint>\n",
            "net/b.hpp": "// World: user.\n#include <vector>\n#include <mitosis/base/a.hpp>\n",
        }
        self.assertEqual(self.faults(files), [])

    def test_upward_edge(self):
        files = {
            "mem/a.hpp": "// World: any.\n#include <mitosis/fork/b.hpp>\n",
            "fork/b.hpp": "// World: any.\n",
        }
        self.assertEqual(self.faults(files), ["mem/a.hpp: includes upwards: fork/b.hpp"])

    def test_any_includes_user(self):
        files = {
            "base/a.hpp": "// World: any.\n#include <mitosis/base/b.hpp>\n#include <vector>\n",
            "base/b.hpp": "// World: user.\n",
        }
        self.assertEqual(len(self.faults(files)), 2)

    def test_both_is_for_user_and_kernel(self):
        files = {
            "net/a.hpp": "// World: both.\n#include <vector>\n#include <map>\n",
            "net/b.hpp": "// World: user.\n#include <mitosis/net/a.hpp>\n",
            "fork/c.hpp": "// World: kernel.\n#include <mitosis/net/a.hpp>\n"
                          "#include <mitosis/net/b.hpp>\n",
        }
        self.assertEqual(self.faults(files), [
            "fork/c.hpp: is kernel, but includes net/b.hpp (user)",
            "net/a.hpp: is both, but <map> does not compile in the kernel"])

    def test_missing_world_and_relative_include(self):
        files = {"base/a.hpp": "// A file.\n", "base/b.hpp": '// World: any.\n#include "a.hpp"\n'}
        self.assertEqual(len(self.faults(files)), 2)


if __name__ == "__main__":
    unittest.main()
