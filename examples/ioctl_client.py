#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# `mitosis run -- ioctl_client.py parent 73`, then elsewhere `... child MACHINE 73`: as
# ioctl_client.cpp, with nothing but Python's fcntl.
"""A Python program of the original interface, which knows a device and its ioctls."""

import fcntl
import os
import struct
import sys
import time

NIL, PREPARE, RESUME_LOCAL, RESUME_REMOTE, NIL_RPC = 0, 4, 5, 6, 8


def main(what, *arguments):
    numbers = [int(argument) for argument in arguments]
    device = os.open("/dev/mitosis-syscalls", os.O_RDWR)
    if what == "parent":
        data = {n: n * n for n in range(100_000)}
        print("time 0", flush=True)
        fcntl.ioctl(device, PREPARE, numbers[0])
        fcntl.ioctl(device, NIL, 0)  # parent and children: the device is still open
        for n in range(1, 4):
            print("time", n, data[n + 50_000], flush=True)
            time.sleep(0.02)
        sys.stdin.read()  # the children need their parent to stay
    elif what == "child":
        fcntl.ioctl(device, RESUME_REMOTE, struct.pack("II", *numbers))
    elif what == "local_child":
        fcntl.ioctl(device, RESUME_LOCAL, numbers[0])
    elif what == "ping":
        print("machine", numbers[0], fcntl.ioctl(device, NIL_RPC, numbers[0]))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        print("usage: parent HANDLER | child MACHINE HANDLER | local_child HANDLER | ping MACHINE",
              file=sys.stderr)
        sys.exit(2)
    main(*sys.argv[1:])
