#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: callers_test.py MITOSIS
"""python3 with many threads, one of which calls mitosis.prepare: children, and their children."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

# Two kinds of threads that only wait, a pool of numpy's workers, and one that obeys lines: the main
# thread or another. "look" has every thread do something; "prepare" tells who one is afterwards.
PYTHON = """
import concurrent.futures, json, os, sys, threading
import mitosis, numpy

count, caller = int(sys.argv[1]), sys.argv[2]
turn, arrived = threading.Condition(), threading.Semaphore(0)
state = {"round": 0, "roles": []}
ticks = [0] * count
matrix = numpy.arange(160000.0).reshape(400, 400)

def waits(i):
    seen = 0
    while True:
        with turn:
            turn.wait_for(lambda: state["round"] != seen)
            seen = state["round"]
        ticks[i] += 1
        arrived.release()
def ticks_on(i):
    while True:
        threading.Event().wait(0.01)
        ticks[i] += 1
for i in range(count):
    threading.Thread(target=ticks_on if i % 4 == 0 else waits, args=(i,), daemon=True).start()
pool = concurrent.futures.ThreadPoolExecutor(4)

def look():
    before = list(ticks)
    with turn:
        state["round"] += 1
        turn.notify_all()
    for i in range(count):
        if i % 4 != 0:
            assert arrived.acquire(timeout=20), "a thread has not come"
    traces = list(pool.map(lambda k: float((matrix[:k, :k] @ matrix[:k, :k]).trace()),
                           range(100, 108)))
    return {"moved": sum(a != b for a, b in zip(ticks, before)),
            "waiters": count - (count + 3) // 4, "roles": state["roles"], "traces": traces}

def obey():
    print(json.dumps(look()), flush=True)
    for line in iter(sys.stdin.readline, ""):
        words = line.split()
        if words[0] == "prepare":
            key = mitosis.prepare(int(words[1]), words[2])
            if key is None:
                state["roles"].append("child")
                matrix[0, 0] += 1
            print(json.dumps({"key": key}), flush=True)
        else:
            print(json.dumps(look()), flush=True)
    os._exit(7)

if caller == "main":
    obey()
thread = threading.Thread(target=obey)
thread.start()
thread.join()
"""
RESUME = "import mitosis, sys; mitosis.resume(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])"


def ask(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return hear(process)


def hear(process):
    answer = process.stdout.readline()
    assert answer, f"it has ended, with {process.wait(20)}"
    return json.loads(answer)


def check(process, roles, traces):
    said = ask(process, "look")
    assert said["moved"] >= said["waiters"] and said["roles"] == roles, said
    assert (said["traces"] == traces) == (not roles), "its matrix is its own"
    return said["traces"]


def end(process):
    process.stdin.close()
    assert process.wait(20) == 7


def lives(agents, command, threads, caller, policy, handler):
    """A parent, two children, a grandchild: each with all its threads, each on its own."""
    def python(machine, *arguments):
        return program(["/usr/bin/python3", "-c", *arguments], agents.env(machine))

    with python(0, PYTHON, str(threads), caller) as parent:
        traces = hear(parent)["traces"]
        key = ask(parent, f"prepare {handler} {policy}")["key"]
        with python(1, RESUME, "0", str(handler), key) as first, \
                python(1, RESUME, "0", str(handler), key) as second:
            for child in (first, second):
                assert hear(child)["key"] is None
                check(child, ["child"], traces)
            check(parent, [], traces)
            key = ask(first, f"prepare {handler + 1} {policy}")["key"]
            with python(0, RESUME, "1", str(handler + 1), key) as grandchild:
                assert hear(grandchild)["key"] is None
                check(grandchild, ["child", "child"], traces)
                end(grandchild)
            for child in (first, second):
                check(child, ["child"], traces)
                end(child)
        # Once more: the library and its shadows are in order.
        subprocess.run([command, "reclaim", str(handler)], env=agents.env(0), check=True)
        agents.wait_for(lambda: states_of_children(parent.pid) == ["Z"], "the shadow's end")
        assert ask(parent, f"prepare {handler + 2} {policy}")["key"] is not None
        check(parent, [], traces)
        assert states_of_children(parent.pid).count("Z") <= policy.count("copy"), "not buried"
        end(parent)


def states_of_children(pid):
    children = [child for task in pathlib.Path(f"/proc/{pid}/task").iterdir()
                for child in (task / "children").read_text().split()]
    return [pathlib.Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
            for child in children]


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command = sys.argv[1]
    with TwoAgents(command) as agents:
        for one, other in ((0, 1), (1, 0)):
            subprocess.run([command, "connect", str(other), agents.address(other)],
                           env=agents.env(one), check=True)
        for number, (threads, caller, policy) in enumerate((
                (6, "main", "rc+prefetch8+none+cow"), (6, "other", "dct+ondemand+local+cow"),
                (6, "other", "rc+eager+none+copy"), (150, "main", "rc+prefetch8+none+cow"))):
            lives(agents, command, threads, caller, policy, 100 + 10 * number)
    return 0


if __name__ == "__main__":
    sys.exit(main())
