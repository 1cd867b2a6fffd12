# SPDX-License-Identifier: MIT
# A talker whose numbers live in numpy, multiplied by whatever BLAS pool numpy has.
import sys

import numpy

n = 96
a = numpy.arange(n * n, dtype=float).reshape(n, n) % 7
state = numpy.eye(n)
print("ready", flush=True)
for line in sys.stdin:
    state = (state @ a + int(line.split()[1])) % 1009
    print(int(state.sum()), flush=True)
