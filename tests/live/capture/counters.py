# SPDX-License-Identifier: MIT
# Counts in THREADS threads, and says how far each has come for each line that it is told.
"""A program of many threads that never heard of mitosis."""
import sys
import threading
import time

counts = [0] * int(sys.argv[1])


def count(i):
    while True:
        counts[i] += 1
        time.sleep(0.002)


for number in range(len(counts)):
    threading.Thread(target=count, args=(number,), daemon=True).start()
for line in sys.stdin:
    print(line.strip(), *counts, flush=True)
