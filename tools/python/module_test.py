#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: module_test.py MITOSIS. The module `mitosis` between two agents: a child of a child.
"""Prepare on machine 0, resume on 1, prepare there, resume on 0: each sees what it should."""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

PARENT = """
import mitosis, sys
data, seen = list(range(100000)), ["parent"]
key = mitosis.prepare(73)
if key is None:
    seen.append("child")
    data[5000] = -1
    key = mitosis.prepare(74)
    if key is None:
        seen.append("grandchild")
        print(*seen, sum(data), flush=True)
        sys.exit(3)
print(key, flush=True)
data.clear()
sys.stdin.readline()
print(*seen, flush=True)
"""
RESUME = "import mitosis, sys; mitosis.resume(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])"


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    with TwoAgents(sys.argv[1]) as agents:

        def python(machine, *arguments):
            return program(["/usr/bin/python3", "-c", *arguments], agents.env(machine))

        with python(0, "import mitosis, sys; mitosis.connect(1, sys.argv[1])",
                    agents.address(1)) as connector:
            assert connector.wait(20) == 0
        with python(1, "import mitosis, sys; mitosis.connect(0, sys.argv[1])",
                    agents.address(0)) as connector:
            assert connector.wait(20) == 0
        with python(0, PARENT) as parent:
            key = parent.stdout.readline().strip()
            with python(1, RESUME, "0", "73", key) as child:
                childs_key = child.stdout.readline().strip()
                with python(0, RESUME, "1", "74", childs_key) as grandchild:
                    said = grandchild.stdout.read()
                    expected = sum(range(100000)) - 5001
                    assert said == f"parent child grandchild {expected}\n", said
                    assert grandchild.wait(20) == 3
                child.stdin.write("\n")
                child.stdin.flush()
                assert child.stdout.read() == "parent child\n"
                assert child.wait(20) == 0
            with python(0, "import mitosis; mitosis.resume(mitosis.HERE, 73)") as child:
                assert child.stdout.readline(), "one's own handler needs no key on its machine"
                child.stdin.write("\n")
                child.stdin.flush()
                assert child.wait(20) == 0
            with python(0, "import mitosis; mitosis.prepare('abc')") as mistaken:
                assert mistaken.wait(20) == 1
            with python(0, "import mitosis; mitosis.reclaim(73)") as reclaim:
                assert reclaim.wait(20) == 0
            with python(1, RESUME, "0", "73", key) as late:
                assert late.wait(20) == 1  # with a traceback
            parent.stdin.write("\n")
            parent.stdin.flush()
            assert parent.stdout.read() == "parent\n"
            assert parent.wait(20) == 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
