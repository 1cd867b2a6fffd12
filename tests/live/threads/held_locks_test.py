#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: held_locks_test.py MITOSIS
"""A program that is captured while its threads hold mutexes which know their owner: in a child,
whose threads have other numbers, each is still its thread's, which unlocks it, and another one gets
it."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

POLICIES = ("rc+prefetch8+none+cow", "dct+ondemand+local+copy")

# It knows nothing of mitosis. Each thread but one holds a recursive mutex twice until it is told to
# let go; the last one then takes all of them.
PYTHON = """
import ctypes, sys, threading

libc, count = ctypes.CDLL(None), 3
mutexes = [ctypes.create_string_buffer(64) for _ in range(count)]
attributes = ctypes.create_string_buffer(16)
RECURSIVE = 1
libc.pthread_mutexattr_init(attributes)
libc.pthread_mutexattr_settype(attributes, RECURSIVE)
held, go, done, said = threading.Semaphore(0), threading.Event(), threading.Semaphore(0), []

def hold(mutex):
    assert libc.pthread_mutex_lock(mutex) == libc.pthread_mutex_lock(mutex) == 0

def let_go(mutex):
    said.append(libc.pthread_mutex_unlock(mutex) + libc.pthread_mutex_unlock(mutex))

def holder(mutex):
    hold(mutex)
    held.release()
    go.wait()
    let_go(mutex)
    done.release()

for mutex in mutexes:
    libc.pthread_mutex_init(mutex, attributes)
for mutex in mutexes[1:]:
    threading.Thread(target=holder, args=(mutex,), daemon=True).start()
    held.acquire()
hold(mutexes[0])
print("ready", flush=True)
sys.stdin.readline()
let_go(mutexes[0])
go.set()
for _ in mutexes[1:]:
    done.acquire()

def take_all():
    for mutex in mutexes:
        said.append(libc.pthread_mutex_trylock(mutex))

taker = threading.Thread(target=take_all)
taker.start()
taker.join()
print(*said, flush=True)
"""
RIGHT = "0 0 0 0 0 0\n"


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command = sys.argv[1]
    with TwoAgents(command) as agents:
        subprocess.run([command, "connect", "0", agents.address(0)], env=agents.env(1), check=True,
                       timeout=20)
        with program(["/usr/bin/python3", "-c", PYTHON], agents.env(0)) as parent:
            assert parent.stdout.readline() == "ready\n"
            for number, policy in enumerate(POLICIES):
                key = subprocess.run(
                    [command, "prepare", "--pid", str(parent.pid), "--handler", str(number),
                     "--policy", policy], env=agents.env(0), check=True, timeout=30, text=True,
                    stdout=subprocess.PIPE).stdout.strip()
                for how in ([command, "resume"], [command, "spawn", "--pidns"]):
                    with program([*how, "0", str(number), "--key", key],
                                 agents.env(1)) as child:
                        child.stdin.write("\n")
                        child.stdin.flush()
                        said = child.stdout.readline()
                        assert said == RIGHT, (policy, how, said)
                        assert child.wait(20) == 0
            parent.stdin.write("\n")
            parent.stdin.flush()
            assert parent.stdout.readline() == RIGHT
            assert parent.wait(20) == 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
