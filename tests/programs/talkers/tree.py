# SPDX-License-Identifier: MIT
# A talker whose number lives in its child's child: it asks down one pipe after the other, and hears
# by a pipe from below. Beside them a child that has ended and was not waited for, and memory that
# all of them share. Says what a process can tell of its place.
import mmap
import os
import sys

shared = mmap.mmap(-1, 4096)
ended = os.fork()
if ended == 0:
    os._exit(7)
os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)


def place():
    return [os.getpid(), os.getppid(), os.getpgrp() - os.getpid()]


def bottom(questions, answers):
    """Adds what it is told; its sum is its exit status."""
    total, before = 0, place()
    for line in questions:
        total += int(line)
        shared[0] += 1
        print(total, place() == before, file=answers, flush=True)
    os._exit(total % 100)


def middle(questions, answers):
    """Hands on, from a process group of its own; ends as what is below."""
    os.setpgid(0, 0)
    below, to_below, child = start(bottom, answers)
    del below
    before = place()
    for line in questions:
        assert place() == before
        to_below.write(line)
        to_below.flush()
    to_below.close()
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) + 100)


def start(work, answers):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        work(os.fdopen(read, "r"), answers)
    os.close(read)
    return None, os.fdopen(write, "w"), child


heard, said = os.pipe()
_, down, child = start(middle, os.fdopen(said, "w"))
answers = os.fdopen(heard, "r")
print("ready", flush=True)
for line in sys.stdin:
    word, *rest = line.split()
    if word == "add":
        down.write(rest[0] + "\n")
        down.flush()
        print(answers.readline().strip(), shared[0], flush=True)
    elif word == "group":  # of the child, which leads its own
        print(os.getpgid(child) == child, os.getsid(child) == os.getsid(0), flush=True)
    elif word == "reap":
        pid, status = os.waitpid(ended, os.WNOHANG)
        print(pid == ended, os.waitstatus_to_exitcode(status), flush=True)
    elif word == "end":
        down.close()
        pid, status = os.wait()
        print(pid == child, os.waitstatus_to_exitcode(status), flush=True)
