#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: with_agents.py MITOSIS SIMPLE_PARENT SIMPLE_CHILD CONNECTOR
"""The story of the original's README: connect, prepare on machine 0, resume on machine 1, twice."""

import os
import subprocess
import sys

from two_agents import SKIPPED, TwoAgents, program

COUNT = 12


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command, simple_parent, simple_child, connector = sys.argv[1:]
    with TwoAgents(command) as agents:
        subprocess.run([connector, "-gid=" + agents.address(0), "-mac_id=0", "-nic_id=0"],
                       env=agents.env(1), check=True, timeout=20)
        parent = program([simple_parent, "-pin=false", "-handler_id=73", "-interval_ms=50",
                          f"-count={COUNT}"], agents.env(0))
        assert parent.stdout.readline() == "time 0\n"
        word, key = parent.stdout.readline().split()
        assert word == "key"
        expected = [f"time {n}\n" for n in range(1, COUNT + 1)]
        for _ in range(2):
            child = program([simple_child, "-mac_id=0", "-handler_id=73", "--key=" + key],
                            agents.env(1))
            said = child.stdout.readlines()
            assert child.wait(20) == 0, child.returncode
            assert said == expected, said
        assert parent.stdout.readlines() == expected
        assert parent.wait(20) == 0, parent.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
