#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# Usage: hooks_test.py MITOSIS HOOKS_PROGRAM
"""Fork hooks by C, C++ and Python: who runs what in which order, and that two children differ."""

import json
import os
import pathlib
import random
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "examples"))
from two_agents import SKIPPED, TwoAgents, program  # noqa: E402

RAN_IN_PARENT = "b2b1p1p2|b2b1p1p2"
RAN_IN_CHILD = "b2b1p1p2|b2b1c1c2"

# Its children draw from every generator; as pid 1 of a namespace they have their parent's pid.
PYTHON = """
import json, os, random, ssl, sys, uuid
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # one thread
import numpy
import mitosis

ran = []
def note(word):
    return lambda: ran.append(word)
def fails():
    raise ValueError("a hook's own")
first = mitosis.at_fork(before=note("b1"), parent=note("p1"), child=note("c1"))
mitosis.at_fork(before=note("b2"), parent=note("p2"), child=fails)
mitosis.at_fork(child=note("c3"))
mitosis.at_fork(child=note("never")).remove()
random.seed(42); numpy.random.seed(42); own = random.Random(42)
ssl.RAND_bytes(16)
before = mitosis.identity()
key = mitosis.prepare(73)
if key is not None:
    print(key, flush=True)
is_child = key is None
drawn = {"random": random.random(), "numpy": numpy.random.random(), "ssl": ssl.RAND_bytes(16).hex(),
         "os": os.urandom(16).hex(), "uuid": str(uuid.uuid4())}
who = mitosis.identity()
print(json.dumps({"ran": ran, "drawn": drawn, "own": own.random(), "pid": os.getpid(),
                  "before": before, "who": who and who._asdict() | {"unique": who.unique.hex()}}),
      flush=True)
sys.stdin.read()
"""


# Prepared by its pid while its main thread sleeps in a read; it tells for each line what ran and
# what it draws. Nothing of it calls prepare.
OUTSIDE = """
import json, os, random, ssl, sys, threading, time
os.environ["OPENBLAS_NUM_THREADS"] = "1"
import numpy
import mitosis

ran = []
mitosis.at_fork(before=lambda: ran.append("before"), parent=lambda: ran.append("parent"),
                child=lambda: ran.append("child"))
threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
random.seed(42); numpy.random.seed(42); own = random.Random(42)
ssl.RAND_bytes(16)
print("ready", flush=True)
for line in iter(sys.stdin.readline, ""):
    drawn = {"random": random.random(), "numpy": numpy.random.random(),
             "ssl": ssl.RAND_bytes(16).hex()}
    who = mitosis.identity()
    print(json.dumps({"ran": ran, "drawn": drawn, "own": own.random(), "pid": os.getpid(),
                      "who": who and who._asdict() | {"unique": who.unique.hex()}}), flush=True)
"""


def children(agents, command, key, handler, count=2, before=()):
    """The first lines of that many children on machine 1, all of which run at the same time."""
    words = [*before, command, "resume", "0", handler, "--key", key]
    started = [program(words, agents.env(1)) for _ in range(count)]
    lines = [child.stdout.readline() for child in started]
    for child in started:
        with child:
            child.stdin.close()
            assert child.wait(20) == 0, child.returncode
    return lines


def native(agents, command, hooks_program, interface, handler):
    with program([hooks_program, interface, handler], agents.env(0)) as parent:
        key = parent.stdout.readline().strip()
        who, ran, parents_random = parent.stdout.readline().split()
        assert (who, ran) == ("parent", RAN_IN_PARENT), (who, ran)
        drawn, unique, instances = {parents_random}, set(), set()
        for line in children(agents, command, key, handler):
            who, ran, word, of, on, named, instance, identity = line.split()
            assert (who, ran) == ("child", RAN_IN_CHILD), line
            assert (of, on, named) == ("0", "1", handler), line
            drawn.add(word)
            unique.add(identity)
            instances.add(int(instance))
        assert len(drawn) == 3 and len(unique) == len(instances) == 2, (drawn, unique, instances)
        assert all(len(identity) == 32 for identity in unique) and min(instances) > 0


def python(agents, command):
    """With pids that are the same in parent and children, as containers have them."""
    alone = ["/usr/bin/unshare", "--pid", "--fork", "--kill-child"]
    with program([*alone, "/usr/bin/python3", "-c", PYTHON], agents.env(0)) as parent:
        key = parent.stdout.readline().strip()
        said = [json.loads(parent.stdout.readline())]
        said += [json.loads(line)
                 for line in children(agents, command, key, "73", count=3, before=alone)]
        parent.stdin.close()
        assert parent.wait(20) == 0
    parents, *childrens = said
    assert parents["ran"] == ["b2", "b1", "p1", "p2"] and parents["who"] is None, parents
    assert {one["pid"] for one in said} == {1}, said
    for child in childrens:
        assert child["ran"] == ["b2", "b1", "c1", "c3"] and child["before"] is None, child
        who = child["who"]
        assert (who["parent_machine"], who["machine"], who["handler"]) == (0, 1, 73), who
        assert child["own"] == parents["own"], "a generator of the program's own is as by fork"
    assert len({child["who"]["unique"] for child in childrens}) == 3
    for generator in parents["drawn"]:
        assert len({one["drawn"][generator] for one in said}) == 4, (generator, said)
    random.seed(42)
    assert parents["drawn"]["random"] == random.random(), "the parent's own go on as they were"


def told(process):
    process.stdin.write("\n")
    process.stdin.flush()
    said = process.stdout.readline()
    assert said, f"it has ended with {process.wait(20)}"
    return said


def outside(agents, command, hooks_program):
    """By its pid, and a child of it again: each is told once, and draws on its own."""
    alone = ["/usr/bin/unshare", "--pid", "--fork", "--kill-child"]

    def prepare(machine, pid, handler):
        return subprocess.run([command, "prepare", "--pid", str(pid), "--handler", handler],
                              env=agents.env(machine), check=True, timeout=30, text=True,
                              stdout=subprocess.PIPE).stdout.strip()

    with program(["/usr/bin/python3", "-c", OUTSIDE], agents.env(0)) as parent:
        assert parent.stdout.readline() == "ready\n"
        key = prepare(0, parent.pid, "81")
        words = [command, "resume", "0", "81", "--key", key]
        said = []
        for _ in range(2):  # of the same pid, as containers have it
            with program([*alone, *words], agents.env(1)) as child:
                said.append(json.loads(told(child)))
                child.stdin.close()
                assert child.wait(20) == 0
        with program(words, agents.env(1)) as child:
            said.append(json.loads(told(child)))
            key = prepare(1, child.pid, "82")
            with program([command, "resume", "1", "82", "--key", key], agents.env(0)) as last:
                hop = json.loads(told(last))
                last.stdin.close()
                assert last.wait(20) == 0
            child.stdin.close()
            assert child.wait(20) == 0
        parents = json.loads(told(parent))
        parent.stdin.close()
        assert parent.wait(20) == 0
    assert parents["ran"] == [] and parents["who"] is None, parents
    random.seed(42)
    assert parents["drawn"]["random"] == random.random(), "the parent's own go on as they were"
    for child in said:
        assert child["ran"] == ["child"] and child["own"] == parents["own"], child
        who = child["who"]
        assert (who["parent_machine"], who["machine"], who["handler"]) == (0, 1, 81), who
    assert hop["ran"] == ["child", "child"], hop
    who = hop["who"]
    assert (who["parent_machine"], who["machine"], who["handler"]) == (1, 0, 82), who
    everybody = [parents, *said, hop]
    assert len({one["who"]["unique"] for one in everybody[1:]}) == 4
    for generator in parents["drawn"]:
        assert len({one["drawn"][generator] for one in everybody}) == 5, (generator, everybody)
    # In C, where the callback is the program's own handler.
    with program([hooks_program, "outside", "0"], agents.env(0)) as parent:
        assert parent.stdout.readline() == "ready\n"
        key = prepare(0, parent.pid, "83")
        who, ran, arc4random = told(parent).split()
        assert (who, ran) == ("outside", "-"), (who, ran)
        drawn = {arc4random}
        for _ in range(2):
            with program([command, "resume", "0", "83", "--key", key], agents.env(1)) as child:
                who, ran, arc4random, of, on, handler, *_ = told(child).split()
                drawn.add(arc4random)
                assert (who, ran, of, on, handler) == ("outside", "r1r2", "0", "1", "83"), ran
                child.stdin.close()
                assert child.wait(20) == 0
        assert len(drawn) == 3, drawn
        parent.stdin.close()
        assert parent.wait(20) == 0


def main() -> int:
    if os.geteuid() != 0:
        return SKIPPED
    command, hooks_program = sys.argv[1:]
    with TwoAgents(command) as agents:
        for one, other in ((0, 1), (1, 0)):
            subprocess.run([command, "connect", str(other), agents.address(other)],
                           env=agents.env(one), check=True, timeout=20)
        native(agents, command, hooks_program, "c", "71")
        native(agents, command, hooks_program, "cpp", "72")
        python(agents, command)
        outside(agents, command, hooks_program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
