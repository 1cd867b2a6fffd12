#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""mitosis.ko in emulated machines, which are booted once: its device, forks on one machine and
between two, who may do what, what it bears. `module_test.py Remote` runs one class."""

from case import run_or_skip
# unittest finds them here.
from module_build import TheBuild  # noqa: F401
from module_device import TheDevice  # noqa: F401
from module_fork import Forks  # noqa: F401
from module_keys import Keys, NoSecret  # noqa: F401
from module_life import Life  # noqa: F401
from module_policies import OwnModule, Policies  # noqa: F401
from module_remote import Remote  # noqa: F401

if __name__ == "__main__":
    run_or_skip()
