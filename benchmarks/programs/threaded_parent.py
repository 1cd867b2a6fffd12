# SPDX-License-Identifier: MIT
# The python3 of the bars of a capture by pid: THREADS threads, most of them asleep, as in a server.
"""Answers "fork" with how many milliseconds a fork() of it takes, anything else with "ok"."""
import os
import sys
import threading
import time


def work():
    while True:
        time.sleep(0.05)


def fork_ms():
    start = time.monotonic_ns()
    pid = os.fork()
    end = time.monotonic_ns()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return (end - start) * 1e-6


for _ in range(int(sys.argv[1]) - 1):  # and the main one
    threading.Thread(target=work, daemon=True).start()
print("ok", flush=True)
for line in sys.stdin:
    print("ok", fork_ms() if line.strip() == "fork" else "", flush=True)
