#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: with_device.py MITOSIS IOCTL_CLIENT
"""Programs of the original interface, unmodified, without its kernel module: `mitosis run`."""

import errno
import json
import os
import pathlib
import subprocess
import sys

from two_agents import SKIPPED, TwoAgents, program

PYTHON_CLIENT = str(pathlib.Path(__file__).resolve().parent / "ioctl_client.py")
SERIES = [f"time {n}\n" for n in range(1, 11)]
NOBODY = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class Story:
    def __init__(self, command, client, agents):
        self.command, self.client, self.agents = command, client, agents

    def start(self, machine, *words, before=()):
        """`mitosis run -- WORDS...` on that machine."""
        return program([*before, self.command, "run", "--", *words], self.agents.env(machine))

    def said(self, machine, *words, status=0, errors=None, before=()):
        """Its output, once it has ended with that status and said `errors` on standard error."""
        done = subprocess.run([*before, self.command, "run", "--", *words], text=True, check=False,
                              env=self.agents.env(machine), stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=30)
        assert done.returncode == status, done
        assert (errors or "") in done.stderr and bool(errors) == bool(done.stderr), done
        return done.stdout

    def handlers(self, machine):
        listed = subprocess.run([self.command, "ps", "--json"], env=self.agents.env(machine),
                                capture_output=True, check=True, timeout=20)
        return [row["handler"] for row in json.loads(listed.stdout) if row["kind"] == "parent"]

    def wait_until_gone(self, handler):
        self.agents.wait_for(lambda: handler not in self.handlers(0), f"the end of {handler}")


def connect(story):
    refused = story.said(1, story.client, "connect", "fe80:0000:0000:0000:ec0d:9a03:00ca:2f4c", "0",
                         status=1, errors="--peer 0=HOST:PORT")
    assert "No route to host" in refused, refused
    refused = story.said(1, story.client, "connect", story.agents.address(0), "0", status=1,
                         errors="only root names machines", before=NOBODY)
    assert "Permission denied" in refused, refused
    story.said(1, story.client, "connect", story.agents.address(0), "0")
    # A script with an RDMA gid goes on working where the agent knows the machine.
    story.said(1, story.client, "connect", "fe80:0000:0000:0000:ec0d:9a03:00ca:2f4c", "0")
    assert story.said(1, PYTHON_CLIENT, "ping", "0") == "machine 0 0\n"
    story.said(1, PYTHON_CLIENT, "ping", "9", status=1, errors="is not connected")


def of_cpp(story):
    with story.start(0, story.client, "parent", "73") as parent:
        assert parent.stdout.readline() == "time 0\n"
        story.agents.wait_for(lambda: 73 in story.handlers(0), "prepare")
        said = story.said(0, story.client, "parent", "73", status=1, errors="already in use")
        assert "File exists" in said, said
        for before in ((), NOBODY):  # nobody has a key, so nobody needs one
            child = story.said(1, story.client, "child", "0", "73", before=before)
            assert child.splitlines(True) == SERIES, child
        parent.stdin.close()
        assert parent.stdout.readlines() == SERIES
    story.wait_until_gone(73)  # Prepare ends with its caller
    said = story.said(1, story.client, "child", "0", "73", status=1, errors="no such handler")
    assert "No such file" in said, said

    assert story.said(0, story.client, "pinned", "74") == "time 0\n"
    for _ in range(2):  # PreparePing does not
        assert story.said(1, story.client, "child", "0", "74") == ""
    subprocess.run([story.command, "reclaim", "74"], env=story.agents.env(0), check=True)


def of_python(story):
    expected = [f"time {n} {(n + 50_000) ** 2}\n" for n in (1, 2, 3)]
    with story.start(0, PYTHON_CLIENT, "parent", "75") as parent:
        assert parent.stdout.readline() == "time 0\n"
        story.agents.wait_for(lambda: 75 in story.handlers(0), "prepare")
        for machine, words in ((1, ("child", "0", "75")), (0, ("local_child", "75"))):
            child = story.said(machine, PYTHON_CLIENT, *words)
            assert child.splitlines(True) == expected, child
        parent.stdin.close()
        assert parent.stdout.readlines() == expected
    story.wait_until_gone(75)


def keys_are_not_weakened(story):
    """--keyless opens what the old call has prepared, and nothing else."""
    said = story.said(1, story.client, "parent", "76", status=1, errors="--keyless")
    assert said == "time 0\nparent: Permission denied\n", said
    prepare = "import mitosis, sys; print(mitosis.prepare(77), flush=True); sys.stdin.read()"
    with program(["/usr/bin/python3", "-c", prepare], story.agents.env(0)) as parent:
        assert len(parent.stdout.readline()) == 33
        said = story.said(1, story.client, "child", "0", "77", status=1, errors="key")
        assert "Permission denied" in said, said
        story.said(0, PYTHON_CLIENT, "local_child", "77", status=1, errors="another user",
                   before=NOBODY)
    subprocess.run([story.command, "reclaim", "77"], env=story.agents.env(0), check=True)


# What a device would do with its descriptors, and with a bad argument.
EDGES = """
import fcntl, os, sys
device = open("/dev/mitosis-syscalls", "r+b", buffering=0)
fcntl.ioctl(device, 4, 78)
copy = os.dup(device.fileno())
device.close()
if os.fork() == 0:
    fcntl.ioctl(copy, 8, 0)
    os.close(copy)  # not the last one: the parent's is
    os._exit(0)
assert os.wait()[1] == 0
print("prepared", flush=True)
sys.stdin.readline()
os.close(copy)
print("closed", flush=True)
sys.stdin.readline()
device = os.open("/dev/mitosis-syscalls", os.O_RDWR | os.O_CLOEXEC)
assert os.get_inheritable(device) is False
for request, argument in ((6, 4096), (3, 4096), (2, 0)):
    try:
        fcntl.ioctl(device, request, argument)
    except OSError as error:
        print(error.errno, flush=True)
null = os.open("/dev/null", os.O_RDWR)
try:
    fcntl.ioctl(null, 4, 79)
except OSError as error:
    print(error.errno, flush=True)
"""


def descriptors(story):
    with story.start(0, "/usr/bin/python3", "-c", EDGES) as edges:
        assert edges.stdout.readline() == "prepared\n"
        assert story.handlers(0) == [78], story.handlers(0)
        print("go on", file=edges.stdin, flush=True)
        assert edges.stdout.readline() == "closed\n"
        assert story.handlers(0) == []
        print("go on", file=edges.stdin, flush=True)
        numbers = [int(line) for line in edges.stdout]
        assert numbers == [errno.EFAULT, errno.EFAULT, errno.ENOTTY, errno.ENOTTY], numbers


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command, client = sys.argv[1:]
    with TwoAgents(command, (["--keyless"], [])) as agents:
        story = Story(command, client, agents)
        connect(story)
        of_cpp(story)
        of_python(story)
        keys_are_not_weakened(story)
        descriptors(story)
        assert story.handlers(0) == story.handlers(1) == []
    return 0


if __name__ == "__main__":
    sys.exit(main())
