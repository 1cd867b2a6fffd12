#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: process_test.py MITOSIS. The module `mitosis`: a prepare of another process.
"""With the processes below it or alone, with the files that cannot come along or without."""

import os
import pathlib
import subprocess
import sys

import mitosis

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

# It has a process below it, which ends with it.
PARENT = """
import os, sys
if os.fork() == 0:
    import ctypes, signal
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    signal.pause()
print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    print("heard", line.strip(), flush=True)
sys.exit(7)
"""
LOSSY = """
import socket, sys
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
print("ready", flush=True)
sys.stdin.read()
"""


def refused(call, *words):
    try:
        call()
    except mitosis.Error as error:
        assert all(word in str(error) for word in words), error
        return
    raise AssertionError(f"not refused: {words}")


def alone(command, agents):
    with program(["/usr/bin/python3", "-c", PARENT], agents.env(0)) as parent:
        assert parent.stdout.readline() == "ready\n"
        tree = mitosis.prepare_process(parent.pid, 73)
        words = [command, "resume", "0", "73", "--key", tree]
        whole = subprocess.run(words, env=agents.env(1), check=False, stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=30)
        assert whole.returncode == 125 and "--pidns" in whole.stderr, whole
        key = mitosis.prepare_process(parent.pid, 74, "dct+ondemand+none+cow", alone=True)
        with program([command, "resume", "0", "74", "--key", key], agents.env(1)) as child:
            for process, word in ((child, "one"), (parent, "two")):
                process.stdin.write(word + "\n")
                process.stdin.flush()
                assert process.stdout.readline() == f"heard {word}\n"
                process.stdin.close()
                assert process.wait(20) == 7


def lossy(agents):
    with program(["/usr/bin/python3", "-c", LOSSY], agents.env(0)) as parent:
        assert parent.stdout.readline() == "ready\n"
        refused(lambda: mitosis.prepare_process(parent.pid, 75), "descriptor", "netlink")
        assert len(mitosis.prepare_process(parent.pid, 75, lossy=True)) == 32
        parent.stdin.close()
        assert parent.wait(20) == 0


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command = sys.argv[1]
    with TwoAgents(command) as agents:
        subprocess.run([command, "connect", "0", agents.address(0)], env=agents.env(1), check=True)
        os.environ["MITOSIS_SOCKET"] = agents.env(0)["MITOSIS_SOCKET"]
        alone(command, agents)
        lossy(agents)
        mitosis.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
