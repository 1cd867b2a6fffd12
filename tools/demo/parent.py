# SPDX-License-Identifier: MIT
"""The program of `mitosis demo`: numpy, a lot of data, a counter.

It obeys one word a line on standard input and answers with one line of JSON each:

    request               what a client would ask of it; the first answer is what start-up costs
    prepare ID POLICY     become a parent; every child goes on from this very line
    tick PART OF          count, and check one part of the data; the parent changes it first
    verify                check all of the data
    quit                  end with status 0
"""
import json
import sys
import time
import zlib

import numpy

import mitosis


class Program:
    def __init__(self, mib):
        self.data = numpy.random.default_rng(73).integers(0, 1 << 62, mib << 17, numpy.int64)
        self.counter = 0
        self.is_child = False

    def part(self, index, of):
        return self.data[len(self.data) * index // of : len(self.data) * (index + 1) // of]

    def request(self):
        """Some arithmetic over four MiB of the data."""
        window = self.data[: 4 << 17]
        return {"mean": float(window.mean()), "packed": len(zlib.compress(window[:4096], 1))}

    def prepare(self, handler, policy):
        """Answers twice or more: in the parent, and in each child as soon as it runs."""
        checksums = [zlib.crc32(self.part(i, 8)) for i in range(8)]
        whole = zlib.crc32(self.data)
        start = time.monotonic()
        key = mitosis.prepare(handler, policy)
        end = time.monotonic()
        if key is None:
            self.is_child = True
            return {"resumed_at": end, "counter": self.counter}
        return {"key": key, "seconds": end - start, "parts": checksums, "whole": whole}

    def tick(self, index, of):
        self.counter += 1
        part = self.part(index, of)
        if not self.is_child:
            part += 1  # every page of it
        return {"counter": self.counter, "checksum": zlib.crc32(part)}

    def verify(self):
        return {"counter": self.counter, "checksum": zlib.crc32(self.data)}

    def obey(self, words):
        if words[0] == "prepare":
            return self.prepare(int(words[1]), words[2])
        if words[0] == "tick":
            return self.tick(int(words[1]), int(words[2]))
        return {"request": self.request, "verify": self.verify}[words[0]]()


def main():
    program = Program(int(sys.argv[1]))
    for line in sys.stdin:
        if line.strip() == "quit":
            return
        answer = program.obey(line.split())
        answer["at"] = time.monotonic()
        print(json.dumps(answer), flush=True)


main()
