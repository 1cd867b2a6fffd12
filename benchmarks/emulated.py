# SPDX-License-Identifier: MIT
"""What bars in two emulated machines have in common: where things are, options, what is written.
They take what Google Benchmark's programs take, and write what those write. How fast a device or a
processor is they do not tell, for both are emulated: each value stands beside another's of the same
machines.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import sys

BUILD = pathlib.Path(__file__).resolve().parents[1]
SOURCE = pathlib.Path("@SOURCE@")  # by meson
sys.path.insert(0, str(SOURCE / "tests/vm"))
for name, path in (("MITOSIS_VM_FOLDER", BUILD / "vm"),
                   ("MITOSIS_COMMAND", BUILD / "tools/mitosis"),
                   ("MITOSIS_LIBRARY", BUILD / "tools/libmitosis/libmitosis.so"),
                   ("PYTHONPATH", SOURCE / "tools/python")):
    os.environ.setdefault(name, str(path))

# pylint: disable=wrong-import-position
import soft_roce  # noqa: E402
from cluster import Cluster  # noqa: E402


def program(name):
    """One of those that tests/vm builds."""
    return str(BUILD / "tests/vm" / name)


def measure(rows_of):
    """Writes the medians of `rows_of(machines, wanted)`, {name: [(value, the other's)]}, of two
    machines that have a device; `wanted(name)` tells whether anybody asks for it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--benchmark_out", required=True)
    parser.add_argument("--benchmark_filter", default="")
    arguments, _ = parser.parse_known_args()

    def wanted(name):
        return re.search(arguments.benchmark_filter, f"{name}/") is not None

    with Cluster(2) as cluster:
        for machine in cluster.machines:
            soft_roce.start(machine)
        rows = rows_of(cluster.machines, wanted)
    medians = [{"run_name": name, "repetitions": 1,
                "value": statistics.median(value for value, _ in pairs),
                "floor": statistics.median(other for _, other in pairs)}
               for name, pairs in rows.items() if wanted(name)]
    with open(arguments.benchmark_out, "w", encoding="utf-8") as out:
        json.dump({"benchmarks": medians}, out)
