#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: lossy_test.py MITOSIS
"""`mitosis prepare --pid` of a program with a file that cannot come along: refused, or --lossy."""

import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

PROGRAM = """
import os, socket, sys
netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
print(netlink.fileno(), os.pidfd_open(os.getpid()), flush=True)
for line in iter(sys.stdin.readline, ""):
    netlink.settimeout(0)
    try:
        said = repr(netlink.recv(10))
    except BlockingIOError:
        said = "nothing yet"
    print(said, os.get_inheritable(netlink.fileno()), flush=True)
sys.exit(7)
"""


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command = sys.argv[1]
    with TwoAgents(command) as agents:
        subprocess.run([command, "connect", "0", agents.address(0)], env=agents.env(1), check=True)
        with program(["/usr/bin/python3", "-c", PROGRAM], agents.env(0)) as parent:
            netlink, pidfd = parent.stdout.readline().split()

            def ask(process):
                process.stdin.write("\n")
                process.stdin.flush()
                return process.stdout.readline().strip()

            words = [command, "prepare", "--pid", str(parent.pid), "--handler", "73", "--json"]
            refused = subprocess.run(words, env=agents.env(0), text=True, check=False, timeout=30,
                                     capture_output=True)
            assert refused.returncode == 1, refused
            assert f"descriptor {netlink} (socket:" in refused.stderr or \
                f"descriptor {pidfd} (" in refused.stderr, refused
            lossy = subprocess.run([*words, "--lossy"], env=agents.env(0), text=True, check=True,
                                   timeout=30, capture_output=True)
            warnings = lossy.stderr.splitlines()
            assert len(warnings) == 2, lossy
            for number, what in ((netlink, "netlink socket"), (pidfd, "cannot be rebuilt")):
                start = f"mitosis: prepare: dropped from process {parent.pid}: descriptor {number} "
                assert any(w.startswith(start) and what in w for w in warnings), warnings
            said = json.loads(lossy.stdout)
            assert len(said["dropped"]) == 2, said
            with program([command, "resume", "0", "73", "--key", said["key"]],
                         agents.env(1)) as child:
                assert ask(child) == "b'' False", "it reads as ended, and is closed on exec"
                child.stdin.close()
                assert child.wait(20) == 7
            assert ask(parent) == "nothing yet False"
            parent.stdin.close()
            assert parent.wait(20) == 7
    return 0


if __name__ == "__main__":
    sys.exit(main())
