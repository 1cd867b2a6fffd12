#!/usr/bin/python3 -B
# SPDX-License-Identifier: MIT
"""Random programs, policies and deaths, for MITOSIS_SOAK_SECONDS (60): no wrong answer, no leak.

What a talker answers follows from the sum of what it was told, so every answer is checked. A child
whose image is gone may die, one whose worker dies while it starts may fail to start; none answers
wrongly. MITOSIS_SOAK_SEED repeats a run's choices.
"""

import os
import pathlib
import random
import signal
import sys
import time

from case import ProgramTest, main
from machines import wait_for

TALKERS = pathlib.Path(__file__).resolve().parent / "talkers"
SECONDS = float(os.environ.get("MITOSIS_SOAK_SECONDS", "60"))
SEED = int(os.environ.get("MITOSIS_SOAK_SEED", str(time.time_ns() % 1_000_000)))
KILL_EVERY = 3  # seconds: an agent whose worker dies more often gives up
MOST_PARENTS, MOST_IMAGES, MOST_CHILDREN = 4, 6, 8


def threads(count):
    return (["/usr/bin/python3", "-B", TALKERS / "threads.py", count],
            lambda s: str(sum(range(count)) + count * s))


# Words, and what is answered when all that was told adds up to s.
PROGRAMS = [threads(1), threads(3), threads(20),
            (["/usr/bin/ruby", TALKERS / "talker.rb"], lambda s: f"{12502500 + 5000 * s} {s} {s}"),
            (["/usr/bin/node", TALKERS / "node.js"], lambda s: f"{s} {s} true")]
TRANSPORTS, FETCHES = ("rc", "dct"), ("ondemand", "prefetch8", "prefetch64", "eager")
CACHES, COWS = ("none", "local"), ("cow", "copy")
NEVER_RAN = 125  # the status of a resume that failed before the child's first instruction


class Told:
    """A running talker and the sum of what it was told."""

    def __init__(self, talker, answer, told, image=None, deaths=0):
        """`deaths`: how many workers had died when it was started."""
        self.talker, self.answer, self.told, self.image = talker, answer, told, image
        self.deaths, self.spoke = deaths, False


class Image:
    """What was prepared of a parent, as of then."""

    def __init__(self, prepared, parent):
        self.prepared, self.parent, self.reclaimed = prepared, parent, False
        self.answer, self.told = parent.answer, parent.told


class Soak(ProgramTest):
    agent_options = ("--lease", "60s", "--page-deadline", "20s")

    def setUp(self):
        self.dice = random.Random(SEED)
        self.parents, self.images, self.children = [], [], []
        self.counts, self.deaths, self.late = {}, 0, 0
        self.next_kill = time.monotonic()

    def start_parent(self):
        if len(self.parents) < MOST_PARENTS:
            words, answer = self.dice.choice(PROGRAMS)
            if os.path.exists(words[0]):
                self.parents.append(Told(self.started(1, words), answer, 0))

    def tell(self, one):
        """It answers rightly, or, a child without an image, dies."""
        number = self.dice.randrange(1, 100)
        try:
            said = one.talker.ask(f"add {number}")
        except (EOFError, BrokenPipeError):
            self.may_have_died(one, one.talker.process.wait(20))
            self.children.remove(one)
            self.machines.forget(one.talker.process)
            return
        one.told, one.spoke = one.told + number, True
        self.assertEqual(said, one.answer(one.told), one.talker.process.args)

    def may_have_died(self, one, status):
        """The two reasons for which a child ends early, and its status tells the second."""
        reclaimed = one.image is not None and one.image.reclaimed
        never_ran = status == NEVER_RAN and not one.spoke and one.deaths < self.deaths
        self.assertTrue(reclaimed or never_ran, f"{one.talker.process.args} died of {status}")

    def tell_parent(self):
        if self.parents:
            self.tell(self.dice.choice(self.parents))

    def tell_child(self):
        if self.children:
            self.tell(self.dice.choice(self.children))

    def prepare_one(self):
        if self.parents and len(self.images) < MOST_IMAGES:
            parent = self.dice.choice(self.parents)
            policy = "+".join(map(self.dice.choice, (TRANSPORTS, FETCHES, CACHES, COWS)))
            try:
                prepared = self.prepare(parent.talker.pid, "--policy", policy)
            except RuntimeError as refused:
                # A thread that gets no processor in time is left alone; more often it is a fault.
                self.late += 1
                self.assertIn("the deadline passed", str(refused))
                self.assertLess(self.late, 4)
                return
            self.images.append(Image(prepared, parent))

    def resume_one(self):
        if self.images and len(self.children) < MOST_CHILDREN:
            image = self.dice.choice(self.images)
            policy = "+".join(map(self.dice.choice, (TRANSPORTS, FETCHES, CACHES, COWS)))
            self.children.append(Told(self.resume(image.prepared, policy), image.answer,
                                      image.told, image, self.deaths))

    def end_child(self):
        if self.children:
            child = self.children.pop(self.dice.randrange(len(self.children)))
            if child.image.reclaimed or self.dice.random() < 0.3:
                child.talker.process.kill()
                child.talker.process.wait(20)
            elif (status := child.talker.end()) != 0:
                self.may_have_died(child, status)
            self.machines.forget(child.talker.process)

    def kill_parent(self):
        """Its children go on; its images end here, before their leases do."""
        if len(self.parents) > 1:
            parent = self.parents.pop(self.dice.randrange(len(self.parents)))
            parent.talker.process.kill()
            parent.talker.process.wait(20)
            self.machines.forget(parent.talker.process)
            for child in [c for c in self.children if c.image.parent is parent]:
                self.tell(child)
            for image in [i for i in self.images if i.parent is parent]:
                self.reclaim(image)

    def reclaim(self, image):
        self.images.remove(image)
        image.reclaimed = True
        self.machines.mitosis(1, "reclaim", image.prepared[0])

    def reclaim_one(self):
        if self.images:
            self.reclaim(self.dice.choice(self.images))

    def kill_worker(self):
        """The agent's keeper starts another, which goes on where this one was."""
        if time.monotonic() < self.next_kill:
            return
        self.next_kill = time.monotonic() + KILL_EVERY
        machine = self.dice.choice((1, 2))
        self.deaths += 1
        before = self.machines.workers(machine)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: set(self.machines.workers(machine)) - set(before), "new worker")
        wait_for(lambda: self._has_agent(machine), "agent")

    def _has_agent(self, machine):
        try:
            return self.machines.mitosis(machine, "nil") is not None
        except RuntimeError:
            return False

    def test_soak(self):
        print(f"seed {SEED}, {SECONDS:g} s", file=sys.stderr)
        try:
            self.soak()
        except BaseException:
            self.machines.print_logs()
            raise

    def soak(self):
        moves = [(self.start_parent, 4), (self.tell_parent, 12), (self.tell_child, 30),
                 (self.prepare_one, 6), (self.resume_one, 12), (self.end_child, 8),
                 (self.kill_parent, 1), (self.reclaim_one, 2), (self.kill_worker, 1)]
        self.start_parent()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            move = self.dice.choices([m for m, _ in moves], [w for _, w in moves])[0]
            self.counts[move.__name__] = self.counts.get(move.__name__, 0) + 1
            move()
        print(f"{self.counts}, {self.deaths} deaths of a worker", file=sys.stderr)
        while self.children:
            self.end_child()
        for image in list(self.images):
            self.reclaim(image)
        for parent in self.parents:
            self.assertEqual(parent.talker.end(), 0)
        wait_for(lambda: not self.strangers(), lambda: f"end of {self.strangers()}")

    def strangers(self):
        return self.machines.strangers(1) + self.machines.strangers(2)


if __name__ == "__main__":
    main()
