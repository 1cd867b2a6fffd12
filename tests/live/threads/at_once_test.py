#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: at_once_test.py MITOSIS
"""Threads of one process prepare it at the same moment, and others by its pid: one after the other,
and none is refused. In a child of one of them the others' calls have ended, too."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

THREADS = 4
PYTHON = """
import json, sys, threading, mitosis
count, said = int(sys.argv[1]), {}
barrier = threading.Barrier(count)

def prepare(handler):
    agent = mitosis.open()
    barrier.wait()
    try:
        key = agent.prepare(handler)
    except mitosis.Error as error:
        said[handler] = "error: " + str(error)
    else:
        said[handler] = key or "child"

for line in sys.stdin:
    said.clear()
    threads = [threading.Thread(target=prepare, args=(int(line) + i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    print(json.dumps(said), flush=True)
sys.exit(7)
"""


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command = sys.argv[1]
    with TwoAgents(command) as agents:
        subprocess.run([command, "connect", "0", agents.address(0)], env=agents.env(1), check=True)
        with program(["/usr/bin/python3", "-c", PYTHON, str(THREADS)], agents.env(0)) as parent:
            for first in (100, 200, 300):
                others = [subprocess.Popen([command, "prepare", "--pid", str(parent.pid),
                                            "--handler", str(first + 50 + i)],
                                           env=agents.env(0), stdout=subprocess.DEVNULL)
                          for i in range(2)]
                parent.stdin.write(f"{first}\n")
                parent.stdin.flush()
                said = json.loads(parent.stdout.readline())
                assert len(said) == THREADS and all(len(key) == 32 for key in said.values()), said
                assert [other.wait(30) for other in others] == [0, 0]
                for handler, key in said.items():
                    with program([command, "resume", "0", handler, "--key", key],
                                 agents.env(1)) as child:
                        answers = json.loads(child.stdout.readline())
                        assert answers.pop(handler) == "child", answers
                        assert len(answers) == THREADS - 1, answers
                        assert all(a != "child" for a in answers.values()), answers
                        child.stdin.close()
                        assert child.wait(30) == 7
            parent.stdin.close()
            assert parent.wait(20) == 7
    return 0


if __name__ == "__main__":
    sys.exit(main())
