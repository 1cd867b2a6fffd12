#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: marks_test.py MITOSIS
"""Memory that is marked MADV_DONTFORK comes along with a prepare by pid, and stays marked; locked
memory is not locked in a child that may not, which is told."""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

PROGRAM = """
import ctypes, mmap, os, sys
memory = mmap.mmap(-1, 64 * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
memory.write(b"m" * (64 * 4096))
memory.madvise(mmap.MADV_DONTFORK, 16 * 4096, 16 * 4096)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
assert ctypes.CDLL(None).mlock(ctypes.c_void_p(start + 40 * 4096), 8 * 4096) == 0

def marked(page):
    here = False
    for line in open("/proc/self/smaps"):
        words = line.split()
        if "-" in words[0]:
            low, high = (int(x, 16) for x in words[0].split("-"))
            here = low <= start + page * 4096 < high
        elif here and words[0] == "VmFlags:":
            return "dc" in words

print("ready", flush=True)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        memory[20 * 4096]  # it is not there
        os._exit(0)
    print([page for page in range(0, 64, 4) if marked(page)], set(memory[:]),
          os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]),
          [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmLck")],
          flush=True)
sys.exit(7)
"""
MARKED = "[16, 20, 24, 28] {109} -11 "
LOCKED, UNLOCKED = "['32']", "['0']"
NOBODY = ["/usr/bin/prlimit", "--memlock=0:0", "/usr/bin/setpriv", "--reuid=65534", "--regid=65534",
          "--clear-groups"]


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command = sys.argv[1]
    with TwoAgents(command) as agents:
        subprocess.run([command, "connect", "0", agents.address(0)], env=agents.env(1), check=True)
        everybodys = shutil.copy(command, agents.file("mitosis"))
        with program(["/usr/bin/python3", "-c", PROGRAM], agents.env(0)) as parent:
            def says(process, locked=LOCKED):
                process.stdin.write("\n")
                process.stdin.flush()
                said = process.stdout.readline().strip()
                assert said == MARKED + locked, said

            assert parent.stdout.readline() == "ready\n"
            for handler, policy in (("73", "rc+prefetch8+none+cow"), ("74", "dct+eager+local+cow")):
                key = subprocess.run(
                    [command, "prepare", "--pid", str(parent.pid), "--handler", handler,
                     "--policy", policy], env=agents.env(0), check=True, timeout=30,
                    capture_output=True, text=True).stdout.strip()
                with program([command, "resume", "0", handler, "--key", key],
                             agents.env(1)) as child:
                    says(child)
                    says(parent)
                    child.stdin.close()
                    assert child.wait(20) == 7
                words = [*NOBODY, everybodys, "resume", "0", handler, "--key", key]
                with program(words, agents.env(1), stderr=subprocess.PIPE) as child:
                    says(child, UNLOCKED)
                    child.stdin.close()
                    assert child.wait(20) == 7
                    assert "its 32 KiB of locked memory are not permitted here" in \
                        child.stderr.read()
            parent.stdin.close()
            assert parent.wait(20) == 7
    return 0


if __name__ == "__main__":
    sys.exit(main())
