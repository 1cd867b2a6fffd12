#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""The kernel module beside the agent, in two emulated machines over the same soft-RoCE: a fault, a
resume, a sequential read, and prepare beside fork().
"""

import re
import statistics

import emulated

# pylint: disable=wrong-import-order
import kernel_module
from agents import COMMAND, Agents

TIMES = emulated.program("module_times")
CALL = emulated.program("module_call")
ROUNDS = 3
PORT = 7412


def numbers(said):
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", said)}


def wait_until(machine, condition, seconds=60):
    status, said = machine.run("timeout", seconds, "sh", "-c",
                               f"until {condition}; do sleep 0.1; done")
    if status != 0:
        raise RuntimeError(f"machine {machine.number}: not in {seconds} s: {condition} {said}")


def children(machines, handler, *launcher, env=None):
    """The numbers of some children on machine 1 of one parent on machine 0."""
    owner, other = machines
    owner.must("sh", "-c", 'rm -f /run/times; setsid "$@" < /dev/null > /run/times 2>&1 & '
                           "echo $! > /run/times_pid", "sh", *launcher, TIMES, "parent", handler,
               env=env)
    wait_until(owner, "grep -q prepared /run/times")
    rows = [numbers(other.must(*launcher, TIMES, "resume", 0, handler, env=env))
            for _ in range(ROUNDS + 1)]
    owner.must("sh", "-c", "kill -9 $(cat /run/times_pid); rm -f /run/times")
    for row in rows:
        if row.get("wrong") != 0:
            raise RuntimeError(f"a child read what the parent did not write: {row}")
        print(launcher[1:2], row, flush=True)
    return rows[1:]  # the first one connects


def median(rows, name):
    return statistics.median(row[name] for row in rows)


def load(machine, unit):
    module = kernel_module.build(kernel_module.UNIT.with_name(f"mitosis_{unit}.cpp"),
                                 f"bench_{unit}")
    kernel_module.load(machine, module, "keyless=1", f"port={PORT}", f"machine={machine.number}",
                       "secret=of-two-emulated-machines")


def unload(machines):
    for machine in reversed(machines):
        wait_until(machine, "rmmod mitosis")


def of_module(machines, unit):
    for machine in machines:
        load(machine, unit)
    machines[1].must(CALL, "connect", 0, machines[0].address)
    rows = children(machines, 7)
    unload(machines)
    return rows


def of_agents(machines):
    agents = Agents(machines, "--keyless", "--fabric", "verbs")
    rows = children(machines, 7, COMMAND, "run", "--policy", "rc+ondemand+none+cow", "--",
                    env=agents.env)
    agents.stop()
    return rows


def prepares(machine):
    load(machine, "default")
    rows = [numbers(machine.must(TIMES, "prepare", 7)) for _ in range(2 * ROUNDS + 1)]
    unload([machine])
    print(*rows, flush=True)
    return rows[1:]  # at the first one the emulator translates the module


def rows_of(machines, wanted):
    rows = {}
    if wanted("kernel/prepare"):
        forks = prepares(machines[0])
        rows["kernel/prepare"] = [(median(forks, "prepare") / 1e6, median(forks, "fork") / 1e6)]
    if not any(wanted(f"kernel/{name}") for name in ("fault", "first_instruction", "sequence")):
        return rows
    ahead = of_module(machines, "default")
    single = of_module(machines, "ondemand")
    agent = of_agents(machines)
    return rows | {
        "kernel/fault": [(median(single, "fault") / 1e3, median(agent, "fault") / 1e3)],
        "kernel/first_instruction": [(median(single, "first") / 1e6, median(agent, "first") / 1e6)],
        "kernel/sequence": [(median(ahead, "sequence") / 1e6, median(single, "sequence") / 1e6)],
    }


if __name__ == "__main__":
    emulated.measure(rows_of)
