#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: hops_test.py MITOSIS
"""A child of a process that was prepared by its pid is so itself, and so is a process that it has
forked: each hop has the pages that no earlier one has touched."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

# "add N" adds to a few numbers of many; "fork" goes on in a forked process, whose parent waits.
PROGRAM = """
import os, sys, threading, time
numbers = list(range(1000, 401000))
ticks = [0]
def tick():
    while True:
        time.sleep(0.001)
        ticks[0] += 1
def start():
    threading.Thread(target=tick, daemon=True).start()
start()
print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    words = line.split()
    if words[0] == "fork":
        if os.fork() != 0:
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        start()
    if words[0] == "add":
        for i in range(int(words[1]), len(numbers), 10007):
            numbers[i] += 1
    before = ticks[0]
    while words[0] == "add" and ticks[0] == before:
        time.sleep(0.001)
    print(os.getpid(), numbers[int(words[1])], sum(numbers) if words[0] == "sum" else "",
          flush=True)
os._exit(7)
"""


def expected(*starts):
    numbers = list(range(1000, 401000))
    for start in starts:
        for i in range(start, len(numbers), 10007):
            numbers[i] += 1
    return numbers


def ask(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().split()


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command = sys.argv[1]
    with TwoAgents(command) as agents:
        for one, other in ((0, 1), (1, 0)):
            subprocess.run([command, "connect", str(other), agents.address(other)],
                           env=agents.env(one), check=True)

        def prepare(machine, pid, handler, policy):
            return subprocess.run(
                [command, "prepare", "--pid", str(pid), "--handler", handler, "--policy", policy],
                env=agents.env(machine), check=True, timeout=30, stdout=subprocess.PIPE,
                text=True).stdout.strip()

        def resume(machine, of, handler, key):
            return program([command, "resume", str(of), handler, "--key", key],
                           agents.env(machine))

        for number, policy in enumerate(("rc+prefetch8+none+cow", "dct+ondemand+local+cow",
                                         "rc+eager+none+cow", "rc+prefetch8+none+copy")):
            one, two, three = (str(100 * (number + 1) + i) for i in range(3))
            with program(["/usr/bin/python3", "-c", PROGRAM], agents.env(0)) as parent:
                assert parent.stdout.readline() == "ready\n"
                assert ask(parent, "add 1")[1] == "1002"
                key = prepare(0, parent.pid, one, policy)
                with resume(1, 0, one, key) as child:
                    assert ask(child, "add 2")[1] == "1003"
                    key = prepare(1, child.pid, two, policy)
                    assert ask(child, "add 3")[1] == "1004"
                    with resume(0, 1, two, key) as grandchild:
                        ends = expected(1, 2, 4)
                        assert ask(grandchild, "add 4")[1] == "1005"
                        forked = ask(grandchild, "fork 2")[0]
                        assert int(forked) != grandchild.pid
                        key = prepare(0, forked, three, policy)
                        with resume(1, 0, three, key) as last:
                            assert ask(last, "add 5")[1] == str(ends[5] + 1)
                            assert ask(last, "sum 1")[2] == str(sum(expected(1, 2, 4, 5)))
                            last.stdin.close()
                            assert last.wait(20) == 7
                        assert ask(grandchild, "sum 1")[2] == str(sum(ends))
                        grandchild.stdin.close()
                        assert grandchild.wait(20) == 7
                    assert ask(child, "sum 1")[2] == str(sum(expected(1, 2, 3)))
                    child.stdin.close()
                    assert child.wait(20) == 7
                assert ask(parent, "sum 1")[2] == str(sum(expected(1)))
                parent.stdin.close()
                assert parent.wait(20) == 7
    return 0


if __name__ == "__main__":
    sys.exit(main())
