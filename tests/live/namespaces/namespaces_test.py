#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: namespaces_test.py MITOSIS
"""Children in namespaces of their own: numbers, clocks, status, signals; and nothing is left."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

HANDLER = "73"
PYTHON = """
import ctypes, json, os, sys, threading, time
import mitosis

def clocks():
    return {"monotonic": time.monotonic_ns(),
            "boottime": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}
def state():
    with open("/proc/self/status") as status:
        fields = dict(line.rstrip().split(":", 1) for line in status)
    return {"pid": os.getpid(), "tid": threading.get_native_id(), "proc": os.readlink("/proc/self"),
            "capabilities": int(fields["CapPrm"], 16) | int(fields["CapEff"], 16),
            "securebits": ctypes.CDLL(None).prctl(27),  # PR_GET_SECUREBITS
            "processes": sorted(int(p) for p in os.listdir("/proc") if p.isdigit())}
data = bytearray(os.urandom(1 << 20)) * 4  # its children read it from the parent's machine
before = clocks() | {"pid": os.getpid()}
key = mitosis.prepare(73)
if key is not None:
    print(key, json.dumps(before), flush=True)
    sys.stdin.read()
    sys.exit(0)
said = state() | clocks()
said["same_before"] = before
numbers = []
thread = threading.Thread(target=lambda: numbers.append(threading.get_native_id()))
thread.start(); thread.join()
child = os.fork()
if child == 0:
    os._exit(5 if data[:1 << 20] == data[3 << 20:] else 6)
said["fork"] = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
if os.fork() == 0:  # is left running, where no namespace ends it not for long
    time.sleep(20)
    os._exit(0)
print(json.dumps(said), flush=True)
if sys.stdin.readline() == "wait\\n":
    time.sleep(1000)
os._exit(7)
"""
LISTENER = """
import mitosis, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
key = mitosis.prepare(74)
if key is not None:
    print(key, flush=True)
    sys.stdin.read()
    sys.exit(0)
with socket.create_connection(listener.getsockname(), 10) as ours:
    theirs, _ = listener.accept()
    ours.sendall(b"heard")
    print(theirs.recv(5).decode(), *(name for _, name in socket.if_nameindex()), flush=True)
sys.exit(7)
"""
NAMESPACES_LEFT = 10  # seconds that they may take to end
NS = 1_000_000_000


def spawn(agents, command, key, *options, say="", as_user=(), send=None):
    """What one child said, and the exit status of the command."""
    words = [*as_user, command, "spawn", "0", HANDLER, "--key", key, *options]
    with program(words, agents.env(1)) as child:
        child.stdin.write(say)
        child.stdin.flush()
        line = child.stdout.readline()
        if send is not None:
            child.send_signal(send)
        child.stdin.close()
        return json.loads(line or "null"), child.wait(30)


def networks(agents, command):
    """The parent's port is taken on this machine, but not in a network of the child's own."""
    with program(["/usr/bin/python3", "-c", LISTENER], agents.env(0)) as parent:
        key = parent.stdout.readline().strip()
        for words in ("resume", "spawn"):
            words = [command, words, "0", "74", "--key", key]
            refused = subprocess.run(words, env=agents.env(1), timeout=30, text=True, check=False,
                                     stdin=subprocess.DEVNULL, capture_output=True)
            assert refused.returncode != 0 and "in use" in refused.stderr, refused
            assert "--netns" in refused.stderr, refused
            with program([*words, "--netns"], agents.env(1)) as child:
                assert child.stdout.readline() == "heard lo\n"
                assert child.wait(30) == 7
        subprocess.run([command, "reclaim", "74"], env=agents.env(0), check=True, timeout=20)
        parent.stdin.close()
        assert parent.wait(20) == 0


def inits():
    """The processes of that name on this machine."""
    found = subprocess.run(["/bin/ps", "-C", "mitosis-init", "-o", "pid="], capture_output=True,
                           text=True, check=False)
    return set(found.stdout.split())


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command = sys.argv[1]
    others = inits()
    with TwoAgents(command) as agents:
        subprocess.run([command, "connect", "0", agents.address(0)], env=agents.env(1), check=True,
                       timeout=20)
        with program(["/usr/bin/python3", "-c", PYTHON], agents.env(0)) as parent:
            key, before = parent.stdout.readline().split(" ", 1)
            before = json.loads(before)
            time.sleep(1.5)  # what the clocks of a namespace must not show

            said, status = spawn(agents, command, key)
            assert status == 7 and said["pid"] != before["pid"] and said["fork"] == 5, said
            assert said["monotonic"] - before["monotonic"] >= 1.5 * NS, said

            said, status = spawn(agents, command, key, "--timens")
            assert status == 7 and said["pid"] != before["pid"] and said["fork"] == 5, said
            for clock in ("monotonic", "boottime"):
                assert 0 <= said[clock] - before[clock] < 1.4 * NS, (clock, said)

            said, status = spawn(agents, command, key, "--pidns")
            assert status == 7 and said["fork"] == 5, (said, status)
            assert said["pid"] == said["tid"] == int(said["proc"]) == before["pid"], said
            assert said["processes"] == [1, before["pid"]], said
            assert 0 <= said["monotonic"] - before["monotonic"] < 1.4 * NS, said

            _, status = spawn(agents, command, key, "--pidns", say="wait\n", send=signal.SIGTERM)
            assert status == 128 + signal.SIGTERM, status

            with tempfile.TemporaryDirectory() as directory:
                os.chmod(directory, 0o755)
                copy = shutil.copy(command, directory)
                nobody = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
                said, status = spawn(agents, copy, key, "--pidns", as_user=nobody)
                assert status == 7 and said["pid"] == before["pid"], (said, status)
                assert said["capabilities"] == 0 and said["fork"] == 5, said
                assert said["securebits"] == 0, said

            # Several of the same number, each alone in its namespace.
            with program([command, "spawn", "0", HANDLER, "--key", key, "--pidns", "-n", "5",
                          "--null"], agents.env(1)) as several:
                assert several.wait(30) == 1  # of several: not all ended with 0

            parent.stdin.close()
            assert parent.wait(20) == 0
        networks(agents, command)
        deadline = time.monotonic() + NAMESPACES_LEFT
        while inits() - others:
            assert time.monotonic() < deadline, "an init has outlived its child"
            time.sleep(0.05)
    return 0


if __name__ == "__main__":
    sys.exit(main())
