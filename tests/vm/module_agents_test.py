#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""mitosis.ko and the agent on two emulated machines, in both directions: what one has prepared goes
on under the other. `module_agents_test.py ModuleParent` runs one class."""

from case import run_or_skip
# unittest finds them here.
from module_agent import Agent  # noqa: F401
from module_parent import ModuleParent  # noqa: F401

if __name__ == "__main__":
    run_or_skip()
