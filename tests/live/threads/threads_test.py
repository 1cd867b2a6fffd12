#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: threads_test.py MITOSIS
"""python3 with 4 and 150 threads, prepared by pid: children of it go on with all threads."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

POLICIES = ("rc+prefetch8+none+cow", "dct+ondemand+local+cow", "rc+eager+none+cow")
ROUNDS = 20

# It knows nothing of mitosis. Its main thread answers lines; the others count, each in its own way.
PYTHON = """
import json, os, queue, sys, threading, time

threads = int(sys.argv[1])
counts = [0] * threads
state = {"word": "none"}
event, baton, work = threading.Event(), threading.Condition(), queue.Queue()

def sleeper(i):
    while True:
        time.sleep(0.02); counts[i] += 1
def waiter(i):
    while True:
        event.wait(0.02); counts[i] += 1
def holder(i):
    while True:
        with baton:
            baton.wait(0.02); counts[i] += 1
def worker(i):
    while True:
        work.get(); counts[i] += 1
kinds = [sleeper, waiter, holder, worker]
for i in range(threads):
    threading.Thread(target=kinds[i % 4], args=(i,), daemon=True).start()
print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    command, _, argument = line.strip().partition(" ")
    if command == "set":
        state["word"] = argument
    before, deadline = list(counts), time.monotonic() + 20
    while time.monotonic() < deadline:
        work.put(None)
        time.sleep(0.001)
        if all(now > then for now, then in zip(counts, before)):
            break
    ids = sorted(int(t) for t in os.listdir("/proc/self/task"))
    print(json.dumps({"word": state["word"], "moved": sum(n > t for n, t in zip(counts, before)),
                      "pid": os.getpid(), "tasks": ids}), flush=True)
os._exit(7)
"""


def ask(process, line):
    process.stdin.write(line + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    assert answer, f"it has ended, with {process.wait(20)}"
    return json.loads(answer)


def rounds(agents, command, threads, handler):
    """One parent, prepared once a policy, and its children."""
    interpreter = ["/usr/bin/python3", "-c", PYTHON, str(threads)]
    with program(interpreter, agents.env(0)) as parent:
        assert parent.stdout.readline() == "ready\n"
        tasks = ask(parent, "look")["tasks"]
        for number, policy in enumerate(POLICIES):
            word = f"word-{number}"
            ask(parent, f"set {word}")
            name = str(handler + number)
            key = subprocess.run(
                [command, "prepare", "--pid", str(parent.pid), "--handler", name, "--policy",
                 policy], env=agents.env(0), check=True, timeout=30, text=True,
                stdout=subprocess.PIPE).stdout.strip()
            ask(parent, "set later")
            for _ in range(ROUNDS):
                with program([command, "resume", "0", name, "--key", key],
                             agents.env(1)) as child:
                    said = ask(child, "look")
                    assert said["word"] == word and said["moved"] == threads, said
                    assert len(said["tasks"]) == threads + 1, said
                    assert ask(child, "set own")["word"] == "own"
                    child.stdin.close()
                    assert child.wait(20) == 7
            said = ask(parent, "look")
            assert said["word"] == "later" and said["moved"] == threads, said
            assert said["tasks"] == tasks, "the parent's threads are as before"
            with program([command, "spawn", "0", name, "--key", key, "--pidns"],
                         agents.env(1)) as child:
                said = ask(child, "look")
                assert said["word"] == word and said["moved"] == threads, said
                assert said["tasks"] == tasks and said["pid"] == parent.pid, said
                child.stdin.close()
                assert child.wait(20) == 7
            subprocess.run([command, "reclaim", name], env=agents.env(0), check=True, timeout=20)
        parent.stdin.close()
        assert parent.wait(20) == 7


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command = sys.argv[1]
    with TwoAgents(command) as agents:
        subprocess.run([command, "connect", "0", agents.address(0)], env=agents.env(1), check=True,
                       timeout=20)
        rounds(agents, command, 4, 100)
        rounds(agents, command, 150, 200)
    return 0


if __name__ == "__main__":
    sys.exit(main())
