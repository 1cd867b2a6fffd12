# SPDX-License-Identifier: MIT
"""A python program that prepares itself on a machine, and says what its children should see."""

import time

PARENT = """
import hashlib, os, sys, time, mitosis
mib = int(sys.argv[3])
data = bytearray(os.urandom(1 << 20)) * mib
before = hashlib.sha256(data).hexdigest()
key = mitosis.prepare(int(sys.argv[1]), policy=sys.argv[2])
if key is None:
    if os.path.exists("/run/slow"):
        open("/run/reading", "w").close()
        for at in range(0, len(data), 4096):
            data[at]
            time.sleep(0.02)
    print("child", hashlib.sha256(data).hexdigest(), os.uname().nodename, flush=True)
    os._exit(5)
data[:] = bytes(len(data))
with open("/run/told", "w") as told:
    print(key, before, file=told)
os.rename("/run/told", "/run/parent%s" % sys.argv[1])
while True:
    time.sleep(1000)
"""


def prepare(agents, machine, handler, policy, mib=12):
    """A program of that many MiB has prepared itself there; (its key, its data's checksum). It has
    written over its data since. A child prints `child CHECKSUM vmNUMBER` and ends with 5; where
    there is a file /run/slow on its machine it makes /run/reading and takes 5 s a MiB."""
    machine.must("sh", "-c", 'setsid "$@" </dev/null > /run/out 2>&1 &', "sh",
                 "/usr/bin/python3", "-B", "-c", PARENT, handler, policy, mib, env=agents.env)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        status, told = machine.run("cat", f"/run/parent{handler}")
        if status == 0:
            return told.split()
    raise AssertionError(f"no parent: {machine.run('cat', '/run/out')[1]} {agents.log(machine)}")
