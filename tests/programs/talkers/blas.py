# SPDX-License-Identifier: MIT
# A talker whose numbers live in numpy, multiplied by whatever BLAS numpy has. With an argument that
# BLAS must have a pool of threads.
import os
import sys

import numpy

n = 96
a = numpy.arange(n * n, dtype=float).reshape(n, n) % 7
state = numpy.eye(n)
state = state @ state
if len(sys.argv) > 1 and len(os.listdir("/proc/self/task")) == 1:
    sys.exit("no pool")
print("ready", flush=True)
for line in sys.stdin:
    state = (state @ a + int(line.split()[1])) % 1009
    print(int(state.sum()), flush=True)
