#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: serve.py PORT
"""Runs what the test on the host asks for, inside of an emulated machine.

Each line on the port is a JSON object, `{"id", "run": [words], "seconds", "env"}`; the answer is
`{"id", "status", "output"}`, with standard output and error together, once it has ended. Several
run at once. Ends with the port.
"""

import json
import os
import subprocess
import sys
import threading

OUTPUT_LIMIT = 1 << 20


def run(order):
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(order["run"], env=environment | order.get("env", {}), check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=order["seconds"])
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as late:
        return -1, (late.stdout or b"") + b"\n(no end in time)"
    except OSError as error:
        return 127, str(error).encode()


def main(port):
    lock = threading.Lock()
    fd = os.open(port, os.O_RDWR)
    with os.fdopen(fd, "rb", buffering=0, closefd=False) as lines:

        def answer(message):
            data = json.dumps(message).encode() + b"\n"
            with lock:
                while data:
                    data = data[os.write(fd, data):]

        def carry_out(order):
            status, output = run(order)
            text = output[-OUTPUT_LIMIT:].decode(errors="replace")
            answer({"id": order["id"], "status": status, "output": text})

        answer({"id": 0, "status": 0, "output": os.uname().release})
        held = b""
        while True:
            got = lines.read(65536)
            if not got:
                return
            *whole, held = (held + got).split(b"\n")
            for line in whole:
                threading.Thread(target=carry_out, args=(json.loads(line),), daemon=True).start()


main(sys.argv[1])
